from dataclasses import replace

import pytest
import torch

from videosyn.core.errors import UserError
from videosyn.diffusion.guidance import Guidance


class Model:
    """Predicts each clip's sum of masked text times its latents, with a variance behind; notes its calls."""

    def __init__(self):
        self.batches = []

    def __call__(self, latents, timestep, text, mask, fps, height_width):
        self.batches.append(len(latents))
        assert len(timestep) == len(latents)
        assert fps is None or len(fps) == len(latents)
        assert height_width is None or len(height_width) == len(latents)
        weight = (text * mask[..., None]).sum(dim=(1, 2)).view(-1, 1, 1, 1, 1)
        return torch.cat([latents * weight, latents], dim=1)


@pytest.fixture
def guidance() -> Guidance:
    torch.manual_seed(0)
    text, null = torch.rand(2, 4, 3), torch.rand(2, 1, 3)
    mask = torch.tensor([[True] * 4, [True] * 2 + [False] * 2])
    return Guidance(Model(), text, mask, null, torch.ones(2, 1, dtype=torch.bool), 3.0, fps=torch.ones(2))


LATENTS = torch.ones(2, 3, 1, 1, 1)
NOW = torch.tensor([500.0, 500.0])


def test_guidance_goes_from_the_null_past_the_prompt_in_one_forward(guidance):
    cond = (guidance.text * guidance.text_mask[..., None]).sum(dim=(1, 2))
    uncond = guidance.null.sum(dim=(1, 2))
    out = guidance(LATENTS, NOW)
    assert out.shape == LATENTS.shape
    torch.testing.assert_close(out[:, 0, 0, 0, 0], uncond + 3 * (cond - uncond))
    assert guidance.model.batches == [4]


def test_guidance_one_is_the_prompt_alone(guidance):
    out = replace(guidance, scale=1.0)(LATENTS, NOW)
    cond = (guidance.text * guidance.text_mask[..., None]).sum(dim=(1, 2))
    torch.testing.assert_close(out[:, 0, 0, 0, 0], cond)
    assert guidance.model.batches == [2]
    near = replace(guidance, scale=1.0 + 1e-6)(LATENTS, NOW)
    torch.testing.assert_close(near, out)


def test_outside_the_interval_the_prompt_stands_alone(guidance):
    inside, outside = replace(guidance, interval=(400.0, 600.0)), replace(guidance, interval=(600.0, 1000.0))
    torch.testing.assert_close(inside(LATENTS, NOW), guidance(LATENTS, NOW))
    torch.testing.assert_close(outside(LATENTS, NOW), replace(guidance, scale=1.0)(LATENTS, NOW))


def test_the_longer_of_prompt_and_null_sets_the_length(guidance):
    swapped = replace(
        guidance,
        text=guidance.null,
        text_mask=guidance.null_mask,
        null=guidance.text,
        null_mask=guidance.text_mask,
        scale=-0.0,
    )
    torch.testing.assert_close(swapped(LATENTS, NOW), replace(guidance, scale=1.0)(LATENTS, NOW))


@pytest.mark.parametrize("wrong", [{"scale": -1.0}, {"interval": (600.0, 400.0)}, {"interval": (0.0, 2000.0)}])
def test_wrong_settings_are_refused(guidance, wrong):
    with pytest.raises(UserError, match="guidance"):
        replace(guidance, **wrong)


def test_channels_that_are_not_guided_are_the_prompts(guidance):
    latents, timestep = torch.rand(2, 4, 1, 2, 2), torch.full((2,), 500.0)
    whole = guidance(latents, timestep)
    some = replace(guidance, channels=3)(latents, timestep)
    alone = replace(guidance, scale=1.0)(latents, timestep)
    assert torch.equal(some[:, :3], whole[:, :3])
    assert torch.equal(some[:, 3:], alone[:, 3:])
    assert not torch.equal(whole[:, 3:], alone[:, 3:])


@pytest.mark.parametrize("channels", [0, 3])
def test_a_learned_variance_is_the_prompts_own(guidance, channels):
    latents, timestep = torch.rand(2, 4, 1, 2, 2), torch.full((2,), 500.0)
    told = replace(guidance, learned_variance=True, channels=channels)
    out = told(latents, timestep)
    assert out.shape == (2, 8, 1, 2, 2)
    assert torch.equal(out[:, :4], replace(guidance, channels=channels)(latents, timestep))
    assert torch.equal(out[:, 4:], latents)  # the model's second half
    assert replace(told, scale=1.0)(latents, timestep).shape == out.shape

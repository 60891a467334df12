"""Resampler, Token Turing Machine and vision encoder against their definitions."""

from __future__ import annotations

import pytest
import torch

from videosyn.captioner.config import ConvVisionConfig
from videosyn.captioner.memory import TokenSummary, TokenTuringMachine
from videosyn.captioner.resampler import PerceiverResampler
from videosyn.captioner.vision import ConvVisionEncoder, TransformersVision, make_vision
from videosyn.core.errors import UserError


@pytest.fixture
def machine() -> TokenTuringMachine:
    torch.manual_seed(0)
    return TokenTuringMachine(width=16, memory_tokens=5, frame_tokens=3, read_tokens=4, depth=2, num_heads=2)


def test_the_order_of_patch_tokens_means_nothing_to_the_resampler():
    torch.manual_seed(0)
    resampler = PerceiverResampler(12, 16, num_tokens=5, depth=2, num_heads=2)
    tokens = torch.randn(2, 9, 12)
    out = resampler(tokens)
    assert out.shape == (2, 5, 16)
    torch.testing.assert_close(resampler(tokens[:, torch.randperm(9)]), out)
    assert not torch.allclose(resampler(tokens + torch.randn_like(tokens)), out, atol=1e-3)


def test_a_resampler_gives_as_many_tokens_whatever_it_is_given():
    resampler = PerceiverResampler(12, 16, num_tokens=5, depth=1, num_heads=2)
    assert {resampler(torch.randn(1, count, 12)).shape for count in (1, 4, 50)} == {(1, 5, 16)}


@pytest.mark.parametrize("num_frames", [1, 2, 40])
def test_the_memory_is_of_one_size_whatever_the_number_of_frames(machine, num_frames):
    assert machine(torch.randn(2, num_frames, 3, 16)).shape == (2, 5, 16)


def test_the_order_of_frames_matters_to_the_memory(machine):
    frames = torch.randn(1, 4, 3, 16)
    assert not torch.allclose(machine(frames), machine(frames.flip(1)), atol=1e-3)


def test_gradients_reach_the_first_frame(machine):
    frames = torch.randn(1, 12, 3, 16, requires_grad=True)
    machine(frames).square().sum().backward()
    assert frames.grad is not None
    of_frames = frames.grad.flatten(2).norm(dim=2)[0]
    assert of_frames[0] > 1e-3 * of_frames.max()


def test_a_step_goes_on_from_a_memory_as_the_whole_does(machine):
    frames = torch.randn(2, 5, 3, 16)
    memory = machine.begin(2)
    for frame in frames.unbind(1):
        memory = machine.step(memory, frame)
    torch.testing.assert_close(memory, machine(frames))


def test_a_summary_is_a_weighted_mean_of_its_tokens():
    torch.manual_seed(0)
    summary = TokenSummary(width=8, num_tokens=6, num_out=3)
    out = summary(torch.ones(1, 6, 8) * torch.arange(8))
    torch.testing.assert_close(out, (torch.ones(1, 3, 8) * torch.arange(8)))
    favourite = torch.full((3, 6), -1e4)
    favourite[:, 2] = 0
    tokens = torch.randn(1, 6, 8)
    torch.testing.assert_close(summary(tokens, favourite), tokens[:, 2:3].expand(-1, 3, -1))


def test_a_new_memory_keeps_more_of_itself_than_it_takes(machine):
    memory = 10 * torch.randn(1, 5, 16)
    changed = machine.step(memory, torch.zeros(1, 3, 16))
    assert (changed - memory).norm() < 0.5 * memory.norm()


@pytest.mark.parametrize(("height", "width"), [(32, 32), (16, 48)])
def test_the_small_encoder_takes_any_shape_and_tells_places(height, width):
    torch.manual_seed(0)
    encoder = ConvVisionEncoder(ConvVisionConfig((8, 16), (1, 1)))
    tokens = encoder(torch.zeros(2, 3, height, width))
    assert tokens.shape == (2, height * width // 64, 16)
    assert not torch.allclose(tokens[:, 0], tokens[:, -1])


def test_a_transformer_gives_its_patches_without_the_class_token():
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    encoder = make_vision({"model_type": "clip_vision_model", "image_size": 32, "patch_size": 8, **size})
    assert isinstance(encoder, TransformersVision)
    encoder.eval()
    pictures = torch.randn(1, 3, 32, 32)
    hidden = encoder.model(pixel_values=pictures).last_hidden_state
    torch.testing.assert_close(encoder(pictures), hidden[:, 1:])


def test_scales_and_blocks_must_agree():
    with pytest.raises(UserError, match="blocks must have one value a scale"):
        ConvVisionConfig((8, 16), (1,))

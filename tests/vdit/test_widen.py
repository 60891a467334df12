"""A map's channels beside the latents."""

from dataclasses import replace

import pytest
import torch

from videosyn.core.errors import UserError
from videosyn.core.model_folder import load_strict
from videosyn.vdit.model import VDiT
from videosyn.vdit.presets import TINY
from videosyn.vdit.widen import with_map

MAPPED = replace(TINY, map_channels=6)


@pytest.fixture
def mapped(make_model):
    """A model, and the same widened by a map."""
    plain, wide = make_model(), VDiT(MAPPED).eval()
    load_strict(wide, with_map(TINY, MAPPED, plain.state_dict()), "the widened")
    return plain, wide


@torch.no_grad()
def test_a_widened_model_says_the_same_of_the_latents_whatever_the_map(mapped, inputs):
    plain, wide = mapped
    maps = torch.randn(2, 6, *inputs["latents"].shape[2:])
    out = wide(**inputs | {"latents": torch.cat([inputs["latents"], maps], 1)})
    torch.testing.assert_close(out[:, :4], plain(**inputs), rtol=1e-5, atol=1e-5)
    clean = maps - out[:, 4:] * (inputs["timestep"] / 1000).view(2, 1, 1, 1, 1)
    assert clean.abs().max() < 1e-5  # of the map it says nothing yet: all backdrop


@torch.no_grad()
def test_the_map_moves_towards_what_the_blocks_say(make_model, inputs):
    model = make_model(MAPPED)
    said = {}
    model.final.register_forward_hook(lambda module, args, out: said.update(out=out))
    noisy = torch.randn(2, 10, *inputs["latents"].shape[2:])
    times = torch.tensor([[0.0, 0.5, 1.0]] * 2)
    out = model(**inputs | {"latents": noisy, "timestep": 1000 * times})
    clean = said["out"].unflatten(-1, (2, 2, 10)).unflatten(2, (2, 3))  # (B, t, h, w, p, q, Z)
    clean = clean.permute(0, 6, 1, 2, 4, 3, 5).flatten(5, 6).flatten(3, 4)  # (B, Z, t, h p, w q)
    torch.testing.assert_close(out[:, :4], clean[:, :4])
    end = noisy - times[:, None, :, None, None] * out  # one step along the flow, all the way
    torch.testing.assert_close(end[:, 4:, 1:], clean[:, 4:, 1:], rtol=1e-4, atol=1e-4)
    assert out[:, 4:, 0].isfinite().all()  # a given frame, clean already


def test_a_map_does_not_go_with_learned_variance():
    with pytest.raises(UserError, match="map_channels"):
        replace(TINY, out_channels=8, map_channels=6)


def test_latents_without_the_map_are_refused(make_model, inputs):
    with pytest.raises(UserError, match="must have 10 channels, got 4"):
        make_model(MAPPED)(**inputs)

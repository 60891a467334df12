"""Sizes are promises: the nano model must fit the package, the paper's must take the image VAE's weights."""

from dataclasses import replace

import pytest
import torch

from videosyn.core.errors import UserError
from videosyn.vidvae.config import VidVAEConfig
from videosyn.vidvae.model import VidVAE
from videosyn.vidvae.presets import NANO, XL


def count(config: VidVAEConfig) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in VidVAE(config).parameters())


def test_xl_is_the_papers_244_million_parameters():
    assert count(XL) == 245_979_879
    assert abs(count(XL) / 244e6 - 1) < 0.01


def test_xl_without_time_is_the_image_vae():
    image = replace(XL, time_taps=(1, 1, 1, 1), second_time_taps=(1, 1, 1, 1))
    steps = 2 * 9 * (128**2 + 256**2 + 512**2) + 2 * 9 * (512**2 + 512**2 + 256**2)  # keep three taps
    assert count(image) - steps == 83_653_863


def test_nano_fits_the_package():
    assert count(NANO) <= 4_500_000


@pytest.mark.parametrize(
    "change",
    [
        {"encoder_widths": (8, 8)},
        {"decoder_blocks": (1, 1)},
        {"time_taps": (0, 3, 3, 3)},
        {"norm_groups": 48},
        {"norm_groups": 0},
        {"latents_mean": (0.0,)},
        {"latents_std": (1.0, 1.0, 1.0, 0.0)},
        {"patch_size": 0},
    ],
)
def test_configs_that_cannot_be_are_refused(change):
    with pytest.raises(UserError):
        replace(XL, **change)

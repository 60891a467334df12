"""Small models of both kinds: as nano (norm over channels, shuffles) and as the paper's (groups, pools, attention)."""

import pytest
import torch

from videosyn.vidvae.config import VidVAEConfig
from videosyn.vidvae.model import VidVAE
from videosyn.vidvae.presets import TINY

TINY_PAPER = VidVAEConfig(
    encoder_widths=(8, 8, 16, 16),
    encoder_blocks=(1, 1, 1, 1),
    decoder_widths=(8, 8, 16, 16),
    decoder_blocks=(1, 1, 1, 1),
    norm_groups=4,
)


@pytest.fixture(scope="session", params=[TINY, TINY_PAPER], ids=["as_nano", "as_paper"])
def vae(request) -> VidVAE:
    torch.manual_seed(0)
    return VidVAE(request.param).eval()


@pytest.fixture
def make_video():
    """make_video(num_frames, height, width, batch) -> noise in [-1, 1], (B, 3, T, H, W)."""

    def make(num_frames: int, height: int = 16, width: int = 24, batch: int = 1) -> torch.Tensor:
        generator = torch.Generator().manual_seed(num_frames)
        return torch.rand(batch, 3, num_frames, height, width, generator=generator) * 2 - 1

    return make

"""A tiny VDiT whose every weight counts: fresh ones start silent, so nothing could be seen to depend on anything."""

import sys
from pathlib import Path

import pytest
import torch

from videosyn.vdit.config import VDiTConfig
from videosyn.vdit.model import VDiT
from videosyn.vdit.presets import TINY

sys.path.insert(0, str(Path(__file__).parent))  # so that tests find stdit2_names.py


@pytest.fixture
def make_model():
    def make(config: VDiTConfig = TINY) -> VDiT:
        model = VDiT(config).eval()
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    spread = 0.5 if parameter.ndim == 1 else 1.5 / parameter.shape[-1] ** 0.5
                    parameter.add_(spread * torch.randn(parameter.shape, generator=generator))
        return model

    return make


@pytest.fixture
def model(make_model) -> VDiT:
    return make_model()


@pytest.fixture
def inputs() -> dict[str, torch.Tensor]:
    """Two clips of 3 latent frames, 4 x 6; the second text has two tokens of padding."""
    torch.manual_seed(1)
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    return {
        "latents": torch.randn(2, TINY.latent_channels, 3, 4, 6),
        "timestep": torch.tensor([300.0, 800.0]),
        "text": torch.randn(2, 5, TINY.text_width),
        "text_mask": mask,
    }

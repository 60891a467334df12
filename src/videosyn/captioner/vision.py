"""The vision encoder: each frame by itself becomes tokens. Next on the path: `resampler.py`.

transformers' encoders (CLIP, SigLIP) give their last hidden states without the class token; nano's is a few
convolutions of our own, which learn from little and are fast on CPUs.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from videosyn.captioner.config import CONV, ConvVisionConfig
from videosyn.core.config import from_dict

NUM_FREQUENCIES = 8


def make_vision(config: dict[str, Any]) -> ConvVisionEncoder | TransformersVision:
    """The encoder of a `CaptionerConfig.vision`, with random weights: (B, 3, H, W) -> (B, N, `width`)."""
    rest = {key: value for key, value in config.items() if key != "model_type"}
    if config["model_type"] == CONV:
        return ConvVisionEncoder(from_dict(ConvVisionConfig, rest, "vision"))
    from transformers import AutoConfig, AutoModel  # seconds to import; only users of such encoders pay

    return TransformersVision(AutoModel.from_config(AutoConfig.for_model(config["model_type"], **rest)))


class TransformersVision(nn.Module):
    """A vision transformer of transformers."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.width: int = model.config.hidden_size
        self.patch_px: int = model.config.patch_size

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures (B, 3, S, S) -> tokens (B, N, D), without the class token."""
        hidden = self.model(pixel_values=pictures).last_hidden_state
        num_patches = (pictures.shape[-2] // self.patch_px) * (pictures.shape[-1] // self.patch_px)
        return hidden[:, hidden.shape[1] - num_patches :]


class ConvVisionEncoder(nn.Module):
    """Convolutions down to 1/16 of the sides, then the place of each token, for pictures of any shape."""

    def __init__(self, config: ConvVisionConfig) -> None:
        super().__init__()
        self.width, self.patch_px = config.widths[-1], config.patch_px
        self.stem = nn.Conv2d(3, config.widths[0], 8, stride=4, padding=2)
        scales: list[nn.Module] = []
        for place, (width, blocks) in enumerate(zip(config.widths, config.blocks)):
            if place:
                scales.append(nn.Conv2d(config.widths[place - 1], width, 2, stride=2))
            scales += [ConvBlock(width) for _ in range(blocks)]
        self.scales = nn.Sequential(*scales)
        self.norm = nn.LayerNorm(self.width)
        self.places = nn.Linear(4 * NUM_FREQUENCIES, self.width)

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures (B, 3, H, W), sides multiples of `patch_px` -> tokens (B, H W / patch_px^2, D)."""
        x = self.stem(pictures.contiguous(memory_format=torch.channels_last))
        x = self.scales(x)  # (B, D, h, w)
        places = self.places(grid_waves(x.shape[-2], x.shape[-1], x))
        return self.norm(rearrange(x, "b d h w -> b (h w) d")) + places


class ConvBlock(nn.Module):
    """x + conv(gelu(conv(gelu(norm(x))))), starting as x."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, width)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.gelu(self.conv1(F.gelu(self.norm(x)))))


def waves(positions: Tensor) -> Tensor:
    """Positions (..., ) in [0, 1] -> sines and cosines of 1/2 to 64 half turns (..., 2 NUM_FREQUENCIES)."""
    octaves = 2.0 ** torch.arange(NUM_FREQUENCIES, device=positions.device)
    angles = positions[..., None] * (math.pi / 2) * octaves
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def grid_waves(rows: int, columns: int, like: Tensor) -> Tensor:
    """Where each of rows x columns cells lies in a picture of any shape: (rows columns, 4 NUM_FREQUENCIES)."""
    down = waves((torch.arange(rows, device=like.device) + 0.5) / rows)
    across = waves((torch.arange(columns, device=like.device) + 0.5) / columns)
    grid = torch.cat([down[:, None].expand(-1, columns, -1), across[None].expand(rows, -1, -1)], dim=-1)
    return grid.flatten(0, 1).to(like.dtype)

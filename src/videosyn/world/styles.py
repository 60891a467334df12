"""The four styles, as what is done to a finished picture. Cartoon's outlines and flat light are drawn in `render.py`."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

PIXEL_BLOCKS = 32
"""Blocks of pixel art along the shorter side."""
PIXEL_LEVELS = 8
CARTOON_LEVELS = 6


def pixel_art(picture: Tensor) -> Tensor:
    """Few colours in square blocks: means over blocks, rounded to PIXEL_LEVELS a channel. (N, H, W, 3) in [0, 1], the same out."""
    height, width = picture.shape[1:3]
    block = max(2, round(min(height, width) / PIXEL_BLOCKS))
    pad_y, pad_x = -height % block, -width % block
    channels = F.pad(picture.permute(0, 3, 1, 2), (0, pad_x, 0, pad_y), mode="replicate")
    means = F.avg_pool2d(channels, block)
    flat = (means * (PIXEL_LEVELS - 1)).round() / (PIXEL_LEVELS - 1)
    large = flat.repeat_interleave(block, 2).repeat_interleave(block, 3)[:, :, :height, :width]
    return large.permute(0, 2, 3, 1)


def cartoon(picture: Tensor) -> Tensor:
    """Flat areas of colour: CARTOON_LEVELS a channel with a narrow ramp between them. (N, H, W, 3) in [0, 1], the same out."""
    scaled = picture * (CARTOON_LEVELS - 1)
    base = scaled.floor()
    ramp = ((scaled - base - 0.5) * 6.0 + 0.5).clamp_(0.0, 1.0)
    return (base + ramp) / (CARTOON_LEVELS - 1)


def painterly(picture: Tensor) -> Tensor:
    """Brush strokes: edges wander along a fixed field, diagonal strokes of light and dark. (N, H, W, 3) in [0, 1], the same out."""
    height, width = picture.shape[1:3]
    unit = 2.0 / min(height, width)
    y = torch.arange(height, device=picture.device)[:, None] * unit
    x = torch.arange(width, device=picture.device)[None, :] * unit
    wander_x = 0.019 * torch.sin(23.0 * y + 3.0 * torch.sin(9.0 * x))
    wander_y = 0.019 * torch.sin(21.0 * x + 3.0 * torch.sin(8.0 * y))
    column = ((x + wander_x) / unit).round().clamp(0, width - 1).long()
    row = ((y + wander_y) / unit).round().clamp(0, height - 1).long()
    moved = (
        picture.reshape(len(picture), -1, 3).index_select(1, (row * width + column).reshape(-1)).reshape(picture.shape)
    )
    strokes = 1.0 + 0.09 * torch.sin((x + y) * (2 * math.pi / 0.15) + 2.0 * torch.sin(6.0 * (x - y)))
    grey = moved.mean(3, keepdim=True)
    return (torch.lerp(grey, moved, 1.2) * strokes[..., None]).clamp(0.0, 1.0)

"""The styles, as what is done to a finished picture. Cartoon's outlines and flat light are drawn in `render.py`."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

PIXEL_BLOCKS = 32
"""Blocks of pixel art along the shorter side."""
PIXEL_LEVELS = 8
CARTOON_LEVELS = 7
"""Shades of brightness."""


def pixel_art(picture: Tensor) -> Tensor:
    """Square blocks of few shades: means over blocks, brightness rounded. (N, H, W, 3) in [0, 1], the same out."""
    height, width = picture.shape[1:3]
    block = max(2, round(min(height, width) / PIXEL_BLOCKS))
    pad_y, pad_x = -height % block, -width % block
    channels = F.pad(picture.permute(0, 3, 1, 2), (0, pad_x, 0, pad_y), mode="replicate")
    means = F.avg_pool2d(channels, block).permute(0, 2, 3, 1)
    flat = _rounded_brightness(means, PIXEL_LEVELS, ramp=0.0)
    return flat.repeat_interleave(block, 1).repeat_interleave(block, 2)[:, :height, :width]


def cartoon(picture: Tensor) -> Tensor:
    """Flat areas of few shades, with a narrow ramp between them. (N, H, W, 3) in [0, 1], the same out."""
    return _rounded_brightness(picture, CARTOON_LEVELS, ramp=0.15)


def _rounded_brightness(picture: Tensor, levels: int, ramp: float) -> Tensor:
    """Round the brightest channel to `levels` steps, even to the eye (in square roots), and keep the hue.

    `ramp` is the share of a step over which one shade turns into the next.
    """
    bright = picture.amax(3, keepdim=True).clamp_min(1e-4)
    scaled = bright.sqrt() * (levels - 1)
    base = scaled.floor()
    part = scaled - base - 0.5
    rise = (part / ramp + 0.5).clamp(0.0, 1.0) if ramp else (part >= 0).to(picture.dtype)
    return picture * (((base + rise) / (levels - 1)).square() / bright)


def painterly(picture: Tensor) -> Tensor:
    """Brush strokes: edges wander along a fixed field, diagonal strokes of light and dark.

    (N, H, W, 3) in [0, 1], the same out.
    """
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

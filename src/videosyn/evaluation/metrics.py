"""How near one video is to another: PSNR, over all pixels or some, and SSIM. Next: `reconstruction.py`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from videosyn.training.quality import psnr, ssim

__all__ = ["edges", "mean_psnr", "psnr", "ssim", "stars"]

EDGE_STEP = 0.2
"""Change of brightness from pixel to pixel, in [-1, 1] video, that makes an edge."""
STAR_STEP = 0.16
"""Brightness above everything within two pixels' reach, in [-1, 1] video, that makes a star."""


def mean_psnr(one: Tensor, other: Tensor, where: Tensor | None = None) -> float:
    """PSNR in dB of the squared error pooled over all pixels of videos (B, C, T, H, W) in [-1, 1], or over those of
    a mask (B, T, H, W); nan where there are none.
    """
    error = (one.float() - other.float()).square().mean(1)
    chosen = error if where is None else error[where]
    if chosen.numel() == 0:
        return float("nan")
    return float(10.0 * torch.log10(4.0 / chosen.double().mean().clamp_min(4e-10)))


def edges(video: Tensor) -> Tensor:
    """Where video (B, 3, T, H, W) has an edge: a mask (B, T, H, W)."""
    bright = video.float().mean(1)
    across = F.pad((bright[..., 1:] - bright[..., :-1]).abs(), (0, 1))
    down = F.pad((bright[..., 1:, :] - bright[..., :-1, :]).abs(), (0, 0, 0, 1))
    return torch.maximum(across, down) > EDGE_STEP


def stars(video: Tensor) -> Tensor:
    """Where video (B, 3, T, H, W) has small bright dots, and the pixels around them: a mask (B, T, H, W)."""
    bright = rearrange(video.float().mean(1), "b t h w -> (b t) 1 h w")
    opened = F.max_pool2d(-F.max_pool2d(-bright, 5, 1, 2), 5, 1, 2)  # without what is smaller than 5 pixels
    dots = (bright - opened > STAR_STEP).float()
    return rearrange(F.max_pool2d(dots, 3, 1, 1) > 0, "(b t) 1 h w -> b t h w", b=video.shape[0])

"""How near a reconstruction is: PSNR and SSIM of videos. Used by `vae_step.py`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor


def psnr(one: Tensor, other: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of videos (B, C, T, H, W) in [-1, 1] -> (B,). Equal videos give 100 dB."""
    error = (one.float() - other.float()).square().flatten(1).mean(1)
    return 10 * torch.log10(4 / error.clamp(min=4e-10))


def ssim(one: Tensor, other: Tensor) -> Tensor:
    """Mean structural similarity (B,) of videos (B, C, T, H, W) in [-1, 1], frame by frame and channel by channel.

    Wang et al. 2004: a Gaussian window of 11 pixels and sigma 1.5, K1 = 0.01, K2 = 0.03, no padding; both sides >= 11.
    """
    place = torch.arange(11, device=one.device) - 5.0
    window = torch.exp(-(place**2) / (2 * 1.5**2))
    window = window / window.sum()

    def blur(x: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(x, window.view(1, 1, 11, 1)), window.view(1, 1, 1, 11))

    x, y = (rearrange((video.float() + 1) / 2, "b c t h w -> (b c t) 1 h w") for video in (one, other))
    mean_x, mean_y = blur(x), blur(y)
    spread_x, spread_y = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2
    both = blur(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    score = (2 * mean_x * mean_y + c1) * (2 * both + c2)
    score = score / ((mean_x**2 + mean_y**2 + c1) * (spread_x + spread_y + c2))
    return rearrange(score, "(b n) 1 h w -> b (n h w)", b=one.shape[0]).mean(1)

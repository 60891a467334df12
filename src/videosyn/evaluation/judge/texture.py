"""The two styles that leave a texture of their own on every pixel: blocks and brush strokes. Next: `camera.py`."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from videosyn.evaluation.judge.picture import Picture
from videosyn.world.styles import PIXEL_BLOCKS, painterly


def blockiness(native: Tensor) -> float:
    """How much steeper a picture (H, W, 3) is across the borders of pixel art's blocks than within them: about 1 for
    any other.

    Steps are capped, so that one strong line of the picture counts for little; the lesser of the two directions
    decides.
    """
    block = max(2, round(min(native.shape[:2]) / PIXEL_BLOCKS))
    ratios = []
    for axis in (0, 1):
        step = native.diff(dim=axis).abs().mean(2).clamp_max(0.03)
        mean = step.mean(1 - axis)
        border = (torch.arange(len(mean)) + 1) % block == 0
        ratios.append(float((mean[border].mean() + 1e-3) / (mean[~border].mean() + 1e-3)))
    return min(ratios)


@lru_cache(maxsize=8)
def strokes(height: int, width: int) -> Tensor:
    """How painterly strokes brighten and darken each pixel, (H, W), about 1."""
    grey = torch.full((1, height, width, 3), 0.5)
    return painterly(grey)[0, ..., 0] / 0.5


def strokiness(picture: Picture) -> float:
    """How much of the fixed field of brush strokes is in a clip: about 1 for painterly, about 0 for any other."""
    field = strokes(*picture.frames.shape[2:]).log()[None, None]
    few = picture.frames[:: max(1, len(picture.frames) // 2)]
    log = (few.mean(1, keepdim=True) + 0.02).log()
    fine, reference = _fine(log), _fine(field)
    fine = fine.median(0, keepdim=True).values.clamp(-0.25, 0.25)
    return float((fine * reference).sum() / (reference * reference).sum())


def _fine(picture: Tensor) -> Tensor:
    """What is left of (N, 1, H, W) without its broad shades."""
    padded = F.pad(picture, (4, 4, 4, 4), mode="replicate")
    return picture - F.avg_pool2d(padded, 9, stride=1)

"""The two styles that leave a texture of their own on every pixel: blocks and brush strokes. Next: `camera.py`."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from videosyn.evaluation.judge.picture import Picture
from videosyn.world.styles import PIXEL_BLOCKS, painterly

SATURATION = 1.2
"""How much painting strengthens colours."""


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
    return _painted(torch.full((height, width), 0.5)) / 0.5


def unpainted(frames: Tensor) -> Tensor:
    """Painterly frames (K, 3, H, W) without strokes, their edges where they were, their colours as pale as before."""
    height, width = frames.shape[2:]
    even_light = (frames / strokes(height, width)).clamp(0.0, 1.0)
    grid = _where_painted(height, width).expand(len(frames), -1, -1, -1)
    moved = F.grid_sample(even_light, grid, align_corners=False, padding_mode="border")
    grey = moved.mean(1, keepdim=True)
    return torch.lerp(grey, moved, 1.0 / SATURATION)


def unblocked(pictures: Tensor) -> Tensor:
    """Pixel art (K, 3, H, W) at the working size, its blocks' colours kept at their centres and smooth between."""
    height, width = pictures.shape[2:]
    block = max(2, round(min(height, width) / PIXEL_BLOCKS))
    padded = F.pad(pictures, (0, -width % block, 0, -height % block), mode="replicate")
    blocks = F.avg_pool2d(padded, block)
    return F.interpolate(blocks, padded.shape[2:], mode="bilinear", align_corners=False)[:, :, :height, :width]


def _painted(values: Tensor) -> Tensor:
    """Values (H, W) between 0.2 and 0.8 as the painterly style moves and shades them."""
    return painterly(values[None, :, :, None].expand(-1, -1, -1, 3))[0, ..., 0]


@lru_cache(maxsize=8)
def _where_painted(height: int, width: int) -> Tensor:
    """For each pixel of the picture before painting, where painting has put it: a sampling grid (1, H, W, 2)."""
    rows, columns = (torch.arange(side) + 0.5 for side in (height, width))
    here = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))  # (2, H, W), pixels
    scale = torch.tensor([height, width]).view(2, 1, 1)
    shaded = torch.stack([_painted(0.2 + 0.6 * part) for part in here / scale]) / strokes(height, width)
    offset = (shaded - 0.2) / 0.6 * scale - here  # where each painted pixel comes from, from itself
    offset = F.avg_pool2d(F.pad(offset[None], (1, 1, 1, 1), mode="replicate"), 3, 1)  # it was rounded to pixels
    place = here
    for _ in range(4):  # solve place + offset(place) = here
        grid = (place / scale * 2.0 - 1.0).flip(0).permute(1, 2, 0)[None]
        place = here - F.grid_sample(offset, grid, align_corners=False, padding_mode="border")[0]
    return (place / scale * 2.0 - 1.0).flip(0).permute(1, 2, 0)[None]


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

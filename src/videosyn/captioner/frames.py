"""Which frames of a clip are looked at, and how they become the vision encoder's pictures. Next: `model.py`."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from videosyn.captioner.config import CaptionerConfig


def evenly_spaced(num_frames: int, wanted: int) -> list[int]:
    """Numbers of at most `wanted` of a clip's frames, the first and the last among them, in order."""
    if num_frames <= wanted:
        return list(range(num_frames))
    if wanted == 1:
        return [num_frames // 2]
    return [round(place * (num_frames - 1) / (wanted - 1)) for place in range(wanted)]


def picture_size(config: CaptionerConfig, height: int, width: int, patch_px: int) -> tuple[int, int]:
    """Height and width of the pictures made of frames of a size, multiples of `patch_px`."""
    if not config.keep_aspect:
        return config.image_px, config.image_px
    scale = config.image_px / math.sqrt(height * width)
    rows, columns = (max(1, round(side * scale / patch_px)) for side in (height, width))
    return rows * patch_px, columns * patch_px


def to_pictures(config: CaptionerConfig, frames: Tensor, patch_px: int, dtype: torch.dtype) -> Tensor:
    """Frames, uint8 (..., H, W, 3) -> pictures (..., 3, H', W') as the vision encoder wants them."""
    mean, std = (
        torch.tensor(each, device=frames.device).view(3, 1, 1) for each in (config.image_mean, config.image_std)
    )
    lead, (height, width) = frames.shape[:-3], frames.shape[-3:-1]
    pictures = frames.flatten(0, -4).permute(0, 3, 1, 2).float() / 255
    size = picture_size(config, height, width, patch_px)
    if size != (height, width):
        pictures = F.interpolate(pictures, size, mode="bilinear", antialias=True, align_corners=False)
    return ((pictures - mean) / std).to(dtype).unflatten(0, lead)

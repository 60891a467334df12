"""A clip made ready to be measured: one working size, few frames, a scale of brightness even to the eye. Next:
`texture.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from videosyn.world.layout import View

WORKING_SIDE = 96
"""Shorter side, in pixels, that larger and smaller clips are brought to."""
LEAST_KEY_FRAMES, MOST_KEY_FRAMES = 9, 17
"""Frames in which things are looked for, spread evenly over the clip: at most three apart where MOST_KEY_FRAMES
allow it, as a cube that turns at the world's pace looks the same again after four.
"""
BINOMIAL = (0.25, 0.5, 0.25)
"""What both the gallery and the frames are smoothed with, so that an edge half a pixel off costs little."""


@dataclass(frozen=True)
class Picture:
    """A clip as the judge looks at it."""

    frames: Tensor
    """(K, 3, H, W) floats in [0, 1]: the key frames at the working size."""
    numbers: tuple[int, ...]
    """Which frames of the clip these are."""
    native: Tensor
    """(H', W', 3) floats in [0, 1]: the middle frame at its own size, for what resizing would destroy."""
    num_frames: int
    """Frames of the clip itself."""

    @property
    def progress(self) -> tuple[float, ...]:
        """Where in the clip each key frame lies, 0 to 1."""
        return tuple(number / max(self.num_frames - 1, 1) for number in self.numbers)

    @property
    def view(self) -> View:
        return View(self.frames.shape[2], self.frames.shape[3])

    @property
    def middle(self) -> int:
        """Index of the key frame in the middle, where a pan looks straight ahead."""
        return len(self.frames) // 2


def prepare(clip: np.ndarray | Tensor) -> Picture:
    """uint8 clip (T, H, W, 3) -> Picture."""
    video = torch.as_tensor(clip)
    if video.ndim != 4 or video.shape[3] != 3 or video.dtype != torch.uint8:
        raise ValueError(f"a clip is uint8 (T, H, W, 3), got {video.dtype} {tuple(video.shape)}")
    total = video.shape[0]
    count = min(total, max(LEAST_KEY_FRAMES, min(MOST_KEY_FRAMES, -(-(total - 1) // 3) + 1)))
    index = [round(i * (total - 1) / max(count - 1, 1)) for i in range(count)]
    frames = video[index].permute(0, 3, 1, 2).float() / 255.0
    shorter = min(frames.shape[2:])
    if shorter != WORKING_SIDE:
        size = [2 * round(side * WORKING_SIDE / shorter / 2) for side in frames.shape[2:]]
        frames = F.interpolate(frames, size, mode="bilinear", antialias=True, align_corners=False)
    native = video[index[count // 2]].float() / 255.0
    return Picture(frames.contiguous(), tuple(index), native, total)


def even(picture: Tensor) -> Tensor:
    """Brightness on a scale even to the eye, so that a step in the dark counts as much as one in the light: [0, 1]
    -> [0.14, 1.01].
    """
    return (picture.clamp_min(0.0) + 0.02).sqrt()


def smoothed(pictures: Tensor, kernel: tuple[float, float, float]) -> Tensor:
    """Pictures (N, C, H, W) smoothed along both sides; what lies outside is as the border."""
    weights = pictures.new_tensor(kernel)
    channels = pictures.shape[1]
    down = weights.view(1, 1, 3, 1).expand(channels, 1, 3, 1)
    along = weights.view(1, 1, 1, 3).expand(channels, 1, 1, 3)
    padded = F.pad(pictures, (1, 1, 1, 1), mode="replicate")
    return F.conv2d(F.conv2d(padded, down, groups=channels), along, groups=channels)

"""Pictures and clips that a film is to begin or end with, read from files and brought to the film's size."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from videosyn.core.errors import UserError
from videosyn.core.video_file import read_video

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

_SAME_SHAPE = 0.01
"""Aspect ratios this close count as the same."""


def read_picture(path: Path, height: int, width: int) -> tuple[np.ndarray, list[str]]:
    """A picture file -> uint8 (height, width, 3), its middle where the shapes differ; and notes on what was cut away.

    Raises UserError for what is no picture.
    """
    import numpy as np
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as opened:
            picture = ImageOps.exif_transpose(opened).convert("RGB")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, SyntaxError, ValueError) as error:
        raise UserError(f"{path} is no picture that can be read: give a PNG, JPEG or WebP file") from error
    return np.asarray(fitted(picture, height, width)), _cut(path, picture.height, picture.width, height, width)


def read_clip(path: Path, height: int, width: int, fps: float) -> tuple[np.ndarray, list[str]]:
    """A video file -> uint8 (T, height, width, 3) at `fps` frames a second; and notes on what was changed."""
    import numpy as np
    from PIL import Image

    frames, own_fps = read_video(path)
    own_fps = own_fps if own_fps > 0 else fps  # a file that tells none
    notes = _cut(path, frames.shape[1], frames.shape[2], height, width)
    if abs(own_fps / fps - 1) > _SAME_SHAPE:
        num_frames = max(1, round(len(frames) * fps / own_fps))
        times = (np.arange(num_frames) * own_fps / fps).round().astype(int).clip(0, len(frames) - 1)
        frames = frames[times]
        notes.append(f"{path} has {own_fps:g} frames a second: {num_frames} of them are taken, {fps:g} a second")
    if frames.shape[1:3] != (height, width):
        frames = np.stack([np.asarray(fitted(Image.fromarray(frame), height, width)) for frame in frames])
    return frames, notes


def fitted(picture: Image.Image, height: int, width: int) -> Image.Image:
    """The picture at that size, its middle where the shapes differ."""
    from PIL import Image, ImageOps

    return ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS)


def _cut(path: Path, rows: int, columns: int, height: int, width: int) -> list[str]:
    if abs(columns / rows * height / width - 1) <= _SAME_SHAPE:
        return []
    return [f"{path} is {rows}x{columns}, another shape than {height}x{width}: its middle is taken"]

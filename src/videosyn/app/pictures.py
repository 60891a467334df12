"""Pictures and clips that a film is to begin or end with, read from files and brought to the film's size."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from videosyn.core.errors import UserError
from videosyn.core.video_file import read_frames

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
    """A video file -> uint8 (T, height, width, 3) at `fps` frames a second; and notes on what was changed.

    Of the file's own frames one is there at a time.
    """
    import numpy as np
    from PIL import Image

    def brought_to_size(frame: np.ndarray) -> np.ndarray:
        if frame.shape[:2] == (height, width):
            return frame
        return np.asarray(fitted(Image.fromarray(frame), height, width))

    notes: list[str] = []
    taken: list[np.ndarray] = []
    frame, own_fps, num_read = np.empty(0), fps, 0
    for frame, told_fps in read_frames(path):
        if not num_read:
            notes += _cut(path, frame.shape[0], frame.shape[1], height, width)
            own_fps = told_fps if told_fps > 0 and abs(told_fps / fps - 1) > _SAME_SHAPE else fps
        while round(len(taken) * own_fps / fps) == num_read:
            taken.append(brought_to_size(frame))
        num_read += 1
    num_frames = max(1, round(num_read * fps / own_fps))
    taken += [brought_to_size(frame)] * (num_frames - len(taken))
    if own_fps != fps:
        notes.append(f"{path} has {own_fps:g} frames a second: {num_frames} of them are taken, {fps:g} a second")
    return np.stack(taken[:num_frames]), notes


def fitted(picture: Image.Image, height: int, width: int) -> Image.Image:
    """The picture at that size, its middle where the shapes differ."""
    from PIL import Image, ImageOps

    return ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS)


def _cut(path: Path, rows: int, columns: int, height: int, width: int) -> list[str]:
    if abs(columns / rows * height / width - 1) <= _SAME_SHAPE:
        return []
    return [f"{path} is {rows}x{columns}, another shape than {height}x{width}: its middle is taken"]

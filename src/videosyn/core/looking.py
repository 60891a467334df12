"""A look at a video file or picture: a few frames spread evenly, or all of them in order, in constant memory.

numpy and PyAV, no torch. Containers lie about their length, so a file is decoded once to its end, and what is kept is
thinned as it grows. GIF and WebP alone are read whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videosyn.core.errors import UserError
from videosyn.core.video_file import read_video, readable

if TYPE_CHECKING:
    import numpy as np

PICTURES = (".jpg", ".jpeg", ".png")
ANIMATIONS = (".gif", ".webp")
VIDEOS = (".mp4", ".mkv", ".webm", ".mov", ".avi", ".m4v")
HELD = 8
"""As many frames are held, at most, for each one that is wanted: what is chosen is even to one part in four of that."""


@dataclass(frozen=True)
class Look:
    """Frames uint8 (N, H, W, 3), upright RGB; `times` of each, 0 where the film begins to 1 where it ends."""

    frames: np.ndarray
    times: tuple[float, ...]
    num_frames: int
    """Of the whole film."""


def look_at(path: Path, wanted: int, at_most_px: int) -> Look:
    """At most `wanted` frames, the first and the last among them, no side longer than `at_most_px`.

    A UserError where the file cannot be read or holds no frame.
    """
    import numpy as np

    held: list[tuple[int, Any]] = []
    step, count, last = 1, 0, None
    for frame in every_frame(path, at_most_px):
        if count % step == 0:
            held.append((count, frame))
            if len(held) > HELD * wanted:
                step *= 2
                held = held[::2]
        last, count = (count, frame), count + 1
    if last is None:
        raise UserError(f"{path} holds no frames")
    if held[-1][0] != last[0]:
        held.append(last)
    numbers = [number for number, _ in held]
    ideal = [place * (count - 1) / max(1, wanted - 1) for place in range(wanted)] if wanted > 1 else [(count - 1) / 2]
    chosen = sorted({min(range(len(held)), key=lambda index: abs(numbers[index] - each)) for each in ideal})
    if count <= wanted:
        chosen = list(range(len(held)))
    times = tuple(numbers[index] / max(1, count - 1) for index in chosen)
    return Look(np.stack([held[index][1] for index in chosen]), times, count)


def every_frame(path: Path, at_most_px: int) -> Iterator[np.ndarray]:
    """The frames of a film in order, or a picture as a film of one: uint8 (H, W, 3), all of the first one's size."""
    suffix = path.suffix.lower()
    if suffix in PICTURES:
        yield _picture(path, at_most_px)
        return
    if suffix in ANIMATIONS:
        yield from (_smaller(frame, at_most_px) for frame in read_video(path)[0])
        return
    import av
    import av.error
    import numpy as np

    size: tuple[int, int] | None = None
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            for frame in container.decode(container.streams.video[0]):
                size = size or _size(frame.width, frame.height, at_most_px)
                fits = frame if (frame.width, frame.height) == size else frame.reformat(*size, interpolation="AREA")
                yield np.rot90(fits.to_ndarray(format="rgb24"), round(frame.rotation / 90))
    except (av.error.FFmpegError, OSError, IndexError) as error:
        if size is None:
            raise UserError(f"cannot read {path} as a video: {error}") from error
        # A film that breaks off shows what it has: as much is described.


def count_frames(path: Path) -> int:
    """How many frames `every_frame` gives, counted without decoding; the container's packets where it is a video."""
    suffix = path.suffix.lower()
    if suffix in PICTURES:
        return 1
    if suffix in ANIMATIONS:
        return len(read_video(path)[0])
    import av
    import av.error

    try:
        with av.open(str(path), metadata_errors="replace") as container:
            return sum(packet.size > 0 for packet in container.demux(container.streams.video[0]))
    except (av.error.FFmpegError, OSError, IndexError) as error:
        raise UserError(f"cannot read {path} as a video: {error}") from error


def films_of(source: Path) -> list[Path]:
    """The file, or all videos and pictures of a folder and the folders in it, in order. A UserError for none."""
    if source.is_file():
        return [source]
    suffixes = (*VIDEOS, *ANIMATIONS, *PICTURES)
    found = sorted(each for each in source.rglob("*") if each.suffix.lower() in suffixes and each.is_file())
    if not found:
        raise UserError(f"{source} holds no videos or pictures ({', '.join(suffixes)}): give another folder")
    return found


def _picture(path: Path, at_most_px: int) -> np.ndarray:
    import numpy as np
    from PIL import Image, ImageOps

    with readable(path, "picture"), Image.open(path) as opened:
        return _smaller(np.asarray(ImageOps.exif_transpose(opened).convert("RGB")), at_most_px)


def _smaller(frame: np.ndarray, at_most_px: int) -> np.ndarray:
    import numpy as np
    from PIL import Image

    size = _size(frame.shape[1], frame.shape[0], at_most_px)
    if size == (frame.shape[1], frame.shape[0]):
        return frame
    return np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS))


def _size(width: int, height: int, at_most_px: int) -> tuple[int, int]:
    scale = min(1.0, at_most_px / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))

"""One window of a clip, decoded: the frames at given times, resized to cover a size, and cut to it. numpy and PyAV.

No torch, so that a process that only decodes starts fast and is small. Next: `decoders.py`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from videosyn.dataset.places import open_binary, read_range

if TYPE_CHECKING:
    import numpy as np

_PICTURES = (".jpg", ".jpeg", ".png", ".webp")


class DamagedClip(Exception):
    """A file that is missing, or does not give the frames it should. The message is the reason, on one line."""


@dataclass(frozen=True)
class Place:
    """Where a clip's bytes are: a file, or `length` bytes from `offset` on in a shard. Either may be an fsspec URL."""

    path: str
    offset: int = 0
    length: int = 0
    suffix: str = ""
    """Of the clip's name, where it lies in a shard."""

    @property
    def is_picture(self) -> bool:
        return (self.suffix or Path(self.path).suffix.lower()) in _PICTURES

    def open(self) -> BinaryIO:
        if not self.length:
            return open_binary(self.path)
        return io.BytesIO(read_range(self.path, self.offset, self.length))


@dataclass(frozen=True)
class Wanted:
    """The frames to read: `num_frames`, `step_s` apart from `start_s` on, as a (height, width) picture each."""

    place: Place
    start_s: float
    step_s: float
    num_frames: int
    height: int
    width: int
    across: float = 0.5
    """Where along the longer side the picture is cut out, 0 to 1; 0.5: the middle."""
    tolerance_s: float = 0.0
    """How much later than its time a frame may begin: half the clip's own step."""


def read_window(wanted: Wanted) -> np.ndarray:
    """-> uint8 (T, H, W, 3), RGB. Raises DamagedClip where the file does not give all the frames."""
    import numpy as np

    if wanted.place.is_picture:
        return np.stack([_read_picture(wanted)] * wanted.num_frames)
    import av.error

    try:
        frames = list(_pictures_at(wanted))
    except (av.error.FFmpegError, OSError, IndexError, ValueError) as error:
        raise DamagedClip(f"cannot be read: {_line(error)}") from error
    if len(frames) < wanted.num_frames:
        raise DamagedClip(f"ends early: {len(frames)} of {wanted.num_frames} frames from {wanted.start_s:.2f} s on")
    return np.stack(frames)


def probe(place: Place) -> tuple[float, float, float, float]:
    """-> frames, height and width in pixels (upright), frames a second. Raises DamagedClip."""
    if place.is_picture:
        return _probe_picture(place)
    import av
    import av.error

    try:
        with place.open() as file, av.open(file, "r") as container:
            stream = container.streams.video[0]
            frame = next(container.decode(stream))
            fps = float(stream.average_rate or stream.guessed_rate or 0)
            seconds = float((stream.duration or 0) * (stream.time_base or 0)) or float(container.duration or 0) / 1e6
            sides = (frame.height, frame.width)
            height, width = sides[::-1] if round(frame.rotation / 90) % 2 else sides
            return stream.frames or int(seconds * fps + 0.5), height, width, fps
    except StopIteration as error:
        raise DamagedClip("holds no frames") from error
    except (av.error.FFmpegError, OSError, IndexError, ValueError) as error:
        raise DamagedClip(f"cannot be read: {_line(error)}") from error


def _probe_picture(place: Place) -> tuple[float, float, float, float]:
    from PIL import Image, ImageOps

    try:
        with place.open() as file, Image.open(file) as image:
            width, height = ImageOps.exif_transpose(image).size
        return 1, height, width, 1
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DamagedClip(f"cannot be read: {_line(error)}") from error


def _pictures_at(wanted: Wanted) -> Iterator[np.ndarray]:
    """For each wanted time the last frame that has begun by then."""
    import av

    times = [wanted.start_s + index * wanted.step_s + wanted.tolerance_s for index in range(wanted.num_frames)]
    with wanted.place.open() as file, av.open(file, "r") as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1  # as many processes as cores decode
        tick_s, begin = float(stream.time_base or 0), stream.start_time or 0
        if wanted.start_s > 1 and tick_s:
            container.seek(begin + int((wanted.start_s - 0.5) / tick_s), stream=stream, backward=True)
        shown: Any = None
        given = 0
        for frame in container.decode(stream):
            time_s = ((frame.pts or 0) - begin) * tick_s
            while given < len(times) and shown is not None and time_s > times[given]:
                yield _fitted(shown, wanted)
                given += 1
            if given == len(times):
                return
            shown = frame
        last_s = 0.0 if shown is None else ((shown.pts or 0) - begin) * tick_s
        for time_s in times[given:]:  # after the last frame: it shows for its own time, no longer
            if shown is None or time_s - last_s > wanted.step_s + wanted.tolerance_s:
                return
            yield _fitted(shown, wanted)


def _fitted(frame: Any, wanted: Wanted) -> np.ndarray:
    import numpy as np
    from av.video.reformatter import Interpolation

    turns = round(frame.rotation / 90) % 4
    high, wide = (frame.width, frame.height) if turns % 2 else (frame.height, frame.width)
    height, width = _covering(high, wide, wanted)
    sides = (width, height) if turns % 2 else (height, width)
    how = Interpolation.AREA if height < high else Interpolation.BICUBIC
    pixels = frame.reformat(height=sides[0], width=sides[1], format="rgb24", interpolation=how).to_ndarray()
    return _cut(np.rot90(pixels, turns), wanted)


def _read_picture(wanted: Wanted) -> np.ndarray:
    import numpy as np
    from PIL import Image, ImageOps

    try:
        with wanted.place.open() as file, Image.open(file) as opened:
            image = ImageOps.exif_transpose(opened).convert("RGB")
            height, width = _covering(image.height, image.width, wanted)
            return _cut(np.asarray(image.resize((width, height), Image.Resampling.LANCZOS)), wanted)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DamagedClip(f"cannot be read: {_line(error)}") from error


def _covering(height: int, width: int, wanted: Wanted) -> tuple[int, int]:
    """The size of the same picture that just covers the wanted one."""
    scale = max(wanted.height / height, wanted.width / width)
    return max(wanted.height, round(height * scale)), max(wanted.width, round(width * scale))


def _cut(pixels: np.ndarray, wanted: Wanted) -> np.ndarray:
    top = round((pixels.shape[0] - wanted.height) * wanted.across)
    left = round((pixels.shape[1] - wanted.width) * wanted.across)
    return pixels[top : top + wanted.height, left : left + wanted.width]


def _line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]

"""The one decode: a span's frames with a margin around it, as small planes; full RGB only when asked. Next: `shots.py`.

Sampling every n-th pixel of the decoder's own planes costs little beside decoding, where converting to full RGB
doubles its time. Nothing here grows with the length of a source.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videosyn.curation.records import Source

if TYPE_CHECKING:
    import av
    import numpy as np
    from av.container import InputContainer

LONGER_SIDE_PX = 256
"""Small pictures are at most this long, as PySceneDetect's are."""
_SEEK_SLACK_S = 1.0
"""Decoding begins at a keyframe at least this long before the first frame wanted."""
_RESTART_S = 1.0
"""Timestamps that fall by more than this start again; by less, one of them is wrong."""

_SUBSAMPLED = {  # pixel format -> (bytes a sample, halvings of chroma down, halvings of chroma across)
    "yuv420p": (1, 1, 1),
    "yuvj420p": (1, 1, 1),
    "yuva420p": (1, 1, 1),
    "yuv422p": (1, 0, 1),
    "yuvj422p": (1, 0, 1),
    "yuv444p": (1, 0, 0),
    "yuvj444p": (1, 0, 0),
    "yuv420p10le": (2, 1, 1),
    "yuv422p10le": (2, 0, 1),
    "yuv444p10le": (2, 0, 0),
}


def open_video(path: str | Path) -> InputContainer:
    """Opens a local file for reading. Nothing a file names, such as a playlist's entries, is fetched from a network."""
    import av

    return av.open(str(path), options={"protocol_whitelist": "file"}, metadata_errors="replace")


@dataclass(frozen=True)
class Decoded:
    """A frame of a span, or of the margin around it."""

    time_s: float
    """From the stream's start; never less than the frame before."""
    place: int
    """-1: margin before the span, 0: in the span, 1: margin after it."""
    damaged: bool
    """Whether packets since the last keyframe did not decode: such frames are smeared."""
    frame: av.VideoFrame


class SpanReader:
    """Iterates over the frames with a time in [start_s, end_s), and up to `margin` frames before and after them.

    Packets that cannot be decoded are passed over. Where timestamps start again, as in transport streams that were
    joined, times go on from the frame before; no seek finds such a time, so the file is read from its beginning.
    """

    def __init__(self, path: str | Path, fps: float, start_s: float, end_s: float, margin: int) -> None:
        self.path, self.start_s, self.end_s, self.margin = path, start_s, end_s, margin
        self.frame_s = 1 / fps if fps > 0 else 0.04
        self._errors: list[str] = []
        self._restarts = False

    @property
    def warnings(self) -> list[str]:
        """What was wrong so far: a line a kind, the same for every span that it is true of."""
        damaged = [f"damaged: not all of it decodes ({self._errors[0]})"] if self._errors else []
        return damaged + ["joined: its timestamps start again, so times are counted on"] * self._restarts

    def __iter__(self) -> Iterator[Decoded]:
        back_s = _SEEK_SLACK_S + self.margin * self.frame_s
        self._restarts = restarts(self.path)
        while True:
            from_s = -math.inf if self._restarts else self.start_s - back_s
            self._errors = []
            frames = self._timed(from_s)
            before: deque[tuple[float, bool, Any]] = deque(maxlen=self.margin)
            first, num_before = None, 0
            for each in frames:
                if each[0] >= self.start_s:
                    first = each
                    break
                before.append(each)
                num_before += 1
            if num_before >= max(1, self.margin) or from_s <= 0:
                break
            frames.close()
            back_s *= 4  # the seek went too far, or frames are few: from an earlier keyframe
        if first is None:
            return
        for time_s, damaged, frame in before:
            yield Decoded(time_s, -1, damaged, frame)
        before.clear()
        num_after = 0
        while first is not None:
            time_s, damaged, frame = first
            num_after += time_s >= self.end_s
            if num_after > self.margin:
                frames.close()
                return
            yield Decoded(time_s, int(num_after > 0), damaged, frame)
            first = next(frames, None)

    def _timed(self, from_s: float) -> Generator[tuple[float, bool, Any]]:
        """(time_s, damaged, frame) of all frames from the keyframe before `from_s`, or from the beginning."""
        import av.error

        with open_video(self.path) as container:
            stream = container.streams.video[0]
            time_base = float(stream.time_base or 0)
            start = stream.start_time or 0
            if from_s > 0 and time_base:
                try:
                    container.seek(start + math.floor(from_s / time_base), stream=stream, backward=True)
                except av.error.FFmpegError:
                    container.seek(start, stream=stream, backward=True)
            errors = self._errors
            last_s, offset_s, num_errors, damaged = -math.inf, 0.0, 0, False
            for frame in decoded(container, stream, errors, sought=from_s > 0):
                damaged = len(errors) > num_errors or (damaged and not frame.key_frame)
                num_errors = len(errors)
                if frame.pts is None:
                    time_s = last_s + self.frame_s if last_s > -math.inf else 0.0
                else:
                    told_s = (frame.pts - start) * time_base
                    if told_s >= last_s:  # also where single timestamps were wrong
                        offset_s = 0.0
                    elif self._restarts and told_s + offset_s < last_s - _RESTART_S:
                        offset_s = last_s + self.frame_s - told_s
                    time_s = told_s + offset_s
                last_s = max(time_s, last_s)
                yield last_s, damaged, frame


def decoded(container: Any, stream: Any, errors: list[str], sought: bool = False) -> Iterator[av.VideoFrame]:
    """All frames from where the container stands. What does not decode is passed over, and a line of `errors` each.

    Where it was `sought`, pictures that are shown before the first keyframe need earlier ones: they are left out.
    """
    import av.error

    stream.codec_context.thread_count = 1  # the engine runs a process a core
    stream.codec_context.options = {"err_detect": "explode"}  # say what is damaged instead of painting it over
    packets = demuxed(container, stream)
    first_pts = None
    while True:
        try:
            packet = next(packets)
            if sought and packet.pts is not None:
                first_pts = packet.pts if first_pts is None else first_pts
                if packet.pts < first_pts:
                    continue
            frames = packet.decode()
        except (StopIteration, av.error.EOFError):
            return
        except av.error.FFmpegError as error:
            errors.append(error.strerror or type(error).__name__)
            continue
        for frame in frames:
            if frame.is_corrupt:
                errors.append("corrupt frame")
            yield frame


def restarts(path: str | Path) -> bool:
    """Whether the timestamps of a video stream start again on the way. All packets of such a format are looked at."""
    status = Path(path).stat()
    return _restarts(str(path), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=16)
def _restarts(path: str, size_bytes: int, mtime_ns: int) -> bool:
    import av.error
    from av.format import Flags

    last_s = -math.inf
    with open_video(path) as container:
        if not container.format.flags & Flags.ts_discont.value:
            return False
        try:
            for packet in demuxed(container, container.streams.video[0]):
                ticks = packet.pts if packet.dts is None else packet.dts
                if ticks is None or not packet.time_base:
                    continue
                time_s = float(ticks * packet.time_base)
                if time_s < last_s - _RESTART_S:
                    return True
                last_s = max(last_s, time_s)
        except av.error.FFmpegError:
            pass  # truncated: what came so far counts
    return False


def demuxed(container: Any, stream: Any) -> Iterator[Any]:
    """The stream's packets. PyAV stumbles over streams that a damaged transport stream makes up on the way: go on."""
    while True:
        try:
            yield from container.demux(stream)
            return
        except IndexError:
            continue  # past the packet of a stream that was not there when the container was opened


class Sampler:
    """Makes the small pictures of a source: every n-th pixel, upright, all of one size."""

    def __init__(self, source: Source) -> None:
        turned = source.rotation_deg in (90, 270)
        width, height = (source.height_px, source.width_px) if turned else (source.width_px, source.height_px)
        self.step = math.ceil(max(width, height) / LONGER_SIDE_PX)
        self.coded = (height, width)
        self.half = (height // 2 // self.step, width // 2 // self.step)
        """Rows and columns of the small chroma planes before they are turned; luma has twice as many."""
        self.quarter_turns = source.rotation_deg // 90

    def planes(self, frame: av.VideoFrame) -> tuple[np.ndarray, np.ndarray]:
        """-> luma (H, W) and chroma (2, H / 2, W / 2), uint8 of limited range (16 to 235, 16 to 240)."""
        import numpy as np

        rows, columns = self.half
        if (frame.height, frame.width) != self.coded or frame.format.name not in _SUBSAMPLED:
            size = {"width": columns * 2, "height": rows * 2}
            frame, step = frame.reformat(**size, format="yuv420p", interpolation="POINT"), 1
        else:
            step = self.step
        sample_bytes, down, across = _SUBSAMPLED[frame.format.name]
        luma = _thinned(_plane(frame, 0, sample_bytes), step, step)[: rows * 2, : columns * 2]
        steps = step * (2 - down), step * (2 - across)
        chroma = [_thinned(_plane(frame, plane, sample_bytes), *steps)[:rows, :columns] for plane in (1, 2)]
        if sample_bytes == 2:
            luma, chroma = luma >> 2, [plane >> 2 for plane in chroma]
        turned = [np.rot90(plane, self.quarter_turns) for plane in (luma, *chroma)]
        luma, chroma = np.ascontiguousarray(turned[0], np.uint8), np.stack(turned[1:]).astype(np.uint8, copy=False)
        if frame.format.name.startswith("yuvj") or frame.color_range == 2:  # full range, in FFmpeg's numbering
            luma, chroma = _tables()[1][luma], _tables()[2][chroma]
        return luma, chroma


def full_luma(luma: np.ndarray) -> np.ndarray:
    """Limited-range luma -> 0 to 255, uint8. Thresholds mean grey levels of the whole range."""
    import cv2

    return cv2.LUT(luma, _tables()[0])


def full_picture(frame: av.VideoFrame, rotation_deg: int, order: str = "rgb24") -> np.ndarray:
    """The whole picture, upright: (H, W, 3) uint8. `order`: rgb24 or bgr24."""
    import numpy as np
    from av.video.reformatter import Colorspace

    guess = frame.colorspace == 2 and frame.height >= 720  # nothing said: large pictures are BT.709 by convention
    source_space = {"src_colorspace": Colorspace.ITU709} if guess else {}
    pixels = frame.reformat(format=order, **source_space).to_ndarray()
    return np.ascontiguousarray(np.rot90(pixels, rotation_deg // 90))


def _plane(frame: av.VideoFrame, index: int, sample_bytes: int) -> np.ndarray:
    """A view of a plane, padding included on the right."""
    import numpy as np

    plane: Any = frame.planes[index]
    samples = np.frombuffer(plane, np.uint8 if sample_bytes == 1 else "<u2")
    return samples.reshape(-1, plane.line_size // sample_bytes)[: plane.height, : plane.width]


def _thinned(plane: np.ndarray, step_y: int, step_x: int) -> np.ndarray:
    """Every n-th sample of a plane, from the middle of the first n. Whole rows first: half the time of both at once."""
    import numpy as np

    return np.ascontiguousarray(plane[step_y // 2 :: step_y])[:, step_x // 2 :: step_x]


@cache
def _tables() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Luma limited -> full, luma full -> limited, chroma full -> limited; (256,) uint8 each."""
    import numpy as np

    level = np.arange(256.0)
    tables = (level - 16) * (255 / 219), 16 + level * (219 / 255), 128 + (level - 128) * (224 / 255)
    full, limited, chroma = (np.rint(table).clip(0, 255).astype(np.uint8) for table in tables)
    return full, limited, chroma

"""A span of a source as H.264: upright, 4:2:0, even sizes, every frame at its own time. Next: `tables.py`."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videosyn.curation.records import Clip, Source

if TYPE_CHECKING:
    import av
    import numpy as np

_FINEST_TICK = 1_000_000
_BT709 = 1  # in FFmpeg's numbering of colour spaces
_LIMITED = 1  # in FFmpeg's numbering of colour ranges


class DamagedSpan(ValueError):
    """A span that does not decode to the frames that the scan counted."""


def encode(path: Path, source: Source, clip: Clip, target: Path, crf: int, preset: str) -> None:
    """Writes all frames of the clip's span to the mp4 `target`. Raises DamagedSpan where there are fewer.

    Where the span read from a keyframe near it has not the number of frames that the scan counted, as in damaged
    files, it is read again from the source's beginning.
    """
    num_frames = _encode(_near(path, source, clip), path, source, clip, target, crf, preset)
    if num_frames != clip.num_frames:
        num_frames = _encode(_counted(path, source, clip), path, source, clip, target, crf, preset)
    if num_frames != clip.num_frames:
        raise DamagedSpan(f"of its {clip.num_frames} frames {num_frames} could be decoded again")


def _near(path: Path, source: Source, clip: Clip) -> Iterator[Any]:
    from videosyn.curation.decode import SpanReader

    reader = SpanReader(path, source.fps, clip.start_s, clip.end_s, margin=1)
    return (decoded for decoded in reader if decoded.place == 0)


def _counted(path: Path, source: Source, clip: Clip) -> Iterator[Any]:
    from videosyn.curation.decode import SpanReader

    return islice(iter(SpanReader(path, source.fps, 0.0, float("inf"), margin=0)), clip.start_frame, clip.end_frame)


def _encode(frames: Iterator[Any], path: Path, source: Source, clip: Clip, target: Path, crf: int, preset: str) -> int:
    import av

    num_frames, last = 0, -1
    with av.open(str(target), "w", format="mp4", options={"movflags": "+faststart"}) as output:
        stream, size, tick = None, (0, 0), Fraction(1)
        for decoded in frames:
            picture = upright(decoded.frame, source.rotation_deg)
            if stream is None:
                rate = Fraction(source.fps).limit_denominator(1001) if source.fps > 0 else Fraction(25)
                stream = output.add_stream("libx264", rate=rate, options={"crf": str(crf), "preset": preset})
                size, tick = (picture.width, picture.height), _tick(decoded.frame)
                _describe(stream, picture, decoded.frame, tick, _pixel_aspect(path, source))
            if (picture.width, picture.height) != size:  # a source whose size changes midway
                picture = picture.reformat(width=size[0], height=size[1])
            last = max(last + 1, round((decoded.time_s - clip.start_s) / tick))
            picture.pts, picture.time_base = last, tick
            output.mux(stream.encode(picture))
            num_frames += 1
        if stream is not None:
            output.mux(stream.encode(None))
    return num_frames


def _describe(stream: Any, picture: av.VideoFrame, frame: av.VideoFrame, tick: Fraction, aspect: Fraction) -> None:
    """Tells the encoder what comes: size, unit of time, and how the source's colours are meant."""
    stream.width, stream.height, stream.pix_fmt = picture.width, picture.height, "yuv420p"
    context = stream.codec_context
    context.time_base = tick
    context.thread_count = 1  # the engine runs a process a core; and the bytes do not depend on the machine's cores
    context.sample_aspect_ratio = aspect
    context.color_range = _LIMITED
    meant = (_BT709,) * 3 if frame.format.is_rgb else (frame.colorspace, frame.color_primaries, frame.color_trc)
    context.colorspace, context.color_primaries, context.color_trc = meant


def _pixel_aspect(path: Path, source: Source) -> Fraction:
    """Width over height of a pixel as shown."""
    from videosyn.curation.decode import open_video

    with open_video(path) as container:
        aspect = container.streams.video[0].sample_aspect_ratio or Fraction(1)
    return 1 / aspect if source.rotation_deg in (90, 270) else aspect


def _tick(frame: av.VideoFrame) -> Fraction:
    """The unit of time: the source's own, so that every frame keeps its time exactly."""
    tick = frame.time_base
    return tick if tick and 0 < tick.denominator <= _FINEST_TICK and frame.pts is not None else Fraction(1, 90_000)


def upright(frame: av.VideoFrame, rotation_deg: int) -> av.VideoFrame:
    """A new 8-bit 4:2:0 frame of limited range, turned counterclockwise; an odd last row or column is cut off."""
    import av
    import numpy as np
    from av.video.reformatter import ColorRange, Colorspace

    spaces = {"dst_colorspace": Colorspace.ITU709} if frame.format.is_rgb else {}
    planar = frame.reformat(format="yuv420p", dst_color_range=ColorRange.MPEG, **spaces)
    even = (_even(frame.height), _even(frame.width))
    planes = [_plane(planar, 0, *even), *(_plane(planar, index, even[0] // 2, even[1] // 2) for index in (1, 2))]
    planes = [np.rot90(plane, rotation_deg // 90) for plane in planes]
    height, width = planes[0].shape
    joined = np.concatenate([np.ascontiguousarray(plane).reshape(-1) for plane in planes])
    return av.VideoFrame.from_ndarray(joined.reshape(height * 3 // 2, width), format="yuv420p")


def _even(side_px: int) -> int:
    return max(2, side_px // 2 * 2)


def _plane(frame: av.VideoFrame, index: int, height: int, width: int) -> np.ndarray:
    """A plane cut to a size, its border repeated where it is smaller."""
    import numpy as np

    plane: Any = frame.planes[index]
    pixels = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]
    pixels = pixels[:height, :width]
    missing = (height - pixels.shape[0], width - pixels.shape[1])
    return np.pad(pixels, ((0, missing[0]), (0, missing[1])), mode="edge") if any(missing) else pixels

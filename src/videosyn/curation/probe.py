"""What a file is before it is scanned: its id, its stream's numbers, how it divides into spans. Next: `decode.py`.

Whatever is no footage ends here, with one line that says why.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from videosyn.core.errors import UserError
from videosyn.curation.config import CurationConfig, ShotsConfig
from videosyn.curation.records import Source
from videosyn.curation.sources import licence_of
from videosyn.curation.stages import Resources
from videosyn.curation.work import Work, local_file

MIN_SIDE_PX = 16
_LISTS = ("concat", "dash", "hls", "sdp")
"""Formats that name other files. A source is known by its own content."""
_MAX_FPS = 1000.0
_MIN_BYTES_PER_S = 500
"""A container that claims more time than this allows is not believed: its packets are counted."""
_LAST_SPAN = 1.25
"""The last span may be this much longer than the others, so that none is a few frames."""


class Probe:
    """The stage: a PathStage."""

    name = "probe"
    version = "1"
    resources = Resources(cpus=0.5, memory_bytes=300_000_000, time_limit_s=600.0)

    def __init__(self, config: CurationConfig) -> None:
        pass

    def setup(self) -> None:
        """Nothing to load."""

    def process_path(self, path: str, work: Work) -> Source:
        return probe(path)


def probe(path: str) -> Source:
    """Opens a local file or an fsspec URL, hashes its content and decodes its first frame.

    Raises UserError, one line, for what is empty, no video, too small, or does not decode. Trying again is no use.
    """
    with local_file(path) as file:
        if not file.stat().st_size:
            raise UserError(f"{path} is empty: give a video")
        facts = _facts(path, file)
        return replace(facts, id=content_id(file), size_bytes=file.stat().st_size)


def content_id(file: Path) -> str:
    """First 16 hex digits of the BLAKE2b of a file's content."""
    digest = hashlib.blake2b()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:16]


def num_spans(source: Source, shots: ShotsConfig) -> int:
    """How many spans a source is scanned in; 1 at least."""
    return max(1, math.ceil(source.duration_s / shots.span_seconds - (_LAST_SPAN - 1)))


def span_bounds(source: Source, span: int, shots: ShotsConfig) -> tuple[float, float]:
    """[start_s, end_s) of a span: together they hold every frame, whatever the container says of its length."""
    last = num_spans(source, shots) - 1
    if not 0 <= span <= last:
        raise UserError(f"span must be 0 to {last}, got {span}")
    start_s = span * shots.span_seconds if span else -math.inf
    end_s = (span + 1) * shots.span_seconds if span < last else math.inf
    return start_s, end_s


def _facts(path: str, file: Path) -> Source:
    """A Source without id and size. Raises UserError as `probe`."""
    import av.error

    from videosyn.curation.decode import decoded, open_video

    try:
        with open_video(file) as container:
            if container.format.name in _LISTS:
                raise UserError(f"{path} is a list of other files ({container.format.name}): give those")
            stream = next(iter(container.streams.video), None)
            if stream is None or "ATTACHED_PIC" in str(stream.disposition).upper():
                raise UserError(f"{path} holds no video stream: give a video")
            if stream.codec_context is None:
                raise UserError(f"{path} has a codec that nothing here decodes: convert it to H.264")
            frame = next(decoded(container, stream, []), None)
            if frame is None:
                raise UserError(f"no frame of {path} decodes: it is damaged")
            if min(frame.width, frame.height) < MIN_SIDE_PX:
                raise UserError(
                    f"a picture must be at least {MIN_SIDE_PX} pixels wide and high, "
                    f"got {frame.width}x{frame.height} in {path}"
                )
            rotation = round(frame.rotation / 90) * 90 % 360
            width, height = frame.width, frame.height
            if rotation in (90, 270):
                width, height = height, width
            duration_s, num_frames, fps = _timing(container, stream, file)
            codec = stream.codec_context.codec.canonical_name
            tags = {**container.metadata, **stream.metadata}
    except av.error.FFmpegError as error:
        raise UserError(f"{path} is no video that can be read: {error.strerror or error}") from error
    return Source(
        id="",
        path=path,
        size_bytes=0,
        licence=licence_of(path, tags),
        codec=codec,
        width_px=width,
        height_px=height,
        rotation_deg=rotation,
        fps=fps,
        num_frames=num_frames,
        duration_s=duration_s,
    )


def _timing(container: Any, stream: Any, file: Path) -> tuple[float, int, float]:
    """(duration in seconds, frames as the container says or 0, mean frames a second)."""
    import av

    num_frames = int(stream.frames)
    fps = float(stream.average_rate or stream.guessed_rate or 0)
    if stream.duration and stream.time_base:
        duration_s = float(stream.duration * stream.time_base)
    else:
        duration_s = (container.duration or 0) / av.time_base
    believable = 0 < duration_s <= max(60.0, file.stat().st_size / _MIN_BYTES_PER_S)
    if believable and 0 < fps <= _MAX_FPS:
        return duration_s, num_frames, fps
    packets_s, num_packets = _count_packets(file)
    if not believable:
        duration_s = packets_s
    if not 0 < fps <= _MAX_FPS:
        fps = num_packets / packets_s if packets_s > 0 else 25.0
    return duration_s, num_frames, min(fps, _MAX_FPS)


def _count_packets(file: Path) -> tuple[float, int]:
    """(seconds from the first packet's time to the last's, how many packets), without decoding."""
    import av.error

    from videosyn.curation.decode import demuxed, open_video

    times: list[float] = [0.0, 0.0]
    count = 0
    with open_video(file) as container:
        stream = container.streams.video[0]
        try:
            for packet in demuxed(container, stream):
                if packet.pts is not None and packet.time_base:
                    time_s = float((packet.pts - (stream.start_time or 0)) * packet.time_base)
                    times = [min(times[0], time_s), max(times[1], time_s)]
                count += packet.size > 0
        except av.error.FFmpegError:
            pass  # truncated: what came so far counts
    return times[1] - times[0], count

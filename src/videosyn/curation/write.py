"""Cuts a clip out of its source: clips/<clip id>.mp4 in the work folder. Next: `tables.py`.

Packets are copied where the span begins on a keyframe and ends where no later packet is needed; elsewhere the span is
decoded and encoded anew. Either way the file holds exactly the span's frames at their own times, no sound, its index
first. `collect` then brings the files of all kept clips into the dataset.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from videosyn.core.files import atomic_file
from videosyn.curation.config import CurationConfig
from videosyn.curation.encode import DamagedSpan, encode
from videosyn.curation.records import Clip, Source
from videosyn.curation.results import Result
from videosyn.curation.stages import Resources, rejected
from videosyn.curation.work import Work, is_url, source_file

COPIED_CODECS = ("h264", "hevc", "av1", "vp9")
"""What players of mp4 expect; others are encoded."""
_REORDERED = 32
"""Packets after the end within which a frame of the span may still come: twice what H.264 and HEVC allow."""
_SEEK_SLACK_S = 1.0


class Write:
    """Adds the labels `file_name` and `written` (`copy` or `h264`), and what the file is as scores: `width_px`,
    `height_px`, `fps`, `bytes`. Rejects clips whose frames cannot all be decoded again.
    """

    name = "write"
    version = "1"
    resources = Resources(memory_bytes=1_000_000_000)

    def __init__(self, config: CurationConfig) -> None:
        self.config = config.write

    def setup(self) -> None:
        pass

    def process(self, clip: Clip, work: Work) -> Clip:
        source = work.source(clip.source)
        name = f"clips/{clip.id}.mp4"
        try:
            with source_file(source) as path, work.new_file(name) as target:
                copied = self.config.stream_copy and copy_packets(path, source, clip, target)
                if not copied:
                    encode(path, source, clip, target, self.config.crf, self.config.preset)
                facts = _facts(target, clip)
        except DamagedSpan as error:
            return rejected(clip, self.name, str(error))
        labels = {**clip.labels, "file_name": name, "written": "copy" if copied else "h264"}
        return replace(clip, scores={**clip.scores, **facts}, labels=labels)


def copy_packets(path: Path, source: Source, clip: Clip, target: Path) -> bool:
    """Writes the span's packets to `target` as they are, if that gives exactly its frames; otherwise False.

    The first packet must be a keyframe; none after it may show a frame before it (open groups of pictures), and none
    after the last may show a frame within the span. The copy is decoded once to count its frames.
    """
    import av.error

    from videosyn.curation.decode import restarts

    if source.codec not in COPIED_CODECS or source.rotation_deg:
        return False
    try:
        if restarts(path):
            return False
        packets = list(_span_packets(path, clip))
        if len(packets) != clip.num_frames:
            return False
        _mux(path, packets, target)
        return _num_clean_frames(target) == clip.num_frames
    except (av.error.FFmpegError, ValueError):  # ValueError: a codec that PyAV cannot put into mp4
        return False


def _span_packets(path: Path, clip: Clip) -> Iterator[Any]:
    """The packets of the span in decoding order, or too few of them where they cannot be cut out."""
    from videosyn.curation.decode import open_video

    with open_video(path) as container:
        stream = container.streams.video[0]
        tick_s, begin = float(stream.time_base or 0), stream.start_time or 0
        if not tick_s:
            return
        start, end = (begin + round(time_s / tick_s) for time_s in (clip.start_s, clip.end_s))
        back = round(_SEEK_SLACK_S / tick_s)  # MPEG-TS seeks by decoding time, and not to keyframes
        container.seek(start - back, stream=stream, backward=True)
        inside, num_after = False, 0
        for packet in container.demux(stream):
            if packet.size == 0:  # the demuxer's end
                return
            if packet.pts is None or packet.is_corrupt:
                return
            if not inside and packet.pts > start:
                return
            inside = inside or (packet.is_keyframe and packet.pts == start)
            if not inside:
                continue
            if packet.pts >= end:
                num_after += 1
                if num_after == _REORDERED:
                    return
            elif num_after or packet.pts < start:
                yield from (packet,) * (clip.num_frames + 1)  # the span is not a run of packets: too many
                return
            else:
                yield packet


def _mux(path: Path, packets: list[Any], target: Path) -> None:
    import av

    from videosyn.curation.decode import open_video

    with (
        open_video(path) as container,
        av.open(str(target), "w", format="mp4", options={"movflags": "+faststart"}) as output,
    ):
        stream = output.add_stream_from_template(container.streams.video[0])
        times = sorted(packet.pts for packet in packets)
        delay = max(time - packet.pts for time, packet in zip(times, packets))
        for time, packet in zip(times, packets):  # after a seek, some containers know no decoding times
            packet.stream = stream
            packet.pts, packet.dts = packet.pts - times[0], time - delay - times[0]
            output.mux(packet)


def _num_clean_frames(path: Path) -> int:
    """Frames that decode without damage."""
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        return sum(not frame.is_corrupt for frame in container.decode(stream))


def _facts(path: Path, clip: Clip) -> dict[str, float]:
    import av

    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        sizes = {"width_px": float(context.width), "height_px": float(context.height)}
    return {**sizes, "fps": round(clip.num_frames / clip.duration_s, 4), "bytes": float(path.stat().st_size)}


def collect(result: Result, dataset: Path, work: Work) -> None:
    """Brings the files of kept clips from the work folder into DATASET/clips, and removes those of other clips.

    On one file system a file is linked, not copied. What is there already stays.
    """
    folder = dataset / "clips"
    folder.mkdir(parents=True, exist_ok=True)
    names = {clip.labels["file_name"] for clip in result.kept if "file_name" in clip.labels}
    for path in folder.glob("*.mp4"):
        if f"clips/{path.name}" not in names:
            path.unlink()
    for name in sorted(names):
        _bring(work, name, dataset / name)


def _bring(work: Work, name: str, target: Path) -> None:
    if is_url(work.root):
        if not target.exists():
            with atomic_file(target) as hidden:
                hidden.write_bytes(work.read(name))
        return
    origin = Path(work.root, name)
    if target.exists() and (target.samefile(origin) or _same_copy(origin, target)):
        return
    with atomic_file(target) as hidden:
        try:
            os.link(origin, hidden)
        except OSError:  # another file system, or one without links
            shutil.copy2(origin, hidden)


def _same_copy(origin: Path, target: Path) -> bool:
    """copy2 keeps the time of change, so a file written anew differs in it."""
    left, right = origin.stat(), target.stat()
    return (left.st_size, left.st_mtime_ns) == (right.st_size, right.st_mtime_ns)

"""A source's scan -> its clips: one shot each, long shots divided evenly, kept frames attached. Next: `pipeline.py`.

Black and damaged frames belong to no clip. A shot too short for one is a rejected clip, so that the report counts it;
so is a single frame that is shown longer than a clip may last, as where a recording paused.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace

from videosyn.core.errors import UserError
from videosyn.curation.config import CurationConfig, ShotsConfig
from videosyn.curation.kept import ROUNDING_S, pick, wanted_frames
from videosyn.curation.records import Clip, Frame, Source, clip_id
from videosyn.curation.scan import Scan, is_black
from videosyn.curation.stages import Resources, rejected
from videosyn.curation.work import Work


class Clips:
    """The stage: a JoinStage."""

    name = "clips"
    version = "1"
    resources = Resources(cpus=0.5, memory_bytes=300_000_000, time_limit_s=120.0)

    def __init__(self, config: CurationConfig) -> None:
        self.config = config

    def setup(self) -> None:
        """Nothing to load."""

    def process_source(self, source: Source, work: Work) -> list[Clip]:
        return join(source, work, self.config)


def join(source: Source, work: Work, config: CurationConfig) -> list[Clip]:
    """The clips of a scanned source in order, those that are too short rejected.

    A source's warnings, such as truncation, are the label `source_warning` of all its clips. Raises UserError where no
    frame decodes; FileNotFoundError where a span is not scanned yet.
    """
    scan = Scan.load(work, source)
    if not scan.num_frames:
        raise UserError(f"no frame of {source.path} decodes: it is damaged")
    clips = clips_of(scan, source.id, config.shots)
    if not clips:
        raise UserError(f"all of {source.path} is black or damaged")
    return clips


def clips_of(scan: Scan, source_id: str, config: ShotsConfig) -> list[Clip]:
    """`join` without files."""
    import numpy as np

    times_s = np.append(scan.time_s, scan.end_s)
    labels = {"source_warning": "; ".join(scan.warnings)} if scan.warnings else {}
    kept = {frame.index: frame for frame in scan.kept}
    clips: list[Clip] = []
    for shot_start, shot_end in _shots(scan):
        wanted = wanted_frames(times_s, shot_start, shot_end, config)
        frames = [kept[index] for index in wanted if index in kept]
        pieces = _between_gaps(times_s, shot_start, shot_end, config.max_seconds)
        for start, end in itertools.chain.from_iterable(
            _divided(times_s, *piece, config.max_seconds) for piece in pieces
        ):
            start_s, end_s = float(times_s[start]), float(times_s[end])
            clip = Clip(
                id=clip_id(source_id, start, end),
                source=source_id,
                start_frame=start,
                end_frame=end,
                start_s=start_s,
                end_s=end_s,
                frames=_picked(frames, start, end, start_s, end_s, config.frames_per_clip),
                labels=dict(labels),
            )
            if reason := _wrong_length(clip, config):
                clip = replace(rejected(clip, "shots", reason), frames=())  # they were kept only here and there
            clips.append(clip)
    return clips


def _wrong_length(clip: Clip, config: ShotsConfig) -> str:
    if clip.duration_s < config.min_seconds - ROUNDING_S:
        return f"{clip.duration_s:.2f} s is under shots.min_seconds {config.min_seconds:g}"
    if clip.num_frames == 1 and clip.duration_s > config.max_seconds + ROUNDING_S:
        return f"one frame is shown for {clip.duration_s:.2f} s, over shots.max_seconds {config.max_seconds:g}"
    return ""


def _shots(scan: Scan) -> Iterator[tuple[int, int]]:
    """Half-open spans of sound frames: from cut to cut, without what is black or damaged."""
    import numpy as np

    borders = [0, *(index for index in np.flatnonzero(scan.cut).tolist() if index), scan.num_frames]
    sound = ~(is_black(scan.luma_mean, scan.luma_std) | scan.damaged)
    for start, end in itertools.pairwise(borders):
        for first, last in _runs(sound[start:end]):
            yield start + first, start + last


def _runs(mask) -> list[tuple[int, int]]:
    """Half-open spans in which a mask is true."""
    import numpy as np

    steps = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False])).astype(np.int8)))
    return list(zip(steps[::2].tolist(), steps[1::2].tolist()))


def _between_gaps(times_s, start: int, end: int, max_seconds: float) -> Iterator[tuple[int, int]]:
    """Pieces without a frame that is shown longer than `max_seconds`; such a frame is a piece of its own."""
    import numpy as np

    held = start + np.flatnonzero(np.diff(times_s[start : end + 1]) > max_seconds + ROUNDING_S)
    return itertools.pairwise(sorted({start, end, *held.tolist(), *(held + 1).tolist()}))


def _divided(times_s, start: int, end: int, max_seconds: float) -> Iterator[tuple[int, int]]:
    """A span in the fewest equal parts that are not longer than `max_seconds`; borders are whole frames."""
    import numpy as np

    if end - start == 1:
        yield start, end
        return
    start_s, end_s = float(times_s[start]), float(times_s[end])
    num_parts = max(1, math.ceil((end_s - start_s) / max_seconds - ROUNDING_S))
    while True:
        aims_s = [start_s + (end_s - start_s) * part / num_parts for part in range(1, num_parts)]
        inner = [int(np.searchsorted(times_s[:end], aim_s - ROUNDING_S)) for aim_s in aims_s]
        borders = sorted({start, *(border for border in inner if start < border < end), end})
        parts = list(itertools.pairwise(borders))
        longest_s = max(float(times_s[last] - times_s[first]) for first, last in parts)
        if longest_s <= max_seconds + ROUNDING_S or num_parts >= end - start:
            yield from parts
            return
        num_parts += 1  # a border moved to the next frame made a part too long


def _picked(frames: list[Frame], start: int, end: int, start_s: float, end_s: float, wanted: int) -> tuple[Frame, ...]:
    inside = [frame for frame in frames if start <= frame.index < end]
    return tuple(inside[position] for position in pick([frame.time_s for frame in inside], wanted, start_s, end_s))

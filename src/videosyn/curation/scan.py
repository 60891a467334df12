"""What the one decode of a source left, read back whole: a number per frame of each kind. Next: `clips.py`.

A scan is written span by span (`shots.py`), one file each, scans/<source>/<span>.npz:

    time_s     float64   presentation time in seconds from the stream's start
    motion     float32   share of pixels that move against the frame before, 0 to 1 (paper section 4, stage 4)
    hash       uint64    64-bit perceptual hash of the upright picture; near-duplicates differ in few bits
    luma_mean  float32   mean brightness, 0 to 255
    luma_std   float32   standard deviation of brightness; below 4 the picture is flat and its hash says nothing
    cut        float32   where this frame begins a new shot, the part of the picture that changed; 0: it does not
    damaged    bool      whether packets it depends on did not decode
    kept       int64     positions in this span of the frames kept at full size, in order
    warnings   str       what went wrong on the way, a line each
    num_spans  int64     how many spans the source has

A kept frame is frames/<source>/<span>-<position>.jpg. Spans hold the frames whose time lies in [start, end), so a
frame's index in the source is its place in the spans, one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from videosyn.curation.records import Frame, Source
from videosyn.curation.work import Work

if TYPE_CHECKING:
    import numpy as np

_BLACK_MEAN, _BLACK_STD = 3.0, 2.2
"""A frame neither brighter nor more varied than this, in levels of 255, is black."""
PER_FRAME = ("time_s", "motion", "hash", "luma_mean", "luma_std", "cut", "damaged")


_MISSING_S, _MISSING_SHARE = 1.0, 0.05
"""A container without a count of frames says how long it is, sound included: so much may be missing of the picture."""


@dataclass(frozen=True, eq=False)
class Scan:
    """All frames of a source in presentation order; arrays (N,) as the module's docstring says, N may be 0."""

    time_s: np.ndarray
    motion: np.ndarray
    hash: np.ndarray
    luma_mean: np.ndarray
    luma_std: np.ndarray
    cut: np.ndarray
    damaged: np.ndarray
    kept: tuple[Frame, ...] = ()
    """The frames kept at full size, by index in the source."""
    warnings: tuple[str, ...] = ()

    @property
    def num_frames(self) -> int:
        return len(self.time_s)

    @property
    def end_s(self) -> float:
        """When the last frame ends; 0 where there is none."""
        return end_s(self.time_s) if self.num_frames else 0.0

    @classmethod
    def load(cls, work: Work, source: Source) -> Scan:
        """Reads all spans of a source. FileNotFoundError where one is not there yet."""
        import numpy as np

        first = work.read_arrays(span_file(source.id, 0))
        num_spans = int(first["num_spans"])
        spans = [first, *(work.read_arrays(span_file(source.id, span)) for span in range(1, num_spans))]
        arrays = {name: np.concatenate([span[name] for span in spans]) for name in PER_FRAME}
        kept: list[Frame] = []
        before = 0
        for number, span in enumerate(spans):
            for position in span["kept"].tolist():
                time_s = float(span["time_s"][position])
                kept.append(Frame(before + position, time_s, kept_file(source.id, number, position)))
            before += len(span["time_s"])
        warnings = list(dict.fromkeys(str(line) for span in spans for line in span["warnings"]))
        if before < source.num_frames:
            warnings.append(f"truncated: {before} of the container's {source.num_frames} frames decode")
        scan = cls(**arrays, kept=tuple(kept), warnings=tuple(warnings))
        missing_s = source.duration_s - scan.end_s
        if not source.num_frames and missing_s > max(_MISSING_S, _MISSING_SHARE * source.duration_s):
            line = f"truncated: {scan.end_s:.1f} of the container's {source.duration_s:.1f} s decode"
            scan = replace(scan, warnings=(*warnings, line))
        return scan


def is_black(luma_mean, luma_std):
    """Whether frames of this brightness are black; numbers or arrays."""
    return (luma_mean < _BLACK_MEAN) & (luma_std < _BLACK_STD)


def end_s(time_s: np.ndarray) -> float:
    """When the last frame ends: it is taken to last as long as the middle one of all frames; 0.04 s if alone."""
    import numpy as np

    frame_s = float(np.median(np.diff(time_s))) if len(time_s) > 1 else 0.04
    return float(time_s[-1]) + frame_s


def span_file(source_id: str, span: int) -> str:
    """Name in the work folder of what was measured in a span."""
    return f"scans/{source_id}/{span:05d}.npz"


def kept_file(source_id: str, span: int, position: int) -> str:
    """Name in the work folder of a kept frame."""
    return f"frames/{source_id}/{span:05d}-{position:06d}.jpg"


def write_span(
    work: Work,
    source_id: str,
    span: int,
    num_spans: int,
    arrays: Mapping[str, np.ndarray],
    kept: list[int],
    warnings: list[str],
) -> None:
    """Writes what was measured in a span. `arrays` holds all of PER_FRAME, equally long."""
    import numpy as np

    assert set(arrays) == set(PER_FRAME), arrays.keys()
    assert len({len(array) for array in arrays.values()}) == 1
    others = {
        "kept": np.asarray(kept, np.int64),
        "warnings": np.asarray(warnings, np.str_),
        "num_spans": np.asarray(num_spans, np.int64),
    }
    work.write_arrays(span_file(source_id, span), {**arrays, **others})

"""The one decode of a span: cuts, motion, hashes, brightness, and a few frames at full size. Next: `clips.py`.

Decoding begins some frames before the span and ends some frames after it, so that what is said of a frame is the same
however a source is divided.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videosyn.curation.config import CurationConfig
from videosyn.curation.cuts import LOOK, CutFinder
from videosyn.curation.decode import Decoded, Sampler, SpanReader, full_luma, full_picture
from videosyn.curation.kept import Keeper
from videosyn.curation.motion import moving_share
from videosyn.curation.probe import num_spans, span_bounds
from videosyn.curation.records import Source
from videosyn.curation.scan import PER_FRAME, end_s, is_black, kept_file, write_span
from videosyn.curation.stages import Resources
from videosyn.curation.work import Work, source_file

if TYPE_CHECKING:
    import numpy as np

JPEG_QUALITY = 95
_HASHED_PX = 32


class Shots:
    """A SpanStage: leaves a scan file (`scan.py`) and kept frames for a span."""

    name = "shots"
    version = "1"
    resources = Resources(cpus=1.0, memory_bytes=800_000_000, time_limit_s=600.0)

    def __init__(self, config: CurationConfig) -> None:
        self.config = config

    def setup(self) -> None:
        """Loads the libraries."""
        import cv2
        import scenedetect  # noqa: F401

        cv2.setNumThreads(1)  # the engine runs a process a core

    def num_spans(self, source: Source) -> int:
        return num_spans(source, self.config.shots)

    def process_span(self, source: Source, span: int, work: Work) -> None:
        """Raises UserError where the source is gone or changed, or nothing of a source of one span decodes."""
        with source_file(source) as path:
            self._scan(path, source, span, work)

    def _scan(self, path: Path, source: Source, span: int, work: Work) -> None:
        import numpy as np

        bounds_s = span_bounds(source, span, self.config.shots)
        reader = SpanReader(path, source.fps, *bounds_s, LOOK)
        kept: list[int] = []

        def keep(position: int, frame: Any) -> None:
            work.write(kept_file(source.id, span, position), _jpeg(frame, source.rotation_deg))
            kept.append(position)

        measured = _Measured(self.config, source, Keeper(self.config.shots, keep))
        for decoded in reader:
            measured.add(decoded)
        arrays = measured.finish()
        types = {"time_s": np.float64, "hash": np.uint64, "damaged": np.bool_}
        write_span(
            work,
            source.id,
            span,
            num_spans(source, self.config.shots),
            {name: np.asarray(arrays[name], types.get(name, np.float32)) for name in PER_FRAME},
            sorted(kept),
            reader.warnings,
        )


@dataclass
class _Waiting:
    """A frame that was measured, until it is known whether a shot begins with it."""

    picture: Any
    """The decoder's frame; None where no clip can want it at full size."""
    place: int
    begins: bool
    """Whether it is the source's first."""
    rank: int
    values: dict[str, float]


class _Measured:
    """Takes the reader's frames, gives the arrays of those in the span."""

    def __init__(self, config: CurationConfig, source: Source, keeper: Keeper) -> None:
        self.threshold = config.motion.threshold
        self.cuts = CutFinder(config.shots, source.fps)
        self.sampler = Sampler(source)
        self.keeper = keeper
        self.arrays: dict[str, list[float]] = {name: [] for name in PER_FRAME}
        self.waiting: deque[_Waiting] = deque()
        self.luma: np.ndarray | None = None
        self.previous_s = -math.inf
        self.unsound = False
        self.whole = num_spans(source, config.shots) == 1

    def add(self, decoded: Decoded) -> None:
        luma, chroma = self.sampler.planes(decoded.frame)
        grey = full_luma(luma)
        mean, spread = _brightness(grey)
        in_span = decoded.place == 0
        rank = self.keeper.grids.rank(decoded.time_s, self.previous_s) if in_span else self.keeper.grids.count
        wanted = rank < self.keeper.grids.count
        values = {
            "time_s": decoded.time_s,
            "motion": moving_share(self.luma, grey, self.threshold) if self.luma is not None and in_span else 0.0,
            "hash": perceptual_hash(grey) if in_span else 0,
            "luma_mean": mean,
            "luma_std": spread,
            "damaged": decoded.damaged,
        }
        begins = self.previous_s == -math.inf and in_span
        self.waiting.append(_Waiting(decoded.frame if wanted else None, decoded.place, begins, rank, values))
        self.luma, self.previous_s = grey, decoded.time_s
        strength = self.cuts.push(luma, chroma)
        if strength is not None:
            self._decided(strength)

    def finish(self) -> dict[str, list[float]]:
        """PER_FRAME -> a number for each frame of the span."""
        import numpy as np

        for strength in self.cuts.finish():
            self._decided(strength)
        if self.whole and self.arrays["time_s"]:
            self.keeper.end(end_s(np.asarray(self.arrays["time_s"])))
        self.keeper.finish()
        return self.arrays

    def _decided(self, strength: float) -> None:
        frame = self.waiting.popleft()
        if frame.place:
            return
        position = len(self.arrays["cut"])
        for name, value in {**frame.values, "cut": strength}.items():
            self.arrays[name].append(value)
        time_s = frame.values["time_s"]
        sound = not frame.values["damaged"] and not is_black(frame.values["luma_mean"], frame.values["luma_std"])
        if strength > 0 or not sound:
            self.keeper.end(time_s)
        if sound and (strength > 0 or frame.begins or self.unsound):
            self.keeper.begin(time_s)
        if sound and frame.picture is not None:
            self.keeper.add(position, time_s, frame.rank, frame.picture)
        self.unsound = not sound


def perceptual_hash(grey: np.ndarray) -> int:
    """A grey picture (H, W) uint8 -> 64 bits: the signs of its lowest frequencies against their median.

    Re-encoding and rescaling change few bits. A flat picture's bits are noise.
    """
    import cv2
    import numpy as np

    small = cv2.resize(grey, (_HASHED_PX, _HASHED_PX), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(small)[:8, :8].reshape(-1)
    bits = low > np.sort(low[1:])[31]  # their median; the first says how bright the picture is
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def _brightness(grey: np.ndarray) -> tuple[float, float]:
    import cv2

    mean, spread = cv2.meanStdDev(grey)
    return float(mean[0, 0]), float(spread[0, 0])


def _jpeg(frame: Any, rotation_deg: int) -> bytes:
    import cv2

    picture = full_picture(frame, rotation_deg, "bgr24")
    done, content = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    assert done
    return content.tobytes()

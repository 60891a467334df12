"""Which frames are kept at full size: a few a shot, chosen on the way, when its end is not yet known. Next: `clips.py`.

Frames are candidates on nested grids of absolute time, each twice as fine as the one before. A shot uses the coarsest
grid that has enough frames in it, so candidates thin out as a shot goes on, no more than a few are in memory, and
a shot that is scanned in two spans ends up with the same frames as one scanned whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from videosyn.curation.config import ShotsConfig

if TYPE_CHECKING:
    import numpy as np


ROUNDING_S = 1e-6
"""Times are compared with this tolerance."""


@dataclass(frozen=True)
class Grids:
    """The nested grids of a config. A frame's rank is the coarsest grid it stands on: 0, 1, ...; `count`: on none."""

    wanted: int
    """Frames a clip."""
    coarsest_s: float
    """The coarsest grid has that many frames in every half of a clip of the greatest length."""
    count: int

    @classmethod
    def of(cls, config: ShotsConfig) -> Grids:
        coarsest_s = config.max_seconds / (2 * config.frames_per_clip)
        finest_s = config.min_seconds / config.frames_per_clip
        return cls(config.frames_per_clip, coarsest_s, 1 + max(0, math.ceil(math.log2(coarsest_s / finest_s))))

    def rank(self, time_s: float, previous_s: float) -> int:
        """`previous_s`: the time of the frame before; -inf for a source's first, which stands on all grids."""
        if previous_s == -math.inf:
            return 0
        for rank in range(self.count):
            step_s = self.coarsest_s / 2**rank
            if math.floor(time_s / step_s) > math.floor(previous_s / step_s):
                return rank
        return self.count

    def coarse_enough(self, ranks: Sequence[int]) -> int:
        """The coarsest grid with enough of these frames on it; the finest where none has."""
        for rank in range(self.count - 1):
            if sum(each <= rank for each in ranks) >= 2 * self.wanted:  # twice, so that some lie where they should
                return rank
        return self.count - 1


def pick(times_s: Sequence[float], wanted: int, start_s: float, end_s: float) -> list[int]:
    """Positions in `times_s` of at most `wanted` frames, spread evenly over the span, in order."""
    left = list(range(len(times_s)))
    chosen: list[int] = []
    for number in range(min(wanted, len(left))):
        middle_s = start_s + (number + 0.5) / wanted * (end_s - start_s)
        nearest = min(left, key=lambda position: abs(times_s[position] - middle_s))
        left.remove(nearest)
        chosen.append(nearest)
    return sorted(chosen)


class Keeper:
    """Takes a span's frames in order and calls `keep(position, frame)` for those that clips may want."""

    def __init__(self, config: ShotsConfig, keep: Callable[[int, Any], None]) -> None:
        self.grids = Grids.of(config)
        self.config = config
        self._keep = keep
        self._held: list[tuple[int, float, int, Any]] = []
        """(position, time_s, rank, frame) on the present grid."""
        self._grid = self.grids.count - 1
        self._start_s: float | None = None
        """When the present shot began; None: in an earlier span."""

    def begin(self, time_s: float) -> None:
        """A shot begins at `time_s`."""
        self._start_s = time_s

    def end(self, time_s: float) -> None:
        """The present shot, if there is one, ends at `time_s`."""
        held, self._held, self._grid = self._held, [], self.grids.count - 1
        start_s, self._start_s = self._start_s, None
        if start_s is not None:
            duration_s = time_s - start_s
            if duration_s < self.config.min_seconds - ROUNDING_S:
                return
            if duration_s <= self.config.max_seconds:
                times_s = [each[1] for each in held]
                held = [held[index] for index in pick(times_s, self.grids.wanted, start_s, time_s)]
        self._write(held)

    def add(self, position: int, time_s: float, rank: int, frame: Any) -> None:
        """`position`: in the span."""
        if rank > self._grid:
            return
        self._held.append((position, time_s, rank, frame))
        self._grid = min(self._grid, self.grids.coarse_enough([each[2] for each in self._held]))
        self._held = [each for each in self._held if each[2] <= self._grid]
        if self._grid == 0 and time_s - self._held[0][1] > self.config.max_seconds:
            self._write(self._held[:1])  # the shot will be divided: all that is on the coarsest grid may be wanted
            del self._held[0]

    def finish(self) -> None:
        """The span ends, the shot may go on: all that is held may be wanted."""
        self._write(self._held)

    def _write(self, held: Sequence[tuple[int, float, int, Any]]) -> None:
        for position, _, _, frame in held:
            self._keep(position, frame)


def wanted_frames(times_s: np.ndarray, start: int, end: int, config: ShotsConfig) -> list[int]:
    """Indices of the frames of the shot [start, end) that its clips may have, however the source was divided.

    `times_s` (N + 1,): of the whole source, and when its last frame ends.
    """
    grids = Grids.of(config)
    end_s = float(times_s[end])
    ranks = [
        grids.rank(float(times_s[index]), float(times_s[index - 1]) if index else -math.inf)
        for index in range(start, end)
    ]
    grid = grids.coarse_enough(ranks)
    indices = [start + offset for offset, rank in enumerate(ranks) if rank <= grid]
    start_s = float(times_s[start])
    if end_s - start_s <= config.max_seconds:
        chosen = pick([float(times_s[index]) for index in indices], grids.wanted, start_s, end_s)
        indices = [indices[position] for position in chosen]
    return indices

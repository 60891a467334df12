"""How two or three things stand to each other, from their paths. Next: `judge.py`."""

from __future__ import annotations

from collections.abc import Sequence

from videosyn.evaluation.judge.motion import Path

STACKED = 0.30
"""Distance across, in halves of the shorter side, within which one thing is above another."""
DEEPER = 0.15
"""Difference of the feet's rows from which one thing stands behind another; the world's is 0.3."""


def relate(motions: Sequence[str | None], paths: Sequence[Path]) -> tuple[str | None, tuple[int, ...]]:
    """The relation in the direction that `Parsed` keeps, and the order of the things in it: indices into `paths`."""
    count = len(paths)
    if count == 3:
        return "row", tuple(sorted(range(3), key=lambda index: _mean(paths[index].x)))
    if count != 2:
        return None, tuple(range(count))
    movers = [index for index in range(2) if motions[index] in ("left", "right")]
    if len(movers) == 2:
        return "collides with", (0, 1)
    if len(movers) == 1:
        return "passes behind", (movers[0], 1 - movers[0])
    across = _mean(paths[0].x) - _mean(paths[1].x)
    feet = [_low(path.foot) for path in paths]
    upper = 0 if feet[0] > feet[1] else 1
    lower = 1 - upper
    head = feet[lower] + _mean(paths[lower].height)
    if abs(across) < STACKED and feet[upper] > head - 0.35 * _mean(paths[lower].height):
        return "above", (upper, lower)
    if abs(feet[0] - feet[1]) > DEEPER:
        return "in front of", (lower, upper)
    return "left of", (0, 1) if across < 0 else (1, 0)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _low(values: Sequence[float]) -> float:
    """The lower quartile: where a foot is when it is on the ground, whatever one frame says."""
    return sorted(values)[len(values) // 4]

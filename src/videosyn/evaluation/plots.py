"""Pictures for evaluation pages, as SVG text: lines, dots with whiskers, columns. Colours are the page's.

Next: `document.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from videosyn.curation.charts import number

_WIDTH, _HEIGHT = 420, 244
_LEFT, _RIGHT, _BOTTOM, _TOP = 48, 12, 38, 14
_HEAD = 28
"""Room above an upright axis, for what it counts."""
_ROW = 22
_LONGEST = 29
"""Letters of a row's name."""
NO_FIGURE = '<p class="none">There is no figure to draw.</p>'


def lines(series: Mapping[str, Sequence[tuple[float, float]]], x_label: str, y_label: str) -> str:
    """Name -> points (x, y), each series a line with dots; points that are not finite are left out."""
    kept = {name: [(x, y) for x, y in points if math.isfinite(y)] for name, points in series.items()}
    kept = {name: points for name, points in kept.items() if points}
    if not kept:
        return NO_FIGURE
    every = [point for points in kept.values() for point in points]
    across = _Scale([x for x, _ in every], _LEFT, _WIDTH - _RIGHT)
    up = _Scale([y for _, y in every], _HEIGHT - _BOTTOM, _HEAD)
    parts = [_frame(across, up, x_label, y_label)]
    for place, (name, points) in enumerate(kept.items()):
        path = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in sorted(points))
        parts.append(f'<polyline class="s{place % 6}" points="{path}"/>')
        parts += [
            f'<circle class="s{place % 6}" cx="{across(x):.1f}" cy="{up(y):.1f}" r="3"><title>'
            f"{escape(name)}: {number(x)}, {number(y)}</title></circle>"
            for x, y in points
        ]
    return _svg(_HEIGHT, parts) + (key_of(list(kept)) if len(kept) > 1 else "")


def whiskers(points: Mapping[str, tuple[float, float, float]], unit: str, mark: float | None = None) -> str:
    """Name -> (value, low, high): a dot a row on one axis, with its interval; `mark` is drawn as a line."""
    kept = {name: point for name, point in points.items() if math.isfinite(point[0])}
    if not kept:
        return NO_FIGURE
    left = min(200, 14 + 6.4 * max(len(_short(name)) for name in kept))
    ends = [value for point in kept.values() for value in point if math.isfinite(value)]
    across = _Scale(ends if mark is None else [*ends, mark], left, _WIDTH - _RIGHT)
    floor = _TOP + _ROW * len(kept)
    parts = [
        f'<line class="grid" x1="{across(tick):.1f}" x2="{across(tick):.1f}" y1="{_TOP}" y2="{floor}"/>'
        f'<text x="{across(tick):.1f}" y="{floor + 14}">{number(tick)}</text>'
        for tick in across.ticks
    ]
    parts.append(f'<text x="{(left + _WIDTH) / 2:.1f}" y="{floor + 30}">{escape(unit)}</text>')
    if mark is not None:
        parts.append(f'<line class="mark" x1="{across(mark):.1f}" x2="{across(mark):.1f}" y1="{_TOP}" y2="{floor}"/>')
    for row, (name, (value, low, high)) in enumerate(kept.items()):
        y = _TOP + _ROW * (row + 0.5)
        parts.append(f'<text class="left" x="{left - 8:.1f}" y="{y + 4:.1f}">{escape(_short(name))}</text>')
        if math.isfinite(low) and math.isfinite(high):
            parts.append(f'<line class="reach" x1="{across(low):.1f}" x2="{across(high):.1f}" y1="{y}" y2="{y}"/>')
        said = f"{name}: {number(value)} ({number(low)} to {number(high)})"
        parts.append(
            f'<circle class="s0" cx="{across(value):.1f}" cy="{y}" r="4"><title>{escape(said)}</title></circle>'
        )
    return _svg(floor + 38, parts)


def _short(name: str) -> str:
    """The end of a long name, such as a path's."""
    return name if len(name) <= _LONGEST else f"…{name[1 - _LONGEST :]}"


def columns(values: Sequence[float], unit: str, bins: int = 16) -> str:
    """A histogram."""
    kept = [value for value in values if math.isfinite(value)]
    if not kept:
        return NO_FIGURE
    across = _Scale(kept, _LEFT, _WIDTH - _RIGHT)
    width = (across.high - across.low) / bins
    counts = [0] * bins
    for value in kept:
        counts[min(bins - 1, int((value - across.low) / width))] += 1
    up = _Scale([0, max(counts)], _HEIGHT - _BOTTOM, _HEAD)
    parts = [_frame(across, up, unit, "clips")]
    for place, count in enumerate(counts):
        if count:
            left, right = across(across.low + place * width), across(across.low + (place + 1) * width)
            span = f"{number(across.low + place * width)} to {number(across.low + (place + 1) * width)}: {count}"
            parts.append(
                f'<rect class="kept" x="{left + 0.7:.1f}" y="{up(count):.1f}" width="{right - left - 1.4:.1f}"'
                f' height="{up(0) - up(count):.1f}"><title>{span}</title></rect>'
            )
    return _svg(_HEIGHT, parts)


def key_of(names: Sequence[str]) -> str:
    """Which colour is which series."""
    cells = "".join(f'<i class="k{place % 6}"></i> {escape(name)}' for place, name in enumerate(names))
    return f'<p class="key">{cells}</p>'


class _Scale:
    """Values to places in the picture, with round ticks that hold all of them."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        low, high = min(values), max(values)
        if high == low:
            low, high = low - (abs(low) or 1.0) / 10, high + (abs(high) or 1.0) / 10
        step = _round((high - low) / 4)
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        self.ticks = [place * step for place in range(first, last + 1)]
        self.low, self.high = self.ticks[0], self.ticks[-1]
        self._start, self._end = start, end

    def __call__(self, value: float) -> float:
        return self._start + (value - self.low) / (self.high - self.low) * (self._end - self._start)


def _round(least: float) -> float:
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= least * (1 - 1e-9))


def _frame(across: _Scale, up: _Scale, x_label: str, y_label: str) -> str:
    parts = []
    for tick in up.ticks:
        y = up(tick)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="left" x="{_LEFT - 6}" y="{y + 4:.1f}">{number(tick)}</text>')
    parts += [
        f'<text x="{across(tick):.1f}" y="{_HEIGHT - _BOTTOM + 15}">{number(tick)}</text>' for tick in across.ticks
    ]
    parts.append(f'<text x="{(_LEFT + _WIDTH) / 2:.1f}" y="{_HEIGHT - 5}">{escape(x_label)}</text>')
    parts.append(f'<text class="first" x="2" y="10">{escape(y_label)}</text>')
    return "".join(parts)


def _svg(height: float, parts: Sequence[str]) -> str:
    return f'<svg class="chart" viewBox="0 0 {_WIDTH} {height:.0f}" role="img">{"".join(parts)}</svg>'

"""Small pictures for the report, as SVG text: histograms, bars, a word cloud. Colours are the page's CSS variables.

Next: `report.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise

_WIDTH, _HEIGHT = 360, 190
_LEFT, _BOTTOM, _TOP = 40, 34, 18
_MAX_BINS = 24
_LETTER_WIDTH = 0.66
"""Of a bold letter, as part of its height."""


def histogram(kept: Sequence[float], rejected: Sequence[float], unit: str, mark: float | None = None) -> str:
    """Kept values stand on the axis, rejected ones on top of them. `mark` is a threshold, drawn as a line.

    The last bar also holds what lies beyond it where single values lie far out; its label then ends in "+".
    """
    values = sorted([*kept, *rejected])
    if not values:
        return '<p class="none">No clip has this figure.</p>'
    edges, is_open = _edges(values)
    counts = [_count(each, edges) for each in (kept, rejected)]
    tallest = max(map(sum, zip(*counts)))
    across = (_WIDTH - _LEFT - 8) / (len(edges) - 1)
    up = (_HEIGHT - _TOP - _BOTTOM) / tallest
    floor = _HEIGHT - _BOTTOM
    parts = [_grid(tallest, up)]
    for place, (low, high) in enumerate(pairwise(edges)):
        below = 0.0
        span = f"{number(low)} to {number(high)}{'+' if is_open and high == edges[-1] else ''} {unit}".strip()
        for style, count in zip(("kept", "gone"), (each[place] for each in counts)):
            height = count * up
            if count:
                parts.append(
                    f'<rect class="{style}" x="{_LEFT + place * across + 0.75:.2f}" y="{floor - below - height:.2f}"'
                    f' width="{across - 1.5:.2f}" height="{height:.2f}"><title>{span}: {count:,} '
                    f"{'kept' if style == 'kept' else 'rejected'}</title></rect>"
                )
            below += height
    every = math.ceil((len(edges) - 1) / 6)
    for place in range(0, len(edges), every):
        last = "+" if is_open and place == len(edges) - 1 else ""
        parts.append(_text(_LEFT + place * across, floor + 14, number(edges[place]) + last))
    parts.append(_text((_LEFT + _WIDTH) / 2, _HEIGHT - 4, unit))
    if mark is not None and edges[0] <= mark <= edges[-1]:
        x = _LEFT + (mark - edges[0]) / (edges[-1] - edges[0]) * across * (len(edges) - 1)
        parts.append(
            f'<line class="mark" x1="{x:.2f}" x2="{x:.2f}" y1="{_TOP}" y2="{floor}"/>'
            f'<text class="marked" x="{x + 4:.2f}" y="{_TOP - 4}">{number(mark)}</text>'
        )
    return _svg(_WIDTH, _HEIGHT, parts)


def bars(shares: Mapping[str, tuple[float, str]]) -> str:
    """Lying bars: name -> (share of the full width, 0 to 1, and the text at its end). HTML, so that text wraps."""
    rows = (
        f'<div class="bar"><span class="name">{escape(name)}</span><span class="track"><span style="width:'
        f'{100 * share:.2f}%"></span></span><span class="value">{escape(text)}</span></div>'
        for name, (share, text) in shares.items()
    )
    return f'<div class="bars">{"".join(rows)}</div>'


def word_cloud(counts: Mapping[str, int], width: int = 640, height: int = 320) -> str:
    """The words of `counts`, the most frequent first and largest, each on the first free place of a spiral.

    A word's height grows with the square root of its count. Words that find no room are left out.
    """
    if not counts:
        return '<p class="none">There are no captions.</p>'
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    heights = {word: 0.3 + 0.7 * math.sqrt(count / ordered[0][1]) for word, count in ordered}
    area = sum(_LETTER_WIDTH * len(word) * high**2 for word, high in heights.items())
    largest = min(46.0, math.sqrt(0.6 * width * height / area))
    taken: list[tuple[float, float, float, float]] = []
    parts = []
    for rank, (word, count) in enumerate(ordered):
        size = max(9.0, largest * heights[word])
        place = _free_place(_LETTER_WIDTH * size * len(word) + 4, 0.95 * size, taken, width, height)
        if place is None:
            continue
        taken.append(place)
        left, top, right, bottom = place
        parts.append(
            f'<text class="w{rank % 4}" x="{(left + right) / 2:.1f}" y="{bottom - 0.22 * (bottom - top):.1f}"'
            f' font-size="{size:.1f}">{escape(word)}<title>{escape(word)}: {count:,}</title></text>'
        )
    return _svg(width, height, parts, "cloud")


def number(value: float) -> str:
    """Few digits: 0.002, 4.5, 1,200."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _free_place(
    wide: float, high: float, taken: Sequence[tuple[float, float, float, float]], width: int, height: int
) -> tuple[float, float, float, float] | None:
    """(left, top, right, bottom) of a box that touches none of those taken."""
    for step in range(4000):  # steps of equal area: neighbours on the spiral are about 4 units apart
        turn, reach = 2.4 * step, height / 2 * math.sqrt(step / 4000)
        x = width / 2 + reach * math.cos(turn) * (width / height) - wide / 2
        y = height / 2 + reach * math.sin(turn) - high / 2
        box = (x, y, x + wide, y + high)
        inside = x >= 2 and y >= 2 and box[2] <= width - 2 and box[3] <= height - 2
        if inside and not any(_overlap(box, other) for other in taken):
            return box
    return None


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _edges(values: Sequence[float]) -> tuple[list[float], bool]:
    """Round borders of equal bins over sorted values; whether the last bin is open: single values lie far beyond."""
    low, high = values[0], values[-1]
    usual = values[min(len(values) - 1, math.ceil(0.98 * len(values)))]
    is_open = usual < high and high - low > 2 * (usual - low) > 0
    top = usual if is_open else high
    if low >= 0 and low < 0.5 * top:
        low = 0.0
    step = _round_step((top - low) / _MAX_BINS) if top > low else max(abs(top), 1.0) / 10
    first = math.floor(low / step + 1e-9)
    last = max(math.ceil(top / step - 1e-9), first + 1)
    if top >= last * step * (1 - 1e-12) and not is_open:
        last += 1  # a bin does not hold its upper border
    return [place * step for place in range(first, last + 1)], is_open


def _round_step(least: float) -> float:
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= least * (1 - 1e-9))


def _count(values: Sequence[float], edges: Sequence[float]) -> list[int]:
    counts = [0] * (len(edges) - 1)
    step = edges[1] - edges[0]
    for value in values:
        counts[min(max(math.floor((value - edges[0]) / step + 1e-9), 0), len(counts) - 1)] += 1
    return counts


def _grid(tallest: int, up: float) -> str:
    step = max(1, round(_round_step(tallest / 4)))
    lines = []
    for count in range(0, tallest + 1, step):
        y = _HEIGHT - _BOTTOM - count * up
        lines.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - 8}" y1="{y:.2f}" y2="{y:.2f}"/>')
        lines.append(f'<text class="left" x="{_LEFT - 6}" y="{y + 4:.2f}">{count:,}</text>')
    return "".join(lines)


def _text(x: float, y: float, text: str) -> str:
    return f'<text x="{x:.2f}" y="{y:.2f}">{escape(text)}</text>'


def _svg(width: int, height: int, parts: Sequence[str], style: str = "chart") -> str:
    return f'<svg class="{style}" viewBox="0 0 {width} {height}" role="img">{"".join(parts)}</svg>'

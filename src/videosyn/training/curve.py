"""The loss over the steps as a picture, drawn with Pillow. Used by `record.py`."""

from __future__ import annotations

import json
import math
from pathlib import Path

from PIL import Image, ImageDraw

from videosyn.core.files import atomic_file

_SIZE, _MARGIN = (960, 540), (70, 30, 20, 40)  # left, top, right, bottom
_GREY, _COLOURS = (150, 150, 150), ((31, 91, 180), (200, 80, 40))


def write_curve(metrics: Path, path: Path) -> None:
    """Draws the mean loss of each line of `metrics` and, where there is one, the validation loss, on a log scale."""
    train, held_out = _points(metrics, "loss"), _points(metrics, "val/loss")
    positive = [value for _, value in (*train, *held_out) if value > 0 and math.isfinite(value)]
    if not positive:
        return
    picture = Image.new("RGB", _SIZE, "white")
    draw = ImageDraw.Draw(picture)
    left, top, right, bottom = _MARGIN[0], _MARGIN[1], _SIZE[0] - _MARGIN[2], _SIZE[1] - _MARGIN[3]
    low, high = math.log(min(positive)) - 0.02, math.log(max(positive)) + 0.02
    steps = [step for step, _ in (*train, *held_out)]
    first, last = min(steps), max(max(steps), min(steps) + 1)

    def place(step: float, value: float) -> tuple[float, float]:
        across = (step - first) / (last - first)
        up = (math.log(value) - low) / (high - low)
        return left + across * (right - left), bottom - up * (bottom - top)

    for part in range(6):
        value = math.exp(low + (high - low) * part / 5)
        y = place(first, value)[1]
        draw.line([(left, y), (right, y)], fill=(228, 228, 228))
        draw.text((6, y - 6), f"{value:.4g}", fill=_GREY)
        step = first + (last - first) * part / 5
        draw.text((place(step, value)[0] - 14, bottom + 8), f"{step:.0f}", fill=_GREY)
    for points, colour in zip((train, held_out), _COLOURS):
        line = [place(step, value) for step, value in points if value > 0 and math.isfinite(value)]
        if len(line) > 1:
            draw.line(line, fill=colour, width=2)
        for x, y in line if len(line) < 40 else ():
            draw.ellipse((x - 2, y - 2, x + 2, y + 2), fill=colour)
    draw.text((left, 8), "loss", fill=_COLOURS[0])
    if held_out:
        draw.text((left + 40, 8), "held-out loss", fill=_COLOURS[1])
    draw.text((right - 30, bottom + 22), "steps", fill=_GREY)
    with atomic_file(path) as hidden:
        picture.save(hidden)


def _points(metrics: Path, name: str) -> list[tuple[int, float]]:
    points = []
    for line in metrics.read_text(encoding="utf-8").splitlines():
        try:
            values = json.loads(line)
        except ValueError:  # a line that a kill cut short
            continue
        if name in values:
            points.append((int(values["step"]), float(values[name])))
    return points

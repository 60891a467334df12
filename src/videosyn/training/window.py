"""Means over the steps since the last line of the log. Next: `loop.py`."""

from __future__ import annotations

import math
from collections.abc import Mapping


class Window:
    """Adds up figures and times; a figure that is not a number in a step (nothing to measure) is not counted there."""

    def __init__(self) -> None:
        self.steps = self._samples = 0
        self._figures: dict[str, list[float]] = {}
        self._total_s = self._wait_s = self._optimizer_s = self._scale = 0.0

    def add(
        self,
        figures: Mapping[str, float],
        samples: int,
        total_s: float,
        wait_s: float,
        optimizer_s: float,
        scale: float,
    ) -> None:
        self.steps += 1
        self._samples += samples
        self._total_s += total_s
        self._wait_s += wait_s
        self._optimizer_s += optimizer_s
        self._scale = scale
        for name, value in figures.items():
            if not math.isnan(value):
                self._figures.setdefault(name, []).append(float(value))

    def summary(self) -> dict[str, float]:
        means = {name: round(sum(values) / len(values), 6) for name, values in self._figures.items()}
        return {
            **means,
            "samples_per_s": round(self._samples / self._total_s, 3),
            "step_s": round(self._total_s / self.steps, 4),
            "wait_share": round(self._wait_s / self._total_s, 4),
            "optimizer_share": round(self._optimizer_s / self._total_s, 4),
            "lr_scale": round(self._scale, 5),
        }

"""Figures that take any number of values in constant memory: mean, spread, interval, a sample for a plot.

Next: `document.py`, which shows them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from random import Random

SAMPLE = 512
"""Values kept for a histogram: a uniform sample of all (Vitter 1985, algorithm R)."""


@dataclass
class Running:
    """Welford's mean and variance (1962), smallest and largest; nan values are counted apart and change nothing."""

    count: int = 0
    mean: float = 0.0
    low: float = math.inf
    high: float = -math.inf
    num_nan: int = 0
    sample: list[float] = field(default_factory=list)
    _weight: float = 0.0
    _squares: float = 0.0
    _random: Random = field(default_factory=lambda: Random(0))

    def add(self, value: float, weight: float = 1.0) -> None:
        """weight: of the value in the mean, such as the number of frames that it was taken of (West 1979)."""
        if math.isnan(value):
            self.num_nan += 1
            return
        self.count += 1
        gap = value - self.mean
        self._weight += weight
        self.mean += gap * weight / self._weight
        self._squares += weight * gap * (value - self.mean)
        self.low, self.high = min(self.low, value), max(self.high, value)
        if len(self.sample) < SAMPLE:
            self.sample.append(value)
        else:
            place = self._random.randrange(self.count)
            if place < SAMPLE:
                self.sample[place] = value

    @property
    def value(self) -> float:
        """The mean; nan where there was nothing to take it of."""
        return self.mean if self.count else math.nan

    @property
    def std(self) -> float:
        """Of a sample (divided by n - 1); nan below two values."""
        if self.count < 2:
            return math.nan
        return math.sqrt(self._squares / self._weight * self.count / (self.count - 1))

    @property
    def half_width(self) -> float:
        """Of the mean's 95 % interval by Student's t; nan below two values."""
        return t_quantile(self.count - 1) * self.std / math.sqrt(self.count) if self.count > 1 else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """The mean's 95 % interval."""
        return self.value - self.half_width, self.value + self.half_width

    def to_dict(self) -> dict:
        low, high = self.interval
        return {"mean": self.value, "low": low, "high": high, "std": self.std, "count": self.count}


def t_quantile(freedom: int) -> float:
    """Student's t at 97.5 %, to 0.3 % or better (Cornish and Fisher's expansion; the first three are exact)."""
    exact = {1: 12.7062, 2: 4.30265, 3: 3.18245}
    if freedom in exact:
        return exact[freedom]
    z, n = 1.959964, freedom
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + sum(term / n ** (power + 1) for power, term in enumerate(terms))

"""Whether two series of figures, pair by pair, differ: mean difference, interval, sign-flip test. Next: `run.py`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from random import Random

from videosyn.evaluation.running import Running

EXACT_UP_TO = 14
"""Pairs up to which all sign flips are tried; beyond it, FLIPS random ones."""
FLIPS = 10_000


@dataclass(frozen=True)
class Difference:
    """B less A, over pairs in which both have the figure."""

    mean_a: float
    mean_b: float
    mean: float
    low: float
    high: float
    p: float
    """Two-sided, of the sign-flip test (Fisher 1935): how often chance alone gives such a mean difference."""
    num_pairs: int
    num_b_higher: int
    num_a_higher: int

    def to_dict(self) -> dict:
        return dict(vars(self))


def difference(a: Sequence[float], b: Sequence[float]) -> Difference:
    """Pairs with a nan are left out."""
    pairs = [(x, y) for x, y in zip(a, b, strict=True) if not (math.isnan(x) or math.isnan(y))]
    gaps, of_a, of_b = Running(), Running(), Running()
    for x, y in pairs:
        gaps.add(y - x)
        of_a.add(x)
        of_b.add(y)
    low, high = gaps.interval
    return Difference(
        of_a.value,
        of_b.value,
        gaps.value,
        low,
        high,
        sign_flip_p([y - x for x, y in pairs]),
        len(pairs),
        sum(y > x for x, y in pairs),
        sum(x > y for x, y in pairs),
    )


def sign_flip_p(gaps: Sequence[float]) -> float:
    """How often differences whose signs chance has chosen have a mean as far from 0 as these; nan for none."""
    if not gaps:
        return math.nan
    seen = abs(sum(gaps)) * (1 - 1e-12)
    if len(gaps) <= EXACT_UP_TO:
        sums = [0.0]
        for gap in gaps:
            sums = [one + sign * gap for one in sums for sign in (-1, 1)]
        return sum(abs(each) >= seen for each in sums) / len(sums)
    rng = Random(0)
    hits = 0
    for _ in range(FLIPS):
        signs = rng.getrandbits(len(gaps))
        hits += abs(sum(gap if signs >> place & 1 else -gap for place, gap in enumerate(gaps))) >= seen
    return (hits + 1) / (FLIPS + 1)


def binomial_p(wins: int, trials: int) -> float:
    """How often fair coins land as unevenly: the exact two-sided test of one half; 1 for no trial."""
    few = min(wins, trials - wins)
    return min(1.0, 2 * sum(comb(trials, count) for count in range(few + 1)) / 2**trials)

"""Scores of all sources in one place, normalised, and grouped into the paper's Table 4. Torch-free."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from videosyn.evaluation.vbench.dimensions import BY_FLOW, DIMENSIONS, GROUPS, normalised

PAPER = {
    "ModelScope (paper)": (0.702, 0.955, 0.641, 0.337, 0.659),
    "OpenSora V1.1 (paper)": (0.716, 0.941, 0.599, 0.520, 0.694),
    "xGen-VideoSyn-1 (paper)": (0.714, 0.947, 0.655, 0.523, 0.709),
}
"""Consistency, Temporal, Aesthetic, Spatial, Avg. They are means of scores as they are, not of normalised ones:
ModelScope's row follows so from the scores that VBench publishes for it.
"""
AVERAGE = "Avg"


@dataclass(frozen=True)
class Score:
    """A dimension's score and where it comes from; `value` None: nobody computed it, and `source` says why."""

    value: float | None
    source: str
    num_films: int = 0

    @property
    def is_there(self) -> bool:
        return self.value is not None and math.isfinite(self.value)


def grouped(scores: Mapping[str, Score], normalise: bool = False) -> dict[str, float]:
    """The paper's groups and their average; nan for a group that lacks a dimension, and for an average without a group.

    Only VBench's own dimensions count: figures by classical flow have other names and enter nothing.
    """
    found = {}
    for group, names in GROUPS.items():
        values = [_value(name, scores.get(name), normalise) for name in names]
        found[group] = sum(values) / len(values)
    found[AVERAGE] = sum(found.values()) / len(GROUPS)
    return found


def lacking(scores: Mapping[str, Score]) -> dict[str, list[str]]:
    """Group -> the dimensions that keep it from having a figure."""
    found = {}
    for group, names in GROUPS.items():
        absent = [name for name in names if name not in scores or not scores[name].is_there]
        if absent:
            found[group] = absent
    return found


def order_of(name: str) -> int:
    """VBench's order, a figure by flow beside the dimension that it stands for."""
    places = {each: 2 * place for place, each in enumerate(DIMENSIONS)}
    return places.get(name, next((places[whole] + 1 for whole, by_flow in BY_FLOW.items() if by_flow == name), 99))


def _value(name: str, score: Score | None, normalise: bool) -> float:
    if score is None or score.value is None:
        return math.nan
    return normalised(name, score.value) if normalise else score.value

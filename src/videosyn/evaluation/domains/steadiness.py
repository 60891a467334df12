"""One film of the world, measured: what was asked, whether it is steady, whether things stay. Next: `run.py`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from videosyn.evaluation.comparison import adherence
from videosyn.evaluation.judge.judge import Evidence, describe, examine
from videosyn.evaluation.vbench.classical_flow import motion_smoothness
from videosyn.evaluation.vbench.flicker import flickering
from videosyn.world.parsed import Parsed

HIDING = "passes behind"
"""The relation in which a thing is rightly out of sight for a while."""


@dataclass(frozen=True)
class Steadiness:
    """Figures of one film, each 0 to 1; nan where there is none."""

    verdict: dict[str, bool]
    """Attribute that is asked -> whether it is shown."""
    permanence: float
    """Mean over the things seen of the share of key frames in which they are found again; nan where none is seen."""
    flickering: float
    """VBench's temporal flickering: 1 still."""
    smoothness: float
    """VBench's rule of motion smoothness, by classical flow."""

    @property
    def shown(self) -> float:
        """Share of what is asked that is shown."""
        return sum(self.verdict.values()) / len(self.verdict)

    @property
    def figures(self) -> dict[str, float]:
        return {
            "adherence": self.shown,
            "all shown": float(all(self.verdict.values())),
            "permanence": self.permanence,
            "flickering": self.flickering,
            "smoothness": self.smoothness,
        }


def measure(film: np.ndarray, asked: Parsed) -> Steadiness:
    """uint8 film (T, H, W, 3), and what its prompt names."""
    evidence = examine(film)
    seen = Parsed() if evidence is None else describe(evidence)
    stays = float("nan") if evidence is None or asked.relation == HIDING else permanence(evidence)
    frames = list(film)
    return Steadiness(adherence(asked, seen), stays, flickering(frames), motion_smoothness(frames))


def permanence(evidence: Evidence) -> float:
    """Of the things that a film shows somewhere, the mean share of key frames that show them."""
    shares = [sum(found is not None for found in track.found) / len(track.found) for track in evidence.tracks]
    return float(np.mean(shares)) if shares else float("nan")

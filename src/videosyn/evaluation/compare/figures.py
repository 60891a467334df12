"""What is measured of one film, by one name a figure. Next: `paired.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from videosyn.curation.photometric import photometric_score
from videosyn.evaluation.comparison import adherence
from videosyn.evaluation.judge.judge import judge
from videosyn.evaluation.vbench.classical_flow import dynamic_degree, motion_smoothness
from videosyn.evaluation.vbench.flicker import flickering
from videosyn.world.parsed import Parsed

if TYPE_CHECKING:
    from videosyn.evaluation.vbench.weighted import Clip

DIGITS = {"photometric": 2, "seconds": 2, "temporal_flickering": 4, "motion_smoothness_flow": 4}
LOOKS = 3
"""Frames of a film whose photometric score counts."""


class Figures:
    """Figures that need nothing, and CLIP's where its weights are named."""

    def __init__(self, clip: str = "", device: str = "auto") -> None:
        self._clip: Clip | None = None
        if clip:
            from videosyn.evaluation.vbench.weighted import Clip

            self._clip = Clip(clip, device)

    def of(self, frames: np.ndarray, fps: float, prompt: str, truth: Parsed | None) -> dict[str, float]:
        """uint8 (T, H, W, 3). `truth`: what the prompt names, where the world's judge can see it.

        adherence: share of the named attributes that the film shows; all_shown: 1 where it shows every one.
        """
        found: dict[str, float] = {}
        if truth is not None:
            verdict = adherence(truth, judge(frames))
            found["adherence"] = sum(verdict.values()) / len(verdict)
            found["all_shown"] = float(all(verdict.values()))
        film = list(frames)
        found["temporal_flickering"] = flickering(film)
        found["motion_smoothness_flow"] = motion_smoothness(film)
        found["dynamic_degree_flow"] = dynamic_degree(film, fps) if len(film) > 1 else float("nan")
        places = np.linspace(0, len(film) - 1, LOOKS).round().astype(int)
        found["photometric"] = float(np.mean([photometric_score(Image.fromarray(film[place])) for place in places]))
        if self._clip is not None:
            found["clip_text"] = self._clip.appearance_style(film, prompt)
            found["background_consistency"] = self._clip.background_consistency(film)
        return found

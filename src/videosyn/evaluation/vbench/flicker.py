"""Temporal flickering, to VBench's definition: 1 less the mean absolute change from frame to frame, of 255 levels.

VBench has its static films chosen by optical flow first where 25 are made of a prompt; here all films count.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np

from videosyn.evaluation.footage import frames_of

MATRIX = "ITU601"
"""By which the vbench package reads colours: its OpenCV, a version 4, heeds no other that a film names."""


def flickering_of(path: Path) -> float:
    """Of a film, read as the vbench package reads it."""
    return flickering(frames_of(path, MATRIX))


def flickering(frames: Iterable[np.ndarray]) -> float:
    """uint8 frames (H, W, 3) in order -> 1 for a film that stands still, less the more pixels change; nan for one."""
    changes = [float(np.abs(one.astype(np.int16) - other).mean()) for one, other in pairwise(frames)]
    return 1.0 - sum(changes) / len(changes) / 255.0 if changes else float("nan")

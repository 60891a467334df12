"""Temporal flickering, to VBench's definition: 1 less the mean absolute change from frame to frame, of 255 levels.

VBench has its static films chosen by optical flow first where 25 are made of a prompt; here all films count.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np


def flickering(frames: Iterable[np.ndarray]) -> float:
    """uint8 frames (H, W, 3) in order -> 1 for a film that stands still, less the more pixels change; nan for one."""
    changes = [float(np.abs(one.astype(np.int16) - other).mean()) for one, other in pairwise(frames)]
    return 1.0 - sum(changes) / len(changes) / 255.0 if changes else float("nan")

"""VBench's dynamic degree and motion smoothness with classical optical flow (DIS, Kroeger et al. 2016) where VBench has
networks (RAFT, AMT). The rules are VBench's, the figures are not, and bear a name of their own: `..._flow`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from videosyn.core.errors import UserError

SAMPLED_FPS = 8
"""Frames a second at which dynamic degree looks."""
LARGEST = 0.05
"""Share of the pixels that move most, whose mean counts."""
THRESHOLD_PX = 6.0 / 256
"""Mean movement from which a step counts as one, in pixels a pixel of the shorter side."""
STEPS_OF_16 = 4
"""How many such steps of 16 frames make a film dynamic."""


def dynamic_degree(frames: Sequence[np.ndarray], fps: float) -> float:
    """uint8 frames (H, W, 3) -> 1 for a film in which much moves, else 0."""
    frames = frames[:: max(1, round(fps / SAMPLED_FPS))]
    flow, grey = _dis(), [_grey(frame) for frame in frames]
    least = THRESHOLD_PX * min(frames[0].shape[:2])
    steps = sum(_largest(flow.calc(one, other, None)) > least for one, other in pairwise(grey))
    needed = round(STEPS_OF_16 * len(frames) / 16)
    return float(steps >= max(1, needed))


def motion_smoothness(frames: Sequence[np.ndarray]) -> float:
    """uint8 frames (H, W, 3) -> 1 where every second frame is what lies half-way between its neighbours; nan below 3.

    As VBench: frames with an odd number are left out, interpolated from the others, and compared.
    """
    flow, errors = _dis(), []
    for place in range(1, len(frames) - 1, 2):
        before, middle, after = frames[place - 1 : place + 2]
        errors.append(float(np.abs(_halfway(flow, before, after) - middle.astype(np.float32)).mean()))
    return 1.0 - sum(errors) / len(errors) / 255.0 if errors else float("nan")


def _halfway(flow: Any, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """(H, W, 3) float32: both frames warped half of the way by their flow to the other, and their mean."""
    import cv2

    height, width = before.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    warped = []
    for one, other in ((before, after), (after, before)):
        back = flow.calc(_grey(other), _grey(one), None) / 2  # from the other to this one: where its pixels came from
        maps = (x + back[..., 0], y + back[..., 1])
        warped.append(cv2.remap(one.astype(np.float32), *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
    return (warped[0] + warped[1]) / 2


def _largest(flow: np.ndarray) -> float:
    lengths = np.linalg.norm(flow, axis=-1).ravel()
    count = max(1, int(len(lengths) * LARGEST))
    return float(np.partition(lengths, -count)[-count:].mean())


def _grey(frame: np.ndarray) -> np.ndarray:
    import cv2

    return cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)


def _dis() -> Any:
    """OpenCV's DIS flow: `calc(grey, grey, None)` gives (H, W, 2) float32, x and y in pixels."""
    opencv: Any
    try:
        import cv2 as opencv
    except ImportError as error:
        raise UserError("optical flow needs OpenCV: pip install 'videosyn[evaluate]'") from error
    return opencv.DISOpticalFlow_create(opencv.DISOPTICAL_FLOW_PRESET_MEDIUM)

"""Still or panning, from how far the whole picture moves. Next: `bank.py`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from videosyn.evaluation.judge.picture import even
from videosyn.world.layout import FOCAL, PAN

CAP = 0.05
"""Differences above this, on the even scale, count as this: what covers most of the picture decides."""
STRIDE = 2
"""Columns are compared at every second pixel."""


def find_camera(frames: Tensor, progress: Sequence[float], across: float) -> str:
    """ "still", "pan left" or "pan right" for key frames (K, 3, H, W), without brush strokes, at these points of the
    clip.

    Pairs of key frames half a clip and a whole clip apart are laid over one another, shifted by nothing or by what a
    pan shifts in that time (a turn of the camera, so columns move in azimuth); the shift whose pixels agree best
    wins. Differences are capped, so that a thing that moves through a standing picture counts no more than its area.
    """
    count = len(frames)
    if count < 2:
        return "still"
    small = even(F.avg_pool2d(frames, STRIDE))  # (K, 3, h, w)
    middle = count // 2
    costs = {}
    for name, pan in (("still", 0.0), ("pan left", -PAN), ("pan right", PAN)):
        turns = [math.atan(pan * (at - 0.5) / FOCAL) for at in progress]
        pairs = ((0, middle), (middle, count - 1), (0, count - 1))
        costs[name] = sum(_disagreement(small[a], small[b], turns[b] - turns[a], across) for a, b in pairs if a != b)
    return min(costs, key=costs.__getitem__)


def _disagreement(before: Tensor, after: Tensor, turn: float, across: float) -> float:
    """Mean capped difference between `after` (3, h, w) and `before` seen by a camera turned by `turn` radians."""
    width = after.shape[2]
    columns = ((torch.arange(width) + 0.5) / width * 2.0 - 1.0) * across
    source = torch.tan(torch.atan(columns / FOCAL) + turn) * FOCAL / across  # where `before` had it, -1 to 1
    seen = source.abs() < 1.0 - 1.0 / width
    grid = torch.stack(torch.broadcast_tensors(source[None], _rows(after.shape[1])[:, None]), dim=-1)
    moved = F.grid_sample(before[None], grid[None], align_corners=False, padding_mode="border")[0]
    gap = (moved - after).abs().mean(0)[:, seen].clamp_max(CAP)
    return float(gap.mean())


def _rows(height: int) -> Tensor:
    return (torch.arange(height) + 0.5) / height * 2.0 - 1.0

"""Which of a clip's frames to read: those that show most strokes where the others show none. Next: `overlaid_text.py`.

Reading is dear, looking for strokes is not: a subtitle that stands for two seconds of a long clip is in one or two of
its kept frames, and those should be among the few that are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

LOOK_PX = 480
"""Longer side at which strokes are looked for, about."""
_STROKE_LEVELS = 40
"""How much brighter or darker than both sides a stroke is, of 255."""
_TILE = (8, 24)
"""Rows and columns of the tiles in which strokes are counted: about a line of small text."""


def stroke_tiles(grey: np.ndarray) -> np.ndarray:
    """A grey picture (H, W) uint8 -> the share of each tile that is thin upright strokes, (H // 8, W // 24) float32.

    A stroke is a pixel that stands out, bright or dark, from those two to its left and two to its right.
    """
    import numpy as np

    rows, columns = grey.shape[0] // _TILE[0], grey.shape[1] // _TILE[1]
    if not rows or not columns:
        return np.zeros((1, 1), np.float32)
    levels = grey.astype(np.int16)
    strokes = np.zeros(grey.shape, bool)
    middle, left, right = levels[:, 2:-2], levels[:, :-4], levels[:, 4:]
    strokes[:, 2:-2] = np.abs(2 * middle - left - right) > 2 * _STROKE_LEVELS
    strokes[:, 2:-2] &= (middle - left) * (middle - right) > 0
    tiles = strokes[: rows * _TILE[0], : columns * _TILE[1]].reshape(rows, _TILE[0], columns, _TILE[1])
    return tiles.mean(axis=(1, 3), dtype=np.float32)


def most_telling(pictures: Sequence[np.ndarray], count: int) -> list[int]:
    """Positions of at most `count` grey pictures (H, W) uint8 of one clip: the middle one, then whichever adds most.

    What a picture adds is the line of three tiles that has most more strokes than in any picture chosen before.
    """
    import numpy as np

    if len(pictures) <= count:
        return list(range(len(pictures)))
    tiles = np.stack([stroke_tiles(picture) for picture in pictures])  # (N, rows, columns)
    chosen = [len(pictures) // 2]
    while len(chosen) < count:
        added = (tiles - tiles[chosen].max(axis=0)).clip(min=0)
        padded = np.pad(added, ((0, 0), (0, 0), (1, 1)))
        lines = (padded[:, :, :-2] + padded[:, :, 1:-1] + padded[:, :, 2:]).max(axis=(1, 2))
        lines[chosen] = -1
        chosen.append(int(lines.argmax()))
    return sorted(chosen)

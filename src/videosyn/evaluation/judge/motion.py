"""What a thing does, from its places and its looks through the key frames. Next: `relation.py`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from videosyn.evaluation.judge.detection import Frame
from videosyn.evaluation.judge.gallery import Gallery
from videosyn.evaluation.judge.matching import crop
from videosyn.evaluation.judge.tracks import Track
from videosyn.world.layout import FOCAL, View

GROWTH = 0.40
"""Change of size, as a logarithm, from which a thing grows or shrinks; the world's is 0.87."""
SIDEWAYS = 0.22
"""Way across the frame, in halves of the shorter side, from which a thing moves; the world's is 0.3 at least."""
UPWARDS = 0.14
"""Way up or down from which a thing rises or falls."""
BOUNCE = 0.14
"""Height above both ends from which a thing bounces."""
SHIFTS = (-0.06, -0.03, 0.0, 0.03, 0.06)
"""Small shifts that do not count as a change of looks, as shares of a thing's side."""
SPIN = 0.015
"""Mean change of a thing's own looks, on the even scale, from which it spins."""


@dataclass(frozen=True)
class Path:
    """Where a thing stands, corrected for the camera's turn: lists over the key frames that show it."""

    x: list[float]
    """Middle, in halves of the shorter side."""
    foot: list[float]
    """Row of its base, up, in halves of the shorter side."""
    size: list[float]
    """Longer side, in pixels."""
    height: list[float]
    """Height in halves of the shorter side."""


def path_of(track: Track, turns: Sequence[float], view: View) -> Path:
    """The path of a track under a camera that turns so."""
    path = Path([], [], [], [])
    for frame, found in track.seen:
        left, top, right, bottom = found.bounds
        screen = (left + right) / 2 * view.pixel - view.across
        path.x.append(FOCAL * math.tan(math.atan(screen / FOCAL) + turns[frame]))
        path.foot.append(view.up - bottom * view.pixel)
        path.size.append(found.box[2])
        path.height.append((bottom - top) * view.pixel)
    return path


def motion_of(track: Track, path: Path, frames: Sequence[Frame], gallery: Gallery) -> str | None:
    """One of the world's motions; None for what was seen less than twice."""
    if len(path.x) < 2:
        return None
    growth = math.log(path.size[-1] / path.size[0])
    if abs(growth) > GROWTH:
        return "grows" if growth > 0 else "shrinks"
    away = max(path.x, key=lambda x: abs(x - path.x[0])) - path.x[0]
    if abs(away) > SIDEWAYS:
        return "right" if away > 0 else "left"
    rise = path.foot[-1] - path.foot[0]
    if max(path.foot) - max(path.foot[0], path.foot[-1]) > BOUNCE:
        return "bounces"
    if abs(rise) > UPWARDS:
        return "up" if rise > 0 else "down"
    return "spins" if change_of_looks(track, frames, gallery) > SPIN else "rests"


def change_of_looks(track: Track, frames: Sequence[Frame], gallery: Gallery) -> float:
    """How much a thing's looks change from one key frame to the next: the mean over its pixels, at the best of small shifts.

    The shifts keep a box that lies a little off from counting as a change.
    """
    seen = track.seen
    changes = []
    for (earlier, a), (later, b) in zip(seen, seen[1:], strict=False):
        inside = gallery.alpha[a.entry] > 0.8
        before = track.crops[earlier]
        assert before is not None
        x, y, side = b.box
        boxes = [
            (x + dx * side, y + dy * side, side * scale) for dx in SHIFTS for dy in SHIFTS for scale in (0.96, 1.0, 1.04)
        ]
        after = crop(frames[later].picture, torch.tensor(boxes))  # (n, 3, SIDE, SIDE)
        change = (after - before).abs().mean(1).flatten(1)[:, inside].mean(1)
        changes.append(float(change.min()))
    return sum(changes) / len(changes) if changes else 0.0

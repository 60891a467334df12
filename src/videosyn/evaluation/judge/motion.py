"""What a thing does, from its places and its looks through the key frames. Next: `relation.py`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from videosyn.evaluation.judge.detection import Frame, around
from videosyn.evaluation.judge.gallery import LIFTS, PERIOD, TURNS, Gallery
from videosyn.evaluation.judge.matching import evidence, gains
from videosyn.evaluation.judge.tracks import Track
from videosyn.world.layout import FOCAL, View
from videosyn.world.solids import COLOUR_VALUES
from videosyn.world.vocabulary import KINDS

GROWTH = 0.40
"""Change of size, as a logarithm, from which a thing grows or shrinks; the world's is 0.87."""
SIDEWAYS = 0.22
"""Way across the frame, in halves of the shorter side, from which a thing moves; the world's is 0.3 at least."""
UPWARDS = 0.14
"""Way up or down from which a thing rises or falls."""
BOUNCE = 0.14
"""Height above both ends from which a thing bounces."""
PACE = math.pi / 8
"""Turn from one frame of the clip to the next of a thing that spins, radians: the world's, at 8 frames a second."""


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


def motion_of(
    track: Track, path: Path, frames: Sequence[Frame], numbers: Sequence[int], gallery: Gallery
) -> str | None:
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
    return "spins" if spins(track, frames, numbers, gallery) > 0.0 else "rests"


def spins(track: Track, frames: Sequence[Frame], numbers: Sequence[int], gallery: Gallery) -> float:
    """How much better a steady spin explains the key frames, which are these `numbers` in the clip, than standing
    still.

    Above 0 for a thing that spins; as a share of what the better one explains.
    """
    kind, colour = list(KINDS).index(track.kind), list(COLOUR_VALUES).index(track.colour)
    same = (gallery.kind == kind) & (gallery.colour == colour) & ~gallery.walking
    entries = same.nonzero()[:, 0]  # (sides x lifts,), side by side
    sides = TURNS // PERIOD.get(track.kind, 1)
    scores = []
    for frame, found in track.seen:
        view = frames[frame].open_view()
        planes = evidence(frames[frame].picture, frames[frame].empty, view, view)
        score = gains(planes, around(torch.tensor([found.box]), 0.04), gallery, entries).amax(0)  # (2 sides,)
        scores.append(score.view(sides, len(LIFTS)).amax(1))
    explained = torch.stack(scores)  # (K, sides)
    still = float(explained.sum(0).max())
    steps = torch.tensor([round(numbers[frame] * PACE / (2 * math.pi) * TURNS) for frame, _ in track.seen])
    start = torch.arange(sides)
    turning = max(
        float(explained.gather(1, (start[None, :] + sign * steps[:, None]) % sides).sum(0).max()) for sign in (-1, 1)
    )
    return (turning - still) / max(turning, still, 1e-6)

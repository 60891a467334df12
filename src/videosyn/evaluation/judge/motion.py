"""What a thing does, from its places and its looks through the key frames. Next: `relation.py`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch

from videosyn.evaluation.judge.detection import Frame, around, cover_of
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
LEAST_WHOLE = 4
"""Key frames that show all of a thing from which the others, where the frame cuts it, are not needed."""
CHANGE = 0.012
"""Mean change of pixels, on the even scale, from which a standing thing turns."""
DOUBT = 0.06
"""Advantage of a spin over standing still, or the reverse, that needs no look at the pixels' change."""
STANDING_PX = 4.0
"""Change of place, at the working size, up to which a thing stands still on screen."""
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
    whole = [(frame, found) for frame, found in track.seen if found.bounds[0] >= 0 and found.bounds[2] <= view.width]
    for frame, found in whole if len(whole) >= LEAST_WHOLE else track.seen:
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
    return "spins" if _turns(track, frames, numbers, gallery) else "rests"


def _turns(track: Track, frames: Sequence[Frame], numbers: Sequence[int], gallery: Gallery) -> bool:
    """Whether a thing that stays where it is turns: a spin fits better, or its pixels change where they could rest."""
    better = spins(track, frames, numbers, gallery)
    (_, start), *_, (_, end) = track.seen
    if max(abs(a - b) for a, b in zip(start.box, end.box, strict=True)) > STANDING_PX:
        return better > 0.0  # the camera pans
    return better > -DOUBT and (better > DOUBT or change(track, frames, gallery) > CHANGE)


def change(track: Track, frames: Sequence[Frame], gallery: Gallery) -> float:
    """Mean change of a standing thing's pixels, even scale, from one key frame to the next."""
    seen = track.seen
    first, found = seen[0]
    cover = cover_of(found, gallery, frames[first].gap.shape)
    changes = [
        float(((frames[b].picture - frames[a].picture).abs().mean(0) * cover).sum() / cover.sum())
        for (a, _), (b, _) in pairwise(seen)
    ]
    return sum(changes) / len(changes)


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
        score = gains(planes, around(torch.tensor([found.box]), 0.04), gallery.features(entries)).amax(0)  # (2 sides,)
        scores.append(score.view(sides, len(LIFTS)).amax(1))
    explained = torch.stack(scores)  # (K, sides)
    still = float(explained.sum(0).max())
    steps = torch.tensor([round(numbers[frame] * PACE / (2 * math.pi) * TURNS) for frame, _ in track.seen])
    start = torch.arange(sides)
    turning = max(
        float(explained.gather(1, (start[None, :] + sign * steps[:, None]) % sides).sum(0).max()) for sign in (-1, 1)
    )
    return (turning - still) / max(turning, still, 1e-6)

"""The same things from frame to frame: who they are, by all frames together, and where they are in each. Next:
`motion.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, permutations

import torch
import torch.nn.functional as F
from torch import Tensor

from videosyn.evaluation.judge.detection import Box, Found, Frame, cover_of, detect, grown, known_thing
from videosyn.evaluation.judge.gallery import Gallery
from videosyn.evaluation.judge.matching import evidence
from videosyn.world.solids import COLOUR_VALUES
from videosyn.world.vocabulary import KINDS

SMALLEST_SIDE_PX = 13.5
"""Longer side at the working size that a thing has beside another; the world's smallest has 16."""
GROUND_BEGINS_PX = 12.0
"""How far below the horizon a thing's foot must be for it to stand; the farthest stands 28 below."""
REACH = ((0.0, 0.0), (-0.2, 0.0), (0.2, 0.0), (0.0, -0.2), (0.0, 0.2), (0.0, -0.4), (0.0, 0.4))
"""Where a thing is looked for around its last place, as shares of its side."""
ALIKE = 0.012
"""Largest mean change over a patch of 6 pixels, on the even scale, in which nothing has moved."""


@dataclass(frozen=True)
class Track:
    """A thing through the key frames."""

    kind: str
    colour: str
    found: tuple[Found | None, ...]
    """Where it is in each key frame; None where it is not to be seen."""

    @property
    def seen(self) -> list[tuple[int, Found]]:
        """Key frames that show it."""
        return [(frame, found) for frame, found in enumerate(self.found) if found is not None]


def telling_frames(count: int) -> list[int]:
    """The key frames in which things are identified: the first, the middle and the last."""
    return sorted({0, count // 2, count - 1})


def identify(
    frames: Sequence[Frame], gallery: Gallery, first: list[Found], horizon_row: float
) -> list[tuple[str, str, dict[int, Found]]]:
    """Kind, colour and places, by telling frame, of each thing: all telling frames vote with what they would explain.

    `first`: what was found in the first frame. `horizon_row`: in pixels from the top.
    """
    at = telling_frames(len(frames))
    detected = {0: first}
    for frame in at[1:]:
        like = [other for other in detected if alike(frames[other], frames[frame])]
        detected[frame] = detected[like[0]] if like else detect(frames[frame], gallery)
    detected = {frame: _plausible(found, horizon_row) for frame, found in detected.items()}
    number = _agreed([len(found) for found in detected.values()])
    if number == 0:
        return []
    full = [frame for frame in at if len(detected[frame]) >= number]
    reference = max(full, key=lambda frame: sum(found.gain for found in detected[frame][:number]))
    groups = [{reference: found} for found in detected[reference][:number]]
    for frame in at:
        if frame != reference:
            _join(groups, frame, detected[frame])
    out = []
    for group in groups:
        table = torch.stack([bounded(found) for found in group.values()]).sum(0)
        kind, colour = divmod(int(table.argmax()), len(COLOUR_VALUES))
        out.append((list(KINDS)[kind], list(COLOUR_VALUES)[colour], group))
    return out


def alike(one: Frame, other: Frame) -> bool:
    """Whether two frames show the same everywhere, but for noise."""
    change = (one.picture - other.picture).abs().mean(0, keepdim=True)
    return float(F.avg_pool2d(change[None], 6, 3).max()) < ALIKE


def bounded(found: Found) -> Tensor:
    """The table of a thing, no pair worse than the best is good: pairs that were not compared count as such."""
    return found.table.clamp_min(-found.gain)


def _plausible(found: list[Found], horizon_row: float) -> list[Found]:
    """Without what no scene of several things shows: one too small, or in the sky with nothing below it."""
    if len(found) < 2:
        return found

    def stands(thing: Found) -> bool:
        x, _, side = thing.box
        below = [other for other in found if other is not thing and other.bounds[3] > thing.bounds[3] + side / 2]
        on_ground = thing.bounds[3] > horizon_row + GROUND_BEGINS_PX
        return on_ground or any(abs(other.box[0] - x) < other.box[2] for other in below)

    return [thing for thing in found if thing.box[2] > SMALLEST_SIDE_PX and stands(thing)] or found[:1]


def _agreed(counts: list[int]) -> int:
    """The number of things that most frames show; when all differ, the middle one. At most three."""
    number, votes = Counter(counts).most_common(1)[0]
    return min(3, number if votes > 1 else sorted(counts)[len(counts) // 2])


def _join(groups: list[dict[int, Found]], frame: int, found: list[Found]) -> None:
    """Add the things of a frame to the groups, so that each group stays of one kind and colour as far as can be."""
    sums = [torch.stack([bounded(each) for each in group.values()]).sum(0) for group in groups]
    best: tuple[float, tuple[int | None, ...]] = (-1.0, ())
    choices = [*range(len(found)), *[None] * max(0, len(groups) - len(found))]
    for order in set(permutations(choices, len(groups))):
        total = sum(
            float((table + bounded(found[index])).max())
            for table, index in zip(sums, order, strict=True)
            if index is not None
        )
        if total > best[0]:
            best = (total, order)
    for group, index in zip(groups, best[1], strict=False):
        if index is not None:
            group[frame] = found[index]


def follow(frames: Sequence[Frame], things: list[tuple[str, str, dict[int, Found]]], gallery: Gallery) -> list[Track]:
    """Each thing's place in every key frame, from its place in the first and the patches of each frame.

    Nearer things are placed first, as they cover others; or those that explain most, if together more is explained so.
    """
    by_foot = sorted(range(len(things)), key=lambda index: -max(found.bounds[3] for found in things[index][2].values()))
    by_gain = sorted(range(len(things)), key=lambda index: -max(found.gain for found in things[index][2].values()))
    mistakable = len({colour for _, colour, _ in things}) < len(things) or _overlap(things)
    entries = [_entries_of(kind, colour, gallery) for kind, colour, _ in things]
    places: list[list[Found | None]] = [[] for _ in things]
    for number, frame in enumerate(frames):
        if number and alike(frames[number - 1], frame):
            for place in places:
                place.append(place[-1])
            continue
        proposals = [_proposals(frame, number, things[index][2], places[index]) for index in range(len(things))]
        tries = [
            _placed(frame, order, proposals, entries, gallery)
            for order in ([by_foot] if by_foot == by_gain or not mistakable else [by_foot, by_gain])
        ]
        best = max(tries, key=lambda placed: sum(found.gain for found in placed if found is not None))
        for index, found in enumerate(best):
            places[index].append(found)
    return [Track(kind, colour, tuple(places[index])) for index, (kind, colour, _) in enumerate(things)]


def _overlap(things: list[tuple[str, str, dict[int, Found]]]) -> bool:
    """Whether any two things' boxes overlap in a frame in which both were identified."""
    for (_, _, one), (_, _, other) in combinations(things, 2):
        for frame in one.keys() & other.keys():
            a, b = one[frame].bounds, other[frame].bounds
            if min(a[2], b[2]) > max(a[0], b[0]) and min(a[3], b[3]) > max(a[1], b[1]):
                return True
    return False


def _placed(
    frame: Frame, order: list[int], proposals: list[list[Box]], entries: list[Tensor], gallery: Gallery
) -> list[Found | None]:
    """The place of each thing in a frame, searched in this order from these boxes."""
    placed: list[Found | None] = [None] * len(order)
    left = free = frame.open_view()
    for index in order:
        planes = evidence(frame.picture, frame.empty, left, free)
        thing = known_thing(planes, proposals[index], gallery, entries[index]) if proposals[index] else None
        if thing is None:
            continue
        placed[index] = thing
        cover = cover_of(thing, gallery, left.shape)
        free = free * (1.0 - cover)
        left = left * (1.0 - grown(cover))
    return placed


def _entries_of(kind: str, colour: str, gallery: Gallery) -> Tensor:
    same = (gallery.kind == list(KINDS).index(kind)) & (gallery.colour == list(COLOUR_VALUES).index(colour))
    return same.nonzero()[:, 0]


def _proposals(frame: Frame, number: int, known: dict[int, Found], before: list[Found | None]) -> list[Box]:
    """Where a thing may be in a frame: where it was identified, or else at any patch, and where it was going."""
    if number in known:
        return [known[number].box]
    boxes: list[Box] = []
    for patch in frame.patches[:3]:
        x, y, side = patch.box
        boxes += [(x, y, side), (x, y, side * 0.9)]
    past = [found.box for found in before if found is not None]
    if past:
        x, y, side = past[-1]
        boxes += [(x + dx * side, y + dy * side, side) for dx, dy in REACH]
        if len(past) > 1:
            boxes.append((2 * x - past[-2][0], 2 * y - past[-2][1], side))
    return boxes

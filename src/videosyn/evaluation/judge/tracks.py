"""The same things from frame to frame: who they are, by all frames together, and where they are in each. Next:
`motion.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import torch
from torch import Tensor

from videosyn.evaluation.judge.detection import Box, Found, Frame, best_thing, cover_of, detect, grown
from videosyn.evaluation.judge.gallery import Gallery
from videosyn.evaluation.judge.matching import crop, evidence
from videosyn.world.solids import COLOUR_VALUES
from videosyn.world.vocabulary import KINDS


@dataclass(frozen=True)
class Track:
    """A thing through the key frames."""

    kind: str
    colour: str
    found: tuple[Found | None, ...]
    """Where it is in each key frame; None where it is not to be seen."""
    crops: tuple[Tensor | None, ...]
    """What it looks like there: (3, SIDE, SIDE) on the even scale, its box in the middle."""

    @property
    def seen(self) -> list[tuple[int, Found]]:
        """Key frames that show it."""
        return [(frame, found) for frame, found in enumerate(self.found) if found is not None]


def telling_frames(count: int) -> list[int]:
    """The key frames in which things are identified: the first, the middle and the last."""
    return sorted({0, count // 2, count - 1})


def identify(frames: Sequence[Frame], gallery: Gallery) -> list[tuple[str, str, dict[int, Found]]]:
    """Kind, colour and places, by telling frame, of each thing: all telling frames vote with what they would
    explain.
    """
    at = telling_frames(len(frames))
    detected = {frame: detect(frames[frame], gallery) for frame in at}
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


def bounded(found: Found) -> Tensor:
    """The table of a thing, no pair worse than the best is good: pairs that were not compared count as such."""
    return found.table.clamp_min(-found.gain)


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
    """Each thing's place in every key frame, from its place in the first and the patches of each frame, nearer
    things first.
    """
    order = sorted(range(len(things)), key=lambda index: -max(found.bounds[3] for found in things[index][2].values()))
    entries = [_entries_of(kind, colour, gallery) for kind, colour, _ in things]
    places: list[list[Found | None]] = [[None] * len(frames) for _ in things]
    crops: list[list[Tensor | None]] = [[None] * len(frames) for _ in things]
    for number, frame in enumerate(frames):
        left = free = frame.open_view()
        for index in order:
            proposals = _proposals(frame, number, things[index][2], places[index])
            if not proposals:
                continue
            thing = best_thing(evidence(frame.picture, frame.empty, left, free), proposals, gallery, entries[index])
            if thing is None:
                continue
            places[index][number] = thing
            crops[index][number] = crop(frame.picture, torch.tensor([thing.box]))[0]
            cover = cover_of(thing, gallery, left.shape)
            free = free * (1.0 - cover)
            left = left * (1.0 - grown(cover))
    return [
        Track(kind, colour, tuple(places[index]), tuple(crops[index])) for index, (kind, colour, _) in enumerate(things)
    ]


def _entries_of(kind: str, colour: str, gallery: Gallery) -> Tensor:
    same = (gallery.kind == list(KINDS).index(kind)) & (gallery.colour == list(COLOUR_VALUES).index(colour))
    return same.nonzero()[:, 0]


def _proposals(frame: Frame, number: int, known: dict[int, Found], before: list[Found | None]) -> list[Box]:
    """Where a thing may be in a frame: where it was identified, or else at any patch, and where it was going."""
    if number in known:
        return [known[number].box]
    boxes: list[Box] = []
    for patch in frame.patches[:4]:
        x, y, side = patch.box
        boxes += [(x, y, side), (x, y, side * 0.9), (x, y, side * 1.15)]
    past = [found.box for found in before[:number] if found is not None]
    if past:
        x, y, side = past[-1]
        boxes += [(x + dx * side, y + dy * side, side) for dx in (-0.2, 0.0, 0.2) for dy in (-0.2, 0.0, 0.2)]
        if len(past) > 1:
            boxes.append((2 * x - past[-2][0], 2 * y - past[-2][1], side))
    return boxes

"""Which things a frame shows and where, found one after another by what explains most. Next: `tracks.py`."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from videosyn.evaluation.judge.components import Patch, find_patches
from videosyn.evaluation.judge.gallery import FILL, SIDE, Gallery
from videosyn.evaluation.judge.matching import covered, evidence, gains, gains_and_covered
from videosyn.world.solids import COLOUR_VALUES
from videosyn.world.vocabulary import KINDS

MOST_THINGS = 4
LEAST_GAIN = 2.5
"""What a thing must explain at least, in squared difference times pixels; the faintest things of the world explain
2.
"""
LEAST_OVERLOOKED = 12.0
"""What a thing must explain that no patch hints at."""
WELL_EXPLAINED = 0.06
"""Share of the patches' energy that may lie outside the things found for them to be believed."""
WORTH = 2.0
"""What a thing more must explain to be believed."""
LEAST_ENERGY = 0.1
"""What must be left in a patch, in the same measure, for another thing to be looked for."""
LEAST_SHARE = 0.04
"""A second thing in the same patch must explain this share of what the first does."""
NUM_PROMISING = 16
"""Pairs of kind and colour that are compared closely."""
ROUNDS = ((0.15, 5, 12, False), (0.08, 4, 10, False), (0.04, 3, 8, True), (0.02, 2, 6, True))
"""Round by round, how far a box is moved and scaled to fit better, as a share of its side, how many boxes and how many
kinds and colours are still in, and whether large pictures are compared."""
KNOWN_ROUNDS = (0.10, 0.04)
"""How far, for a thing whose kind and colour are known."""
MOST_FIT = 2.4
"""What explains more than this within its outline explains what is outside."""
LEAST_FIT = 0.6
"""Share of the unexplained in its outline that a thing must explain to count as one."""

Box = tuple[float, float, float]
"""Centre x, centre y and longer side of a thing, pixels."""


@dataclass(frozen=True)
class Found:
    """A thing in one frame."""

    box: Box
    entry: int
    """The best entry of the gallery."""
    gain: float
    fit: float
    """Share it explains of what the empty world leaves within its outline, 1 at most."""
    table: Tensor
    """(kinds, colours): the best gain of any pose in each kind and colour, near the box."""
    bounds: tuple[float, float, float, float]
    """Left, top, right, bottom of the best entry, pixels."""


@dataclass(frozen=True)
class Frame:
    """One key frame, ready for matching."""

    picture: Tensor
    """(3, H, W) on the even scale, without brush strokes."""
    empty: Tensor
    """(3, H, W): the empty world, the same way, with the frame's shadows in part."""
    gap: Tensor
    """(H, W) distance to the empty world where its ground may bear any shadow."""
    patches: tuple[Patch, ...]
    places: list[Box]
    """Where a thing may stand that no patch shows, as it is too much like the ground."""

    def open_view(self) -> Tensor:
        """(H, W) of ones."""
        return torch.ones_like(self.picture[0])


def detect(frame: Frame, gallery: Gallery) -> list[Found]:
    """The things of a frame, strongest first. Patches are taken for things, or for pieces of larger ones, whichever
    explains more; a thing more must be worth it.
    """
    found = _search(frame, gallery, whole=True)
    if _left_over(frame, found, gallery) > WELL_EXPLAINED * _left_over(frame, [], gallery):
        other = _search(frame, gallery, whole=False)
        found = max(found, other, key=lambda things: sum(each.gain - WORTH for each in things))
    return sorted([*found, *_overlooked(frame, found, gallery)], key=lambda thing: -thing.gain)


def _left_over(frame: Frame, found: list[Found], gallery: Gallery) -> float:
    """What of the frame's patches lies outside the things found, as squared difference."""
    left = frame.gap.square()
    for thing in found:
        left = left * (1.0 - grown(cover_of(thing, gallery, left.shape)))
    within = torch.zeros_like(left)
    for patch in frame.patches[:MOST_THINGS]:
        within = torch.maximum(within, _window(patch if patch.wider is None else patch.wider, left))
    return float((left * within).sum())


def _search(frame: Frame, gallery: Gallery, whole: bool) -> list[Found]:
    """The best thing is taken, what it explains is set aside, until little is left."""
    found: list[Found] = []
    left = frame.open_view()
    for patch in frame.patches[:MOST_THINGS]:
        if float((frame.gap.square() * left * _window(patch, left)).sum()) < LEAST_ENERGY:
            continue  # what was found before explains this patch too
        for thing in _in_patch(frame, left, patch, gallery, whole):
            left = left * (1.0 - grown(cover_of(thing, gallery, left.shape)))
            found.append(thing)
    return found


def _overlooked(frame: Frame, found: list[Found], gallery: Gallery) -> list[Found]:
    """White things that no patch hints at, besides those found: grey like a shadow on pale ground."""
    pale = gallery.few[gallery.colour[gallery.few] == list(COLOUR_VALUES).index("white")]
    left = frame.open_view()
    for thing in found:
        left = left * (1.0 - grown(cover_of(thing, gallery, left.shape)))
    more: list[Found] = []
    while len(found) + len(more) < MOST_THINGS:
        planes = evidence(frame.picture, frame.empty, left, frame.open_view())
        thing = best_thing(planes, frame.places, gallery, pale)
        if thing is None or thing.gain < LEAST_OVERLOOKED:
            break
        left = left * (1.0 - grown(cover_of(thing, gallery, left.shape)))
        more.append(thing)
    return more


def _in_patch(frame: Frame, left: Tensor, patch: Patch, gallery: Gallery, whole: bool) -> list[Found]:
    """The one or two things of a patch; `left` (H, W) is 0 where things found before explain what is seen."""
    free = frame.open_view()
    window = _window(patch, left)
    found: list[Found] = []
    queue = [patch]
    while queue and len(found) < 2:
        proposals = _proposals(queue[0], whole, first=not found)
        thing = best_thing(evidence(frame.picture, frame.empty, left, free), proposals, gallery)
        if thing is None or (found and thing.gain < LEAST_SHARE * found[0].gain):
            break
        found.append(thing)
        cover = cover_of(thing, gallery, left.shape)
        free = free * (1.0 - cover)
        left = left * (1.0 - grown(cover))
        queue = find_patches((frame.gap * left * window)[None])[0][:1]
    return _settled(frame, found, gallery) if len(found) == 2 else found


def _window(patch: Patch, like: Tensor) -> Tensor:
    """1 in the box of a patch, 0 elsewhere: (H, W)."""
    window = torch.zeros_like(like)
    window[int(patch.top) : int(patch.bottom), int(patch.left) : int(patch.right)] = 1.0
    return window


def best_thing(planes: Tensor, boxes: list[Box], gallery: Gallery, start: Tensor | None = None) -> Found | None:
    """The thing that explains most, searched from these boxes and, in finer rounds, around the best of them.

    The kinds and colours to begin with are those of the entries `start`, or all.
    """
    tries = torch.tensor(boxes)
    features = gallery.few_features if start is None else gallery.small_features[start]
    start = gallery.few if start is None else start
    score = gains(planes, tries, features)
    entries = _promising(score, gallery, start, NUM_PROMISING)
    features = gallery.small_features[entries]
    score = gains(planes, tries, features)  # (n, C)
    for step, boxes_kept, pairs_kept, large in ROUNDS:
        tries = around(tries[_different(score, gallery, entries, boxes_kept)], step)
        entries = _promising(score, gallery, entries, pairs_kept)
        features = gallery.features(entries) if large else gallery.small_features[entries]
        score = gains(planes, tries, features)
    return _found(planes, tries, score, score, gallery, entries)


def known_thing(planes: Tensor, boxes: list[Box], gallery: Gallery, entries: Tensor) -> Found | None:
    """The place of a thing that is one of these entries, searched in the same way.

    It must not only explain much but leave little unexplained within its outline: it is looked for, not guessed at.
    """

    def score_of(tries: Tensor, large: bool) -> tuple[Tensor, Tensor]:
        features = gallery.features(entries) if large else gallery.small_features[entries]
        alpha = gallery.alpha(entries) if large else gallery.small_alpha[entries]
        gain, open_there = gains_and_covered(planes, tries, features, alpha)
        return 2.0 * gain - open_there, gain

    tries = torch.tensor(boxes)
    score, gain = score_of(tries, large=False)
    for step in KNOWN_ROUNDS:
        tries = around(tries[score.amax(1).argmax()][None], step)
        score, gain = score_of(tries, large=step == KNOWN_ROUNDS[-1])
    return _found(planes, tries, score, gain, gallery, entries)


def _found(
    planes: Tensor, boxes: Tensor, score: Tensor, gain: Tensor, gallery: Gallery, entries: Tensor
) -> Found | None:
    """The best of the scores (n, C) as a thing, if it explains enough."""
    where, best = divmod(int(score.argmax()), score.shape[1])
    entry, box, worth = int(entries[best]), boxes[where], float(gain[where, best])
    fit = worth / max(float(covered(planes, box[None], gallery.alpha(entries[best : best + 1]))), 1e-6)
    if worth < LEAST_GAIN or not LEAST_FIT < fit < MOST_FIT:
        return None
    x, y, side = box.tolist()
    wide, tall = (gallery.size[entry] * side / 2).tolist()
    bounds = (x - wide, y - tall, x + wide, y + tall)
    return Found((x, y, side), entry, worth, fit, _table(gain.amax(0), gallery, entries), bounds)


def _different(score: Tensor, gallery: Gallery, entries: Tensor, count: int) -> Tensor:
    """The boxes in which the best kinds and colours, each a different one, score best: indices of rows of (n, C)."""
    best, row = score.max(0)  # (C,)
    pair = gallery.kind[entries] * len(COLOUR_VALUES) + gallery.colour[entries]
    chosen: dict[int, int] = {}
    for index in best.argsort(descending=True).tolist():
        chosen.setdefault(int(pair[index]), int(row[index]))
        if len(chosen) == count:
            break
    return torch.tensor(sorted(set(chosen.values())))


def cover_of(thing: Found, gallery: Gallery, shape: torch.Size | tuple[int, ...]) -> Tensor:
    """What of a frame (H, W) the thing covers, 0 to 1."""
    x, y, side = thing.box
    span = side / FILL
    height, width = shape
    rows = ((torch.arange(height) + 0.5 - y) / span) * 2.0
    columns = ((torch.arange(width) + 0.5 - x) / span) * 2.0
    grid = torch.stack(torch.broadcast_tensors(columns[None, :], rows[:, None]), -1)
    alpha = gallery.alpha(torch.tensor([thing.entry])).view(1, 1, SIDE, SIDE)
    return F.grid_sample(alpha, grid[None], align_corners=False)[0, 0]


def grown(cover: Tensor) -> Tensor:
    """A cover grown by two pixels, so that a thing's blurred rim is set aside with it."""
    return F.max_pool2d(cover[None], 5, 1, 2)[0]


def _settled(frame: Frame, pair: list[Found], gallery: Gallery) -> list[Found]:
    """Two things that touch, fitted anew: the nearer, whose foot is lower, to the open view, the other to what it
    leaves free.
    """
    near, far = sorted(pair, key=lambda thing: -thing.bounds[3])
    open_view = frame.open_view()
    for _ in range(2):
        behind = grown(cover_of(far, gallery, open_view.shape)) * (1.0 - cover_of(near, gallery, open_view.shape))
        near = _again(near, evidence(frame.picture, frame.empty, 1.0 - behind, open_view), gallery)
        free = 1.0 - cover_of(near, gallery, open_view.shape)
        far = _again(far, evidence(frame.picture, frame.empty, open_view, free), gallery)
    return [near, far]


def _again(thing: Found, planes: Tensor, gallery: Gallery) -> Found:
    return best_thing(planes, _near(thing.box), gallery) or thing


def _promising(score: Tensor, gallery: Gallery, entries: Tensor, count: int) -> Tensor:
    """All entries of the kinds and colours that score best, from scores (n, C): indices into the gallery."""
    table = _table(score.amax(0), gallery, entries)
    kept = torch.zeros(table.numel(), dtype=torch.bool)
    kept[table.flatten().argsort(descending=True)[:count]] = True
    return kept[gallery.kind * len(COLOUR_VALUES) + gallery.colour].nonzero()[:, 0]


def _table(score: Tensor, gallery: Gallery, entries: Tensor) -> Tensor:
    """Best score of each kind and colour (kinds, colours) from scores of entries (C,)."""
    table = torch.full((len(KINDS) * len(COLOUR_VALUES),), -1e9)
    table.scatter_reduce_(0, gallery.kind[entries] * len(COLOUR_VALUES) + gallery.colour[entries], score, "amax")
    return table.view(len(KINDS), len(COLOUR_VALUES))


def around(boxes: Tensor, step: float) -> Tensor:
    """Boxes (n, 3) moved and scaled by a step each way, as a share of their side: (27 n, 3)."""
    offsets = torch.tensor((-1.0, 0.0, 1.0)) * step
    dx, dy, ds = torch.meshgrid(offsets, offsets, offsets, indexing="ij")
    move = torch.stack([dx, dy, ds], -1).view(1, 27, 3)
    return (boxes[:, None] + move * boxes[:, None, 2:3]).reshape(-1, 3)


def _near(box: Box) -> list[Box]:
    x, y, side = box
    return [(x + dx * side, y + dy * side, side) for dx in (-0.15, 0.0, 0.15) for dy in (-0.12, 0.0, 0.12)]


def _proposals(patch: Patch, whole: bool, first: bool) -> list[Box]:
    """Where a thing may be, seen from a patch: all of it, a part of it, as things may touch, or, unless it is `whole`,
    something larger, parts of which are too like the backdrop to show. `first`: nothing was found in the patch before.
    """
    x, y, side = patch.box
    boxes = [(x, y, side * scale) for scale in (1.0, 0.88)]
    shares: tuple[float, ...] = (0.85, 0.7, 0.55) if first else (1.0, 0.8)
    if not whole:
        shares += (1.15, 1.3) if first else (1.3, 1.6)
    for share in shares:
        part = share * side
        for px in (x, patch.left + part / 2, patch.right - part / 2):
            boxes += [(px, patch.top + part / 2, part), (px, patch.bottom - part / 2, part)]
    if patch.wider is not None and not whole:
        boxes += _proposals(patch.wider, whole, first)
        tall = patch.wider.bottom - patch.wider.top
        boxes += [(x, patch.wider.box[1], tall * share) for share in (1.0, 0.88)]
    return boxes

"""Which things a frame shows and where, found one after another by what explains most. Next: `tracks.py`."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from videosyn.evaluation.judge.components import Patch, find_patches
from videosyn.evaluation.judge.gallery import FILL, SIDE, Gallery
from videosyn.evaluation.judge.matching import crop, evidence, gains
from videosyn.world.solids import COLOUR_VALUES
from videosyn.world.vocabulary import KINDS

MOST_THINGS = 4
LEAST_GAIN = 2.5
"""What a thing must explain at least, in squared difference times pixels; the faintest things of the world explain
2.
"""
LEAST_OVERLOOKED = 12.0
"""What a thing must explain that no patch hints at."""
WORTH = 2.0
"""What a thing more must explain to be believed."""
LEAST_ENERGY = 0.1
"""What must be left in a patch, in the same measure, for another thing to be looked for."""
LEAST_SHARE = 0.04
"""A second thing in the same patch must explain this share of what the first does."""
NUM_PROMISING = 14
"""Pairs of kind and colour that are compared closely."""
ROUNDS = ((0.15, 5), (0.08, 3), (0.04, 2), (0.02, 2))
"""How far a box is moved and scaled to fit better, as a share of its side, and how many kinds and colours are still in,
round by round."""
KNOWN_ROUNDS = ((0.10, 1), (0.04, 1))
"""The same for a thing whose kind and colour are known."""
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
    tries = [_search(frame, gallery, whole) for whole in (True, False)]
    found = max(tries, key=lambda found: sum(each.gain - WORTH for each in found))
    return sorted([*found, *_overlooked(frame, found, gallery)], key=lambda thing: -thing.gain)


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
    """Things that no patch hints at, besides those found."""
    left = frame.open_view()
    for thing in found:
        left = left * (1.0 - grown(cover_of(thing, gallery, left.shape)))
    more: list[Found] = []
    while len(found) + len(more) < MOST_THINGS:
        thing = best_thing(evidence(frame.picture, frame.empty, left, frame.open_view()), frame.places, gallery)
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


def best_thing(planes: Tensor, boxes: list[Box], gallery: Gallery, entries: Tensor | None = None) -> Found | None:
    """The thing that explains most, searched from these boxes and, in finer rounds, around the best of them.

    With `entries` the thing is known to be one of these, and must not only explain much but leave little unexplained
    within its outline: it is looked for, not guessed at.
    """
    tries = torch.tensor(boxes)
    known = entries is not None
    if entries is None:
        score = gains(planes, tries, gallery, gallery.coarse)
        entries = _promising(score, gallery, gallery.coarse, NUM_PROMISING)
    score = _score(planes, tries, gallery, entries, known)  # (n, C)
    for step, kept in KNOWN_ROUNDS if known else ROUNDS:
        tries = tries[_different(score, gallery, entries, kept)]
        if not known and step < ROUNDS[0][0]:
            entries = _promising(score, gallery, entries, 2 * kept)
        tries = around(tries, step)
        score = _score(planes, tries, gallery, entries, known)
    where, best = divmod(int(score.argmax()), score.shape[1])
    entry, box = int(entries[best]), tries[where]
    gain = float(gains(planes, box[None], gallery, entries[best : best + 1]))
    fit = gain / max(float(_covered(planes, box[None], gallery, entries[best : best + 1])), 1e-6)
    if gain < LEAST_GAIN or not LEAST_FIT < fit < MOST_FIT:
        return None
    x, y, side = box.tolist()
    wide, tall = (gallery.size[entry] * side / 2).tolist()
    bounds = (x - wide, y - tall, x + wide, y + tall)
    return Found((x, y, side), entry, gain, fit, _table(score.amax(0), gallery, entries), bounds)


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


def _score(planes: Tensor, boxes: Tensor, gallery: Gallery, entries: Tensor, known: bool) -> Tensor:
    gain = gains(planes, boxes, gallery, entries)
    return 2.0 * gain - _covered(planes, boxes, gallery, entries) if known else gain


def _covered(planes: Tensor, boxes: Tensor, gallery: Gallery, entries: Tensor) -> Tensor:
    """What the empty world leaves unexplained within the outline of each entry in each box: (n, C)."""
    inside = crop(planes[10:], boxes).flatten(1) @ gallery.alpha[entries].T
    return inside * (boxes[:, 2:3] / FILL / SIDE).square()


def cover_of(thing: Found, gallery: Gallery, shape: torch.Size | tuple[int, ...]) -> Tensor:
    """What of a frame (H, W) the thing covers, 0 to 1."""
    x, y, side = thing.box
    span = side / FILL
    height, width = shape
    rows = ((torch.arange(height) + 0.5 - y) / span) * 2.0
    columns = ((torch.arange(width) + 0.5 - x) / span) * 2.0
    grid = torch.stack(torch.broadcast_tensors(columns[None, :], rows[:, None]), -1)
    alpha = gallery.alpha[thing.entry].view(1, 1, SIDE, SIDE)
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

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
LEAST_GAIN = 0.5
"""What a thing must explain at least, in squared difference times pixels; the faintest things of the world explain
2.
"""
LEAST_SHARE = 0.04
"""A second thing in the same patch must explain this share of what the first does."""
NUM_PROMISING = 14
"""Pairs of kind and colour that are compared closely."""
STEPS = (0.10, 0.06, 0.03)
"""How far a box is moved and scaled to fit better, as shares of its side, round by round."""
LEAST_FIT = 0.25
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
    table: Tensor
    """(kinds, colours): the best gain of any pose in each kind and colour, near the box."""
    bounds: tuple[float, float, float, float]
    """Left, top, right, bottom of the best entry, pixels."""


@dataclass(frozen=True)
class Frame:
    """One key frame, ready for matching."""

    picture: Tensor
    """(3, H, W) on the even scale, without brush strokes."""
    gap: Tensor
    """(H, W) distance to the empty world."""
    patches: tuple[Patch, ...]


def detect(frame: Frame, gallery: Gallery) -> list[Found]:
    """The things of a frame, strongest first: the best one is taken, what it explains is set aside, until little is
    left.
    """
    found: list[Found] = []
    left = frame.gap
    for patch in frame.patches[:MOST_THINGS]:
        window = torch.zeros_like(left)
        window[int(patch.top) : int(patch.bottom), int(patch.left) : int(patch.right)] = 1.0
        if float((left * window).square().sum()) < LEAST_GAIN:
            continue  # what was found before explains this patch too
        in_patch = _in_patch(frame, left, window, patch, gallery)
        for thing in in_patch:
            left = left * (1.0 - grown(cover_of(thing, gallery, left.shape)))
        found += in_patch
    return sorted(found, key=lambda thing: -thing.gain)


def _in_patch(frame: Frame, gap: Tensor, window: Tensor, patch: Patch, gallery: Gallery) -> list[Found]:
    """The one or two things of a patch, whose box is 1 in `window` (H, W); `gap` is the distance to explain."""
    free = torch.ones_like(gap)
    found: list[Found] = []
    queue = [patch]
    while queue and len(found) < 2:
        proposals = _proposals(queue[0], whole=not found)
        thing = best_thing(evidence(frame.picture, gap, free), proposals, gallery)
        if thing is None or (found and thing.gain < LEAST_SHARE * found[0].gain):
            break
        found.append(thing)
        cover = cover_of(thing, gallery, gap.shape)
        free = free * (1.0 - cover)
        gap = gap * (1.0 - grown(cover))
        queue = find_patches((gap * window)[None])[0][:1]
    return _settled(frame, found, gallery) if len(found) == 2 else found


def best_thing(planes: Tensor, boxes: list[Box], gallery: Gallery, entries: Tensor | None = None) -> Found | None:
    """The thing that explains most, searched from these boxes and, in two finer rounds, around the best of them."""
    coarse = torch.tensor(boxes)
    first = gallery.coarse if entries is None else entries
    score = gains(planes, coarse, gallery, first)  # (n, C)
    if entries is None:
        entries = _promising(score.amax(0), gallery, first)
        score = gains(planes, coarse, gallery, entries)
    tries = coarse[score.amax(1).argsort(descending=True)[: 2 if first is gallery.coarse else 1]]
    for step in STEPS:
        tries = around(tries, step)
        score = gains(planes, tries, gallery, entries)
        if step > STEPS[-1]:
            tries = tries[score.amax(1).argmax()][None]
    flat = score.amax(0)  # (E,)
    where = int(score.amax(1).argmax())
    best = int(score[where].argmax())
    entry = int(entries[best])
    box = tries[where]
    x, y, side = box.tolist()
    inside = crop(planes[5:6], box[None])[0, 0].flatten()
    covered = float((inside * gallery.alpha[entry]).sum()) * (side / FILL / SIDE) ** 2
    gain = float(score[where, best])
    if gain < max(LEAST_GAIN, LEAST_FIT * covered):
        return None
    table = _table(flat, gallery, entries)
    wide, tall = (gallery.size[entry] * side / 2).tolist()
    return Found((x, y, side), entry, gain, table, (x - wide, y - tall, x + wide, y + tall))


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
    open_view = torch.ones_like(frame.gap)
    for _ in range(2):
        gap = frame.gap * (
            1.0 - grown(cover_of(far, gallery, frame.gap.shape)) * (1.0 - cover_of(near, gallery, frame.gap.shape))
        )
        again = best_thing(evidence(frame.picture, gap, open_view), _near(near.box), gallery)
        near = again or near
        free = 1.0 - cover_of(near, gallery, frame.gap.shape)
        again = best_thing(evidence(frame.picture, frame.gap, free), _near(far.box), gallery)
        far = again or far
    return [near, far]


def _promising(score: Tensor, gallery: Gallery, entries: Tensor) -> Tensor:
    """All entries of the kinds and colours whose stand-ins score best: indices into the gallery."""
    table = _table(score, gallery, entries)
    kept = torch.zeros(table.numel(), dtype=torch.bool)
    kept[table.flatten().argsort(descending=True)[:NUM_PROMISING]] = True
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


def _proposals(patch: Patch, whole: bool) -> list[Box]:
    """Where in a patch a thing may be: all of it, or, as things may touch, parts of it."""
    x, y, side = patch.box
    boxes = [(x, y, side * scale) for scale in (1.0, 0.88)]
    for share in (1.15, 1.3) if whole else (1.6, 1.3, 1.0, 0.8):  # parts of it may be too like the backdrop to show
        part = share * side
        for px in (x, patch.left + part / 2, patch.right - part / 2):
            boxes += [(px, patch.top + part / 2, part), (px, patch.bottom - part / 2, part)]
    if whole:
        for share in (0.85, 0.7, 0.55):
            part = share * side
            for px in (patch.left + part / 2, patch.right - part / 2, x):
                boxes += [(px, patch.top + part / 2, part), (px, patch.bottom - part / 2, part)]
    if patch.wider is not None:
        boxes += _proposals(patch.wider, whole)
    return boxes

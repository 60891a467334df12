"""Every kind of thing from many sides, in every colour, as the world itself draws it: what crops are compared with.
Next: `matching.py`.

The rays of a pose are marched once; a light or colour only shades the points that were hit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from videosyn.evaluation.judge.bank import Backdrop
from videosyn.evaluation.judge.picture import BINOMIAL, even, smoothed
from videosyn.world.backdrop import Cast, light_direction, shadows
from videosyn.world.layout import FOCAL, HEIGHT, Camera, Pose, View
from videosyn.world.render import OUTLINE_PX, _box_span, _facts, _Instance, _march, _shade
from videosyn.world.scene import Scene
from videosyn.world.solids import COLOUR_VALUES, SOLIDS
from videosyn.world.styles import cartoon
from videosyn.world.vocabulary import KINDS

SIDE = 24
"""Pixels on a side of a picture of the gallery; the longer side of the thing's box fills FILL of it."""
SMALL_SIDE = 12
"""The same of the small pictures that a search begins with."""
FILL = 0.66
WINDOW = 56
"""Rays on a side of a pose."""
DEPTH, CAMERA_HEIGHT = 6.0, 2.5
LIFTS = (0.0, 1.8)
"""Heights above the ground, in units of the world: seen from above, seen from below."""
TURNS = 16
"""Views in a full turn."""
PERIOD = {"ball": 2, "cone": 2, "cylinder": 2, "ring": 2, "tree": 2, "lighthouse": 2, "cube": 4, "diamond": 4}
"""After what part of a turn a kind looks the same again."""
STRIDES = (0.125, 0.25, 0.75, 0.875)
WALKING_TURNS = (-1.6, -1.2, -0.8, 0.8, 1.2, 1.6)
_VIEW = View(96, 96)
BLOCK = (1 / 3, 1 / 3, 1 / 3)
"""What a block of pixel art does to a thing on average."""


@dataclass(frozen=True)
class View3d:
    """A kind seen from a side: what distinguishes the poses of the gallery."""

    kind: str
    yaw: float
    lift: float
    stride: float


def poses() -> list[View3d]:
    """All poses, kind by kind."""
    out: list[View3d] = []
    for kind in KINDS:
        period = PERIOD.get(kind, 1)
        sides = [(2 * math.pi * turn / TURNS, 0.0) for turn in range(TURNS // period)]
        if kind == "person":
            sides += [(yaw, stride) for yaw in WALKING_TURNS for stride in STRIDES]
        out += [View3d(kind, yaw, lift, stride) for yaw, stride in sides for lift in LIFTS]
    return out


@dataclass(frozen=True)
class _Hits:
    """Where the rays of one kind's poses meet it."""

    poses: tuple[View3d, ...]
    points: tuple[Tensor, Tensor, Tensor]
    """x, y, z of each hit, (R,)."""
    ray: Tensor
    """The hit's place among all rays of the kind, (R,)."""
    alpha: Tensor
    """Coverage without and with cartoon's outline, (2, R)."""


@dataclass(frozen=True)
class Gallery:
    """Pictures of all poses in all colours under one light, large and small. E entries, of P and Q pixels."""

    kind: Tensor
    """(E,) index into KINDS."""
    colour: Tensor
    """(E,) index into COLOUR_VALUES."""
    walking: Tensor
    """(E,) whether the pose is one of a stride."""
    size: Tensor
    """(E, 2) width and height of the thing's box as a fraction of the longer."""
    few: Tensor
    """(C,) a few entries that stand for all: every kind and colour from half of its sides."""
    pictures: Tensor
    """(E, 5, P) half precision: coverage, what the thing adds to each channel, what it leaves of the empty world."""
    small_features: Tensor
    """(E, 9 Q), see `features`."""
    few_features: Tensor
    """(C, 9 Q), those of the few."""
    small_alpha: Tensor
    """(E, Q) coverage."""

    def features(self, entries: Tensor) -> Tensor:
        """(C, 9 P) of these entries, the planes p, m, |p|^2, m p, m^2.

        p is what the thing adds to a pixel, coverage times colour on the even scale; m what it leaves of the empty
        world, by covering and by shadow.
        """
        return _features(self.pictures[entries].float())

    def alpha(self, entries: Tensor) -> Tensor:
        """(C, P) coverage of these entries."""
        return self.pictures[entries, 0].float()


def _features(pictures: Tensor) -> Tensor:
    added, bare = pictures[:, 1:4], pictures[:, 4:5]
    return torch.cat([added, bare, added.square().sum(1, keepdim=True), bare * added, bare.square()], 1).flatten(1)


def _instance(pose: View3d, backdrop: Backdrop, colour: str) -> _Instance:
    scene: Scene = replace(backdrop.scene, style=backdrop.style)
    camera = Camera(0.0, 0.0, CAMERA_HEIGHT)
    return _Instance(scene, pose.kind, colour, Pose(0.0, pose.lift, DEPTH, 1.0, pose.yaw, pose.stride), camera, (0,), 0)


@lru_cache(maxsize=1)
def _hits() -> dict[str, _Hits]:
    """March every pose of every kind, once."""
    anywhere = Backdrop("studio", "noon", "cartoon", 0.32, 0.6, 0.0)
    out: dict[str, _Hits] = {}
    for kind in KINDS:
        chosen = tuple(pose for pose in poses() if pose.kind == kind)
        facts = torch.tensor([_facts(_instance(pose, anywhere, "red")) for pose in chosen])  # (n, 21)
        fact = facts.repeat_interleave(WINDOW * WINDOW, 0).T
        offset = (torch.arange(WINDOW) + 0.5 - WINDOW / 2) * _VIEW.pixel
        sx = offset.repeat(len(chosen) * WINDOW)
        lift = torch.tensor([pose.lift for pose in chosen])
        centre = (lift + 0.5 * HEIGHT[kind] - CAMERA_HEIGHT) * FOCAL / DEPTH  # (n,)
        sy = (centre[:, None, None] - offset[None, :, None]).expand(-1, WINDOW, WINDOW).reshape(-1)
        norm = (sx * sx + sy * sy + FOCAL * FOCAL).rsqrt()
        cos, sin = fact[0], fact[1]
        direction = ((sx * cos + FOCAL * sin) * norm, sy * norm, (FOCAL * cos - sx * sin) * norm)
        enter, leave = _box_span(fact[4], fact[5], fact[6], *direction, SOLIDS[kind], 4.0 * _VIEW.pixel)
        leave = torch.maximum(leave, enter)
        ray = [*fact[4:7], *direction, fact[7], _VIEW.pixel * norm * FOCAL * norm, enter, leave]
        nearest, at = _march(SOLIDS[kind], ray)
        alpha = torch.stack([(1.0 - nearest).clamp(0.0, 1.0), (1.0 + OUTLINE_PX - nearest).clamp(0.0, 1.0)])
        hit = (alpha[1] > 0.004).nonzero()[:, 0]
        points = tuple((o + d * at)[hit] for o, d in zip(fact[4:7], direction, strict=True))
        out[kind] = _Hits(chosen, points, hit, alpha[:, hit])  # type: ignore[arg-type]
    return out


@lru_cache(maxsize=24)
def gallery_for(light: str, side: float, style: str) -> Gallery:
    """The gallery under a light that comes from a side (-1 left, 1 right), in a style without its texture."""
    backdrop = Backdrop("studio", light, "cartoon" if style == "cartoon" else "plain", 0.32, 0.6 * side, 0.0)
    kinds, colours, index, sizes, pictures = [], [], [], [], []
    start = 0
    for kind, hits in _hits().items():
        alpha = _image(hits, hits.alpha[1 if style == "cartoon" else 0][:, None])  # (n, 1, WINDOW, WINDOW)
        grid, size = _box_grid(alpha[:, 0])
        coverage = _sample(alpha, grid)  # (n, 1, SIDE, SIDE)
        shade = 1.0 - _sample(1.0 - _shadows(hits, backdrop), grid)
        for number, shaded in enumerate(_in_all_colours(hits, backdrop)):
            image = _image(hits, shaded * hits.alpha[1 if style == "cartoon" else 0][:, None])
            colour = (_sample(image, grid) / coverage.clamp_min(0.02)).clamp(0.0, 1.0)
            entry = _finished(colour, coverage, shade, style)
            pictures.append(entry)
            kinds += [list(KINDS).index(kind)] * len(hits.poses)
            colours += [number] * len(hits.poses)
            index += range(start, start + len(hits.poses))
            sizes.append(size)
        start += len(hits.poses)
    pose, views = torch.tensor(index), poses()
    walking = torch.tensor([view.stride != 0.0 for view in views])
    stands_in = torch.tensor([view.lift == 0.0 and round(view.yaw * TURNS / (2 * math.pi)) % 2 == 0 for view in views])
    large = torch.cat(pictures)  # (E, 5, SIDE, SIDE)
    small = F.avg_pool2d(large, SIDE // SMALL_SIDE).flatten(2)
    few, features = stands_in[pose].nonzero()[:, 0], _features(small)
    lists = torch.tensor(kinds), torch.tensor(colours), walking[pose], torch.cat(sizes), few
    return Gallery(*lists, large.flatten(2).half(), features, features[few], small[:, 0].contiguous())


def _in_all_colours(hits: _Hits, backdrop: Backdrop) -> list[Tensor]:
    """The hit points shaded in each colour, (R, 3) each. Light on paint is linear until it clips, so two colours
    give all.
    """
    kind = hits.poses[0].kind
    window = WINDOW * WINDOW
    facts = torch.tensor([_facts(_instance(pose, backdrop, "white")) for pose in hits.poses])
    fact = facts[hits.ray // window].T.contiguous()  # (21, R)
    white = _shade(SOLIDS[kind], *hits.points, fact[7], fact)
    dim = 0.3  # dark enough never to clip
    fact[18:21] = 0.0
    black = _shade(SOLIDS[kind], *hits.points, fact[7], fact)
    fact[18:21] = dim
    slope = (_shade(SOLIDS[kind], *hits.points, fact[7], fact) - black) / dim
    shaded = [
        white if name == "white" else (black + slope * slope.new_tensor(value)).clamp(0.0, 1.0)
        for name, value in COLOUR_VALUES.items()
    ]
    if backdrop.style == "cartoon":
        inside = (hits.alpha[0] / hits.alpha[1])[:, None]
        shaded = [torch.lerp(torch.full_like(colour, 0.06), colour, inside) for colour in shaded]
        shaded = [cartoon(colour[None, None])[0, 0] for colour in shaded]
    return shaded


def _image(hits: _Hits, values: Tensor) -> Tensor:
    """Values at the hits (R, c) as pictures (n, c, WINDOW, WINDOW), 0 elsewhere."""
    flat = values.new_zeros(len(hits.poses) * WINDOW * WINDOW, values.shape[1])
    flat[hits.ray] = values
    return flat.view(len(hits.poses), WINDOW, WINDOW, -1).permute(0, 3, 1, 2)


def _shadows(hits: _Hits, backdrop: Backdrop) -> Tensor:
    """How much of the light each pose's shadow leaves on the ground, (n, 1, WINDOW, WINDOW)."""
    towards = light_direction(backdrop.scene)
    camera = Camera(0.0, 0.0, CAMERA_HEIGHT)
    offset = (torch.arange(WINDOW) + 0.5 - WINDOW / 2) * _VIEW.pixel
    pictures: dict[float, Tensor] = {}
    for pose in hits.poses:
        if pose.lift not in pictures:
            stands = Pose(0.0, pose.lift, DEPTH, 1.0, 0.0, 0.0)
            cast = Cast(stands, pose.kind, camera, towards)
            whole = shadows([cast], _VIEW, torch.device("cpu"))  # (1, H, W)
            down = offset - (pose.lift + 0.5 * HEIGHT[pose.kind] - CAMERA_HEIGHT) * FOCAL / DEPTH
            grid = torch.stack(torch.broadcast_tensors(offset[None, :], down[:, None]), -1)  # halves of the view
            pictures[pose.lift] = F.grid_sample(whole[None], grid[None], align_corners=False, padding_mode="border")
    return torch.cat([pictures[pose.lift] for pose in hits.poses])


def _box_grid(alpha: Tensor) -> tuple[Tensor, Tensor]:
    """Sampling grids (n, 2 SIDE, 2 SIDE, 2) that put each thing's box in the middle, and the boxes' sizes (n, 2)."""
    edges = []
    for axis in (1, 2):  # columns, then rows
        on = (alpha > 0.5).any(axis).float()
        place = torch.arange(WINDOW, dtype=torch.float32)
        low = torch.where(on > 0, place, 1e3).amin(1)
        high = torch.where(on > 0, place, -1e3).amax(1) + 1.0
        edges.append((low, high))
    (left, right), (top, bottom) = edges
    longer = torch.maximum(right - left, bottom - top)
    span = box_offsets(2 * SIDE) * longer[:, None] / FILL  # (n, 2 SIDE), pixels
    x = ((left + right) / 2)[:, None] + span
    y = ((top + bottom) / 2)[:, None] + span
    shape = (len(alpha), 2 * SIDE, 2 * SIDE)
    grid = torch.stack([x[:, None, :].expand(shape), y[:, :, None].expand(shape)], -1) / WINDOW * 2.0 - 1.0
    return grid, torch.stack([(right - left) / longer, (bottom - top) / longer], 1)


@lru_cache(maxsize=4)
def box_offsets(count: int) -> Tensor:
    """Where `count` samples across a box lie: from its middle, as fractions of its side."""
    return (torch.arange(count) + 0.5) / count - 0.5


def _sample(pictures: Tensor, grid: Tensor) -> Tensor:
    return F.avg_pool2d(F.grid_sample(pictures, grid, align_corners=False), 2)


def _finished(colour: Tensor, coverage: Tensor, shade: Tensor, style: str) -> Tensor:
    """Colours (n, 3, SIDE, SIDE), coverage and shade (n, 1, SIDE, SIDE) as a gallery's pictures (n, 5, SIDE, SIDE)."""
    kernels = [BINOMIAL] if style != "pixel art" else [BINOMIAL, BLOCK]
    for kernel in kernels:
        premultiplied = smoothed(torch.cat([colour * coverage, coverage], 1), kernel)
        coverage = premultiplied[:, 3:]
        colour = premultiplied[:, :3] / coverage.clamp_min(0.02)
    laid = coverage * even(colour)
    bare = (1.0 - coverage) * shade.sqrt()  # on the even scale a shadow is the root of itself
    return torch.cat([coverage, laid, bare], 1)

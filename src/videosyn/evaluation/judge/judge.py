"""What a clip shows, measured in its pixels: `judge` is the way in, and the whole path. It knows the world, and
nothing of the prompt.

The empty world that fits is found first; what it does not explain is compared with the world's own renders of every
thing. No model is learned. What is not found is None.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from videosyn.evaluation.judge.backdrop_fit import behind, cost_of, fit_backdrop, lit_as_seen, settled, undone
from videosyn.evaluation.judge.bank import SUNLESS, Backdrop, draw, turn_of
from videosyn.evaluation.judge.camera import find_camera
from videosyn.evaluation.judge.components import find_all
from videosyn.evaluation.judge.detection import Box, Found, Frame, detect
from videosyn.evaluation.judge.gallery import Gallery, gallery_for
from videosyn.evaluation.judge.motion import Path, motion_of, path_of
from videosyn.evaluation.judge.picture import BINOMIAL, Picture, even, prepare, smoothed
from videosyn.evaluation.judge.relation import relate
from videosyn.evaluation.judge.texture import blockiness, strokiness, unblocked, unpainted
from videosyn.evaluation.judge.tracks import Track, follow, identify, telling_frames
from videosyn.world.layout import FOCAL, View
from videosyn.world.parsed import NamedThing, Parsed

PAINTERLY = 0.22
"""Share of the field of strokes from which a clip is painterly: 0.4 blurred, 0.04 at most in any other style."""
BLOCKY = 1.25
"""Ratio of steps from which a clip is pixel art."""
STANDING = {5.1: (1.7,), 6.0: (1.3, 1.7), 7.8: (1.9,)}
"""Depths at which things stand, and their common sizes there, in units of the world."""
UNDECIDED = 1.5
"""A style whose backdrop fits worse than the best by this factor is out; else the things decide."""
WORST_BACKDROP = 0.048
"""Mean difference to the best backdrop above which a clip shows no place of the world."""


@dataclass(frozen=True)
class Evidence:
    """What was measured on the way, for whoever wants to know why."""

    picture: Picture
    backdrop: Backdrop
    backdrop_cost: float
    camera: str
    turns: tuple[float, ...]
    """Of the camera at each key frame, radians."""
    gallery: Gallery
    frames: list[Frame]
    tracks: list[Track]

    @property
    def paths(self) -> list[Path]:
        """Of each track."""
        return [path_of(track, self.turns, self.picture.view) for track in self.tracks]

    @property
    def unexplained(self) -> float:
        """Squared difference between the telling key frames and what is said of them, even scale, over all pixels."""
        at = telling_frames(len(self.frames))
        found = [track.found[frame] for track in self.tracks for frame in at]
        total = sum(float((self.frames[frame].picture - self.frames[frame].empty).square().sum()) for frame in at)
        return total - sum(each.gain for each in found if each is not None)


def judge(clip: np.ndarray | Tensor) -> Parsed:
    """What a uint8 clip (T, H, W, 3) shows, in the form in which a prompt says it; None for what cannot be told."""
    evidence = examine(clip)
    return Parsed() if evidence is None else describe(evidence)


@torch.no_grad()
def examine(clip: np.ndarray | Tensor) -> Evidence | None:
    """What a clip is judged by; None for one that shows no place of the world."""
    picture = prepare(clip)
    styles = texture_styles(picture)
    if styles == ("painterly",):
        picture = replace(picture, frames=unpainted(picture.frames))
    camera = find_camera(picture.frames, picture.progress, picture.view.across)
    still = behind(picture.frames, camera)
    fits = sorted(_fits(still, styles), key=lambda fit: fit[1])
    if fits[0][1] > WORST_BACKDROP:
        return None
    likely = [fit for fit in fits if fit[1] < UNDECIDED * fits[0][1]]
    explained = [_things(picture, camera, *fit) for fit in likely]
    return min(explained, key=lambda evidence: evidence.unexplained)


def _fits(still: Tensor, styles: tuple[str, ...]) -> list[tuple[Backdrop, float]]:
    """The best backdrop in each style, with its cost. A painting has been undone, and is compared with plain ones."""
    drawn_as = {"painterly": "plain", "pixel art": "plain"}
    fitted = {style: fit_backdrop(still, style) for style in {drawn_as.get(style, style): None for style in styles}}
    backdrops = [replace(fitted[drawn_as.get(style, style)], style=style) for style in styles]
    backdrops = [settled(still, each) if each.style == "pixel art" else each for each in backdrops]
    return [(backdrop, cost_of(still, backdrop)) for backdrop in backdrops]


def _things(picture: Picture, camera: str, backdrop: Backdrop, cost: float) -> Evidence:
    """The things in front of a backdrop."""
    turns = tuple(turn_of(camera, progress) for progress in picture.progress)
    drawn = draw(undone(backdrop), picture.view, turns if camera != "still" else turns[:1])
    lenient, strict = lit_as_seen(picture.frames, drawn, backdrop)  # (K, 3, H, W) each
    seen = even(picture.frames)
    gaps = distance(seen, even(lenient))
    patches = find_all(gaps, distance(seen, even(strict)))
    smooth = unblocked if backdrop.style == "pixel art" else partial(smoothed, kernel=BINOMIAL)
    places = standing_places(backdrop, picture.view)
    frames = [
        Frame(pixels, drawn_there, gap, tuple(patch), places)
        for pixels, drawn_there, gap, patch in zip(smooth(seen), smooth(even(strict)), gaps, patches, strict=True)
    ]
    gallery, first = _lit(frames[0], undone(backdrop))
    things = identify(frames, gallery, first, backdrop.horizon_row(picture.view))
    tracks = [track for track in follow(frames, things, gallery) if track.seen]
    return Evidence(picture, backdrop, cost, camera, turns, gallery, frames, tracks)


def describe(evidence: Evidence) -> Parsed:
    """Evidence in words."""
    moves = evidence.picture.num_frames > 1
    paths = evidence.paths
    motions = [
        motion_of(track, path, evidence.frames, evidence.picture.numbers, evidence.gallery) if moves else None
        for track, path in zip(evidence.tracks, paths, strict=True)
    ]
    relation, order = relate(motions, paths)
    return Parsed(
        things=tuple(
            NamedThing(evidence.tracks[index].kind, evidence.tracks[index].colour, motions[index]) for index in order
        ),
        place=evidence.backdrop.place,
        light=evidence.backdrop.light,
        camera=evidence.camera if moves else None,
        style=evidence.backdrop.style,
        relation=relation,
    )


def standing_places(backdrop: Backdrop, view: View) -> list[Box]:
    """Boxes, in pixels, in which things of common sizes would stand on the ground, near, in the middle and far."""
    camera = backdrop.camera(view, 0.0)
    boxes = []
    for depth, sizes in STANDING.items():
        foot = (view.up - camera.horizon + FOCAL * camera.height / depth) / view.pixel
        for size in sizes:
            side = size * FOCAL / depth / view.pixel
            columns = range(int(side / 3), int(view.width - side / 3), max(3, int(side / 4)))
            boxes += [(float(x), foot - 0.47 * side, side) for x in columns]
    return boxes


def distance(one: Tensor, other: Tensor) -> Tensor:
    """Between colours of pictures (K, 3, H, W): (K, H, W)."""
    return (one - other).square().sum(1).sqrt()


def texture_styles(picture: Picture) -> tuple[str, ...]:
    """The styles that the texture of a clip leaves possible."""
    if strokiness(picture) > PAINTERLY:
        return ("painterly",)
    if blockiness(picture.native) > BLOCKY:
        return ("pixel art",)
    return ("plain", "cartoon", "pixel art")  # soft blocks are told by the shades of their backdrop


def _lit(frame: Frame, backdrop: Backdrop) -> tuple[Gallery, list[Found]]:
    """The gallery under the clip's light, and the things of its first frame.

    Where no sun is to be seen, light comes from the side that explains the frame better.
    """
    sides = (-1.0, 1.0) if backdrop.place in SUNLESS else (1.0 if backdrop.sun > 0 else -1.0,)
    galleries = [gallery_for(backdrop.light, side, backdrop.style) for side in sides]
    tries = [(gallery, detect(frame, gallery)) for gallery in galleries]
    return max(tries, key=lambda each: sum(found.gain for found in each[1]))

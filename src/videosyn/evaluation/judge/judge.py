"""What a clip shows, measured in its pixels: `judge` is the way in, and the whole path. It knows the world, and
nothing of the prompt.

The empty world that fits is found first; what it does not explain is compared with the world's own renders of every
thing. No model is learned. What is not found is None.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from videosyn.evaluation.judge.backdrop_fit import behind, fit_backdrop, lit_as_seen
from videosyn.evaluation.judge.bank import SUNLESS, Backdrop, draw, turn_of
from videosyn.evaluation.judge.camera import find_camera
from videosyn.evaluation.judge.components import find_all
from videosyn.evaluation.judge.detection import Found, Frame, detect
from videosyn.evaluation.judge.gallery import BINOMIAL, Gallery, gallery_for, smoothed
from videosyn.evaluation.judge.motion import Path, motion_of, path_of
from videosyn.evaluation.judge.picture import Picture, even, prepare
from videosyn.evaluation.judge.relation import relate
from videosyn.evaluation.judge.texture import blockiness, strokes, strokiness
from videosyn.evaluation.judge.tracks import Track, follow, identify
from videosyn.world.parsed import NamedThing, Parsed

PAINTERLY = 0.22
"""Share of the field of strokes from which a clip is painterly: 0.4 blurred, 0.04 at most in any other style."""
BLOCKY = 1.25
"""Ratio of steps from which a clip is pixel art."""
WORST_BACKDROP = 0.085
"""Mean difference to the best backdrop above which a clip shows no place of the world."""


@dataclass(frozen=True)
class Evidence:
    """What was measured on the way, for whoever wants to know why."""

    backdrop: Backdrop
    backdrop_cost: float
    camera: str
    gallery: Gallery
    frames: list[Frame]
    tracks: list[Track]
    paths: list[Path]


def judge(clip: np.ndarray | Tensor) -> Parsed:
    """What a uint8 clip (T, H, W, 3) shows, in the form in which a prompt says it; None for what cannot be told."""
    return examine(clip)[0]


@torch.no_grad()
def examine(clip: np.ndarray | Tensor) -> tuple[Parsed, Evidence | None]:
    """`judge`, and what it went by: None for a clip that shows no place of the world."""
    picture = prepare(clip)
    styles = texture_styles(picture)
    brush = strokes(*picture.frames.shape[2:]) if styles == ("painterly",) else 1.0
    frames = picture.frames / brush
    camera = find_camera(frames, picture.progress, picture.view.across)
    backdrop, cost = fit_backdrop(behind(picture.frames, camera), styles)
    if cost > WORST_BACKDROP:
        return Parsed(), None
    turns = tuple(turn_of(camera, progress) for progress in picture.progress)
    drawn = draw(backdrop, picture.view, turns if camera != "still" else turns[:1])
    lenient, strict = lit_as_seen(picture.frames, drawn, backdrop)  # (K, 3, H, W) each
    seen = even(picture.frames)
    gaps = distance(seen, even(lenient))
    patches = find_all(gaps, distance(seen, even(strict)))
    shown, empty = smoothed(even(frames), BINOMIAL), smoothed(even(strict / brush), BINOMIAL)
    ready = [Frame(*each, tuple(patch)) for *each, patch in zip(shown, empty, gaps, patches, strict=True)]
    gallery, first = _lit(ready[0], backdrop)
    tracks = [
        track
        for track in follow(ready, identify(ready, gallery, first, backdrop.horizon_row(picture.view)), gallery)
        if track.seen
    ]
    paths = [path_of(track, turns, picture.view) for track in tracks]
    moves = picture.num_frames > 1
    motions = [
        motion_of(track, path, ready, picture.numbers, gallery) if moves else None
        for track, path in zip(tracks, paths, strict=True)
    ]
    relation, order = relate(motions, paths)
    things = [NamedThing(track.kind, track.colour, motion) for track, motion in zip(tracks, motions, strict=True)]
    parsed = Parsed(
        things=tuple(things[index] for index in order),
        place=backdrop.place,
        light=backdrop.light,
        camera=camera if moves else None,
        style=backdrop.style,
        relation=relation,
    )
    return parsed, Evidence(backdrop, cost, camera, gallery, ready, tracks, paths)


def distance(one: Tensor, other: Tensor) -> Tensor:
    """Between colours of pictures (K, 3, H, W): (K, H, W)."""
    return (one - other).square().sum(1).sqrt()


def texture_styles(picture: Picture) -> tuple[str, ...]:
    """The styles that the texture of a clip leaves possible."""
    if strokiness(picture) > PAINTERLY:
        return ("painterly",)
    if blockiness(picture.native) > BLOCKY:
        return ("pixel art",)
    return ("plain", "cartoon")


def _lit(frame: Frame, backdrop: Backdrop) -> tuple[Gallery, list[Found]]:
    """The gallery under the clip's light, and the things of its first frame.

    Where no sun is to be seen, light comes from the side that explains the frame better.
    """
    sides = (-1.0, 1.0) if backdrop.place in SUNLESS else (1.0 if backdrop.sun > 0 else -1.0,)
    galleries = [gallery_for(backdrop.light, side, backdrop.style) for side in sides]
    tries = [(gallery, detect(frame, gallery)) for gallery in galleries]
    return max(tries, key=lambda each: sum(found.gain for found in each[1]))

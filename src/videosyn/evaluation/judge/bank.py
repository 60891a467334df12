"""Empty worlds to compare with: every place and light at several phases, horizons and suns, small. Next:
`backdrop_fit.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from videosyn.evaluation.judge.picture import even
from videosyn.world import styles
from videosyn.world.backdrop import backdrops
from videosyn.world.layout import FOCAL, GROUND_ROW, PAN, Camera, View
from videosyn.world.scene import Scene, Thing
from videosyn.world.vocabulary import LIGHTS, SCENES, STYLES

NUM_PHASES = 16
HORIZONS = (0.28, 0.32, 0.36)
SUNS = (-0.68, -0.52, 0.52, 0.68)
THUMBNAIL_SIDE = 16
"""Pixels on the shorter side of the bank's pictures."""
SUNLESS = ("studio", "abstract")

_NOBODY = (Thing("ball", "white", "rests", 0.0, 1.0, 6.0, 0.0),)


@dataclass(frozen=True)
class Backdrop:
    """What an empty world needs to be drawn: the fields of `Scene` that do not speak of things."""

    place: str
    light: str
    style: str
    horizon: float
    sun: float
    phase: float

    @property
    def scene(self) -> Scene:
        return Scene(
            _NOBODY, self.place, self.light, "still", self.style, None, self.horizon, self.sun, self.phase % 1.0, 0
        )

    def horizon_row(self, view: View) -> float:
        """Row of the horizon, in pixels from the top."""
        return (view.up - self.horizon * view.up) / view.pixel

    def camera(self, view: View, turn: float) -> Camera:
        horizon = self.horizon * view.up
        return Camera(turn, horizon, (horizon - GROUND_ROW * view.up) * 6.0 / FOCAL)


def turn_of(camera: str, progress: float) -> float:
    """How far a panning camera has turned to the right at a point of the clip, radians."""
    pan = {"still": 0.0, "pan left": -PAN, "pan right": PAN}[camera]
    return float(torch.atan(torch.tensor(pan * (progress - 0.5) / FOCAL)))


def draw(backdrop: Backdrop, view: View, turns: tuple[float, ...] = (0.0,)) -> Tensor:
    """The empty world in its style, one picture a turn: (n, 3, H, W) in [0, 1]."""
    cameras = [backdrop.camera(view, turn) for turn in turns]
    plain = backdrops([backdrop.scene] * len(turns), cameras, view, torch.device("cpu"))  # (n, H, W, 3)
    return styled(plain, backdrop.style).permute(0, 3, 1, 2)


def styled(picture: Tensor, style: str) -> Tensor:
    """A plain picture (N, H, W, 3) in [0, 1] in a style."""
    match style:
        case "pixel art":
            return styles.pixel_art(picture)
        case "cartoon":
            return styles.cartoon(picture)
        case "painterly":
            return styles.painterly(picture)
    return picture


@dataclass(frozen=True)
class Bank:
    """All empty worlds of one frame shape."""

    entries: tuple[Backdrop, ...]
    thumbnails: Tensor
    """(N, 3, h, w), on the even scale."""


@lru_cache(maxsize=8)
def bank_for(height: int, width: int, style: str) -> Bank:
    """The bank for frames of this shape and style; drawn once and kept."""
    plain_entries, plain = _plain(height, width)
    pictures = styled(plain, style)
    thumbnails = F.avg_pool2d(even(pictures).permute(0, 3, 1, 2), 2)
    return Bank(tuple(replace(entry, style=style) for entry in plain_entries), thumbnails.contiguous())


@lru_cache(maxsize=4)
def _plain(height: int, width: int) -> tuple[tuple[Backdrop, ...], Tensor]:
    shorter = min(height, width)
    view = View(*(2 * round(THUMBNAIL_SIDE * side / shorter) for side in (height, width)))
    entries = tuple(
        Backdrop(place, light, "plain", horizon, sun, phase / NUM_PHASES)
        for place in SCENES
        for light in LIGHTS
        for horizon in HORIZONS
        for sun in (SUNS[2:3] if place in SUNLESS else SUNS)
        for phase in range(NUM_PHASES)
    )
    cameras = [entry.camera(view, 0.0) for entry in entries]
    return entries, backdrops([entry.scene for entry in entries], cameras, view, torch.device("cpu"))


assert set(STYLES) == {"plain", "pixel art", "cartoon", "painterly"}

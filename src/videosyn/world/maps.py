"""A clip's map: which thing lies where on the latent grid, as numbers that a video model can denoise with the latents.

Kind, colour and motion have each a code of +1 and -1, orthogonal to the others of their sort; a cell holds the codes of
what it shows times the part of it that the thing covers, and zeros where only backdrop is. Spread over all channels, a
thing's name can be read through much noise, long before its shape. Used by `training/`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from videosyn.world.render import silhouettes
from videosyn.world.scene import Scene
from videosyn.world.vocabulary import COLOURS, KINDS, MOTIONS

WIDTHS = {"kind": 16, "colour": 8, "motion": 16}
"""Channels of each code: powers of two that hold all its names."""
MAP_CHANNELS = sum(WIDTHS.values())
FINE = 2
"""Silhouettes are drawn at 1 / FINE of the frame's size."""


def coverage(
    scenes: Sequence[Scene],
    num_frames: int,
    height: int,
    width: int,
    fps: float,
    device: torch.device | str = "cpu",
    cell_px: int = 8,
) -> list[Tensor]:
    """How much of each cell the things of each scene cover: uint8 (things, t, h, w) of 255 each, on the CPU.

    t = 1 + (T - 1) / 4, h = height / cell_px. Frames are grouped as the VidVAE does: the first alone, then four by
    four. What is hidden behind another thing does not count. They are drawn on `device`.
    """
    at_once = 1 if torch.device(device).type == "cpu" else 64  # on CPUs the same map whichever others are drawn
    shown: list[Tensor] = []  # (T, H / FINE, W / FINE) each
    for low in range(0, len(scenes), at_once):
        shown += silhouettes(scenes[low : low + at_once], num_frames, height // FINE, width // FINE, fps, device)
    covered = []
    for scene, clip in zip(scenes, shown, strict=True):
        each = torch.stack([(clip == 1 + place).float() for place in range(len(scene.things))])
        each = F.avg_pool2d(each, cell_px // FINE)  # (things, T, h, w)
        if num_frames > 1:
            each = torch.cat([each[:, :1], each[:, 1:].unflatten(1, (-1, 4)).mean(2)], 1)
        covered.append((each * 255).round().to("cpu", torch.uint8))
    return covered


def codes(scene: Scene, num_frames: int) -> Tensor:
    """The code of each thing, (things, MAP_CHANNELS); a single image has no motions, which are zeros."""
    rows = []
    for thing in scene.things:
        names = (list(KINDS).index(thing.kind), list(COLOURS).index(thing.colour), list(MOTIONS).index(thing.motion))
        parts = [_hadamard(width)[name] for width, name in zip(WIDTHS.values(), names, strict=True)]
        if num_frames == 1:
            parts[2] = torch.zeros_like(parts[2])
        rows.append(torch.cat(parts))
    return torch.stack(rows)


def draw_map(covered: Tensor, code: Tensor) -> Tensor:
    """What `coverage` and `codes` gave -> (MAP_CHANNELS, t, h, w), fp32 in [-1, 1]."""
    return torch.einsum("nthw,nc->cthw", covered.float() / 255, code)


@lru_cache
def _hadamard(width: int) -> Tensor:
    """`width` orthogonal rows of +1 and -1 (Sylvester's construction)."""
    matrix = torch.ones(1, 1)
    while len(matrix) < width:
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
    return matrix

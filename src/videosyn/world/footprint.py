"""Where on screen the things of a clip are: rectangles from the layout alone, without rendering a pixel.

`render.py` marches rays inside these rectangles only; training weighs what lies in them more (`dataset/batches.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from videosyn.world.layout import FOCAL, Camera, Pose, View, lay_out
from videosyn.world.scene import Scene
from videosyn.world.solids import SOLIDS
from videosyn.world.vocabulary import COLOURS, KINDS, MOTIONS


def rectangle(kind: str, pose: Pose, camera: Camera, view: View, slack_px: int) -> tuple[int, int, int, int]:
    """The pixels a thing may touch, and `slack_px` around: left, top, width, height; empty when it is out of sight."""
    solid = SOLIDS[kind]
    reach = max(solid.half_extent) * 1.42 if kind in ("cube", "house") else max(solid.half_extent)
    near = max(pose.z - reach * pose.size, 0.5)
    far = pose.z + reach * pose.size
    scale = FOCAL / near
    left, right = (
        pose.x * (FOCAL / pose.z) - reach * pose.size * scale,
        pose.x * (FOCAL / pose.z) + reach * pose.size * scale,
    )
    top_y, base_y = pose.lift + solid.height * pose.size - camera.height, pose.lift - camera.height
    top = camera.horizon + max(top_y * FOCAL / near, top_y * FOCAL / far)
    base = camera.horizon + min(base_y * FOCAL / near, base_y * FOCAL / far)
    x0 = max(int((left + view.across) / view.pixel) - slack_px, 0)
    x1 = min(int((right + view.across) / view.pixel) + slack_px + 1, view.width)
    y0 = max(int((view.up - top) / view.pixel) - slack_px, 0)
    y1 = min(int((view.up - base) / view.pixel) + slack_px + 1, view.height)
    return x0, y0, max(x1 - x0, 0), max(y1 - y0, 0)


def named_cells(scene: Scene, num_frames: int, height: int, width: int, fps: float, cell_px: int = 8) -> Tensor:
    """What lies in each cell of the latent grid: uint8 (3, t, h, w), t = 1 + (T - 1) / 4, h = height / `cell_px`.

    Kind, colour and motion of the nearest thing that touches the cell, each 1 + its place in the vocabulary; 0 where
    there is none. A single image has no motions. Frames are grouped as the VidVAE does: the first alone, then four by
    four.
    """
    groups = [(frame + 3) // 4 for frame in range(num_frames)]
    return _cells(scene, num_frames, height, width, fps, cell_px, groups)


def frame_cells(scene: Scene, num_frames: int, height: int, width: int, fps: float, cell_px: int) -> Tensor:
    """The same for each frame by itself: uint8 (3, T, h, w)."""
    return _cells(scene, num_frames, height, width, fps, cell_px, range(num_frames))


def _cells(
    scene: Scene, num_frames: int, height: int, width: int, fps: float, cell_px: int, groups: Sequence[int]
) -> Tensor:
    """groups: the place along time in the result of each frame."""
    view = View(height, width)
    cameras, poses = lay_out(scene, view, num_frames, fps)
    cells = torch.zeros(3, groups[-1] + 1, height // cell_px, width // cell_px, dtype=torch.uint8)
    for index in sorted(range(len(scene.things)), key=lambda index: -scene.things[index].depth):
        thing = scene.things[index]
        motion = 1 + list(MOTIONS).index(thing.motion) if num_frames > 1 else 0
        names = torch.tensor([1 + list(KINDS).index(thing.kind), 1 + list(COLOURS).index(thing.colour), motion])
        for group, pose, camera in zip(groups, poses[index], cameras):
            x, y, across, down = rectangle(thing.kind, pose, camera, view, slack_px=1)
            if across and down:
                rows = slice(y // cell_px, -(-(y + down) // cell_px))
                columns = slice(x // cell_px, -(-(x + across) // cell_px))
                cells[:, group, rows, columns] = names[:, None, None].to(torch.uint8)
    return cells

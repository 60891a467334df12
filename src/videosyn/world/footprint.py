"""Where on screen the things of a clip are: rectangles from the layout alone, without rendering a pixel.

`render.py` marches rays inside these rectangles only; training weighs what lies in them more (`dataset/batches.py`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from videosyn.world.layout import FOCAL, Camera, Pose, View, lay_out
from videosyn.world.scene import Scene
from videosyn.world.solids import SOLIDS


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


def footprint(scene: Scene, num_frames: int, height: int, width: int, fps: float, cell_px: int = 8) -> Tensor:
    """Which cells of the latent grid a thing touches: bool (t, h, w), t = 1 + (T - 1) / 4, h = height / `cell_px`.

    As the VidVAE groups frames: the first alone, then four by four.
    """
    view = View(height, width)
    cameras, poses = lay_out(scene, view, num_frames, fps)
    touched = torch.zeros(1 + (num_frames - 1) // 4, height // cell_px, width // cell_px, dtype=torch.bool)
    for thing, path in zip(scene.things, poses):
        for frame, (pose, camera) in enumerate(zip(path, cameras)):
            x, y, across, down = rectangle(thing.kind, pose, camera, view, slack_px=1)
            if across and down:
                rows = slice(y // cell_px, -(-(y + down) // cell_px))
                columns = slice(x // cell_px, -(-(x + across) // cell_px))
                touched[(frame + 3) // 4, rows, columns] = True
    return touched

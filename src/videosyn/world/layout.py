"""Where everything is at every frame: a scene and a frame's shape become camera turns and poses. Next: `render.py`.

Units: the screen is measured in halves of its shorter side (x to the right, y up, 0 in the middle), the world in units
of which a thing of size 1 is 2 high. A point at depth z lies on screen at FOCAL * (x, y - camera height) / z + (0,
horizon). Motions that cross or end (left, up, grows) span the clip whatever its length; motions that repeat (bounces,
spins, a gait) keep their period in seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from videosyn.world.scene import Scene

FOCAL = 2.0
"""Focal length in halves of the shorter side: a field of view of 53 degrees across it."""
GROUND_ROW = -0.52
"""Where a thing at depth 6 meets the ground, as a fraction of half the frame's height."""
PAN = 0.62
"""How far a pan moves the picture over a clip, in halves of the shorter side."""
MARGIN = 0.05

HALF_WIDTH = {
    "ball": 0.88, "cube": 0.98, "cone": 0.88, "cylinder": 0.68, "ring": 0.94, "diamond": 0.80, "house": 1.08,
    "tree": 0.80, "boat": 1.00, "snowman": 0.60, "rocket": 0.70, "lighthouse": 0.56, "person": 0.52,
}  # fmt: skip
"""Half of each kind's widest extent at size 1, in units of the world."""
HEIGHT = {
    "ball": 1.72, "cube": 1.44, "cone": 1.90, "cylinder": 1.60, "ring": 1.84, "diamond": 2.04, "house": 1.72,
    "tree": 2.08, "boat": 1.96, "snowman": 2.18, "rocket": 2.16, "lighthouse": 2.16, "person": 2.04,
}  # fmt: skip
"""Each kind's height at size 1, in units of the world."""


@dataclass(frozen=True)
class View:
    """The screen: half extents `across` and `up`, and the size of a pixel, all in halves of the shorter side."""

    height: int
    width: int

    @property
    def up(self) -> float:
        return self.height / min(self.height, self.width)

    @property
    def across(self) -> float:
        return self.width / min(self.height, self.width)

    @property
    def pixel(self) -> float:
        return 2.0 / min(self.height, self.width)


@dataclass(frozen=True)
class Pose:
    """A thing at one frame, in the camera's space: right, up, away, in units of the world."""

    x: float
    lift: float
    z: float
    size: float
    yaw: float
    stride: float
    """Phase of the gait in turns; 0 stands."""


@dataclass(frozen=True)
class Camera:
    """The camera at one frame."""

    turn: float
    """Turn to the right, radians."""
    horizon: float
    """Row of the horizon on screen."""
    height: float
    """Height above the ground, in units of the world."""


def lay_out(scene: Scene, view: View, num_frames: int, fps: float) -> tuple[list[Camera], list[list[Pose]]]:
    """The camera at each frame, and each thing's poses: `poses[thing][frame]`."""
    horizon = scene.horizon * view.up
    height = (horizon - GROUND_ROW * view.up) * 6.0 / FOCAL
    pan = {"still": 0.0, "pan left": -PAN, "pan right": PAN}[scene.camera]
    cameras, poses = [], [[] for _ in scene.things]
    for frame in range(num_frames):
        progress = frame / max(num_frames - 1, 1)
        turn = math.atan(pan * (progress - 0.5) / FOCAL)
        cameras.append(Camera(turn, horizon, height))
        for index in range(len(scene.things)):
            still = _pose(scene, index, view, horizon, height, progress, frame / fps)
            poses[index].append(_seen_from(still, turn))
    return cameras, poses


def _pose(scene: Scene, index: int, view: View, horizon: float, height: float, progress: float, time_s: float) -> Pose:
    """Where the thing stands in the world, seen by a camera that looks straight ahead."""
    thing = scene.things[index]
    to_world = thing.depth / FOCAL
    half_width = HALF_WIDTH[thing.kind] * thing.size / to_world
    room = view.across - half_width - MARGIN
    if scene.camera != "still":
        room -= 0.5 * PAN * (0.5 if abs(thing.place) < 0.5 else 0.9)
    x, lift, size, yaw, stride = thing.place * max(room, 0.1), thing.lift, thing.size, thing.yaw, 0.0
    match thing.motion:
        case "left" | "right":
            side = 1.0 if thing.motion == "right" else -1.0
            x = side * _crossing(scene, index, room, half_width, progress)
            stride = 1.25 * time_s if thing.kind == "person" else 0.0
        case "up" | "down":
            foot = horizon - FOCAL * height / thing.depth
            top = view.up - foot - HEIGHT[thing.kind] * thing.size / to_world - MARGIN
            rise = progress if thing.motion == "up" else 1.0 - progress
            lift += rise * max(top, 0.2) * thing.travel * to_world
        case "bounces":
            peak = (0.5 if len(scene.things) == 1 else 0.4) * view.up * thing.travel
            lift += peak * abs(math.sin(math.pi * time_s)) * to_world
        case "spins":
            yaw += math.pi * time_s
        case "grows":
            size *= 0.42 + 0.58 * progress
        case "shrinks":
            size *= 1.0 - 0.58 * progress
    return Pose(x * to_world, lift, thing.depth, size, yaw, stride)


def _crossing(scene: Scene, index: int, room: float, half_width: float, progress: float) -> float:
    """How far along its own direction a thing has come, on screen: across the frame, or into a collision and back."""
    thing = scene.things[index]
    reach = room * thing.travel
    if scene.relation != "collides with":
        return reach * (2.0 * progress - 1.0)
    if progress <= 0.5:
        return -half_width - (reach - half_width) * (1.0 - 2.0 * progress)
    return -half_width - 0.6 * (reach - half_width) * (2.0 * progress - 1.0)


def _seen_from(pose: Pose, turn: float) -> Pose:
    """The pose in the space of a camera that has turned."""
    cos, sin = math.cos(turn), math.sin(turn)
    return Pose(
        pose.x * cos - pose.z * sin, pose.lift, pose.x * sin + pose.z * cos, pose.size, pose.yaw + turn, pose.stride
    )

"""Sky, horizon and ground behind the things, for every place and light. Next: `render.py`.

The backdrop is a function of direction alone (azimuth by column, elevation by row), so a pan turns it exactly and an
endless world needs no texture. Cast shadows are the ground's, and are drawn here too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from videosyn.world.layout import FOCAL, HALF_WIDTH, HEIGHT, Camera, Pose, View
from videosyn.world.scene import Scene

RGB = tuple[float, float, float]

SKY: dict[str, tuple[RGB, RGB]] = {
    "noon": ((0.30, 0.55, 0.92), (0.80, 0.91, 0.98)),
    "sunset": ((0.40, 0.28, 0.52), (1.00, 0.60, 0.32)),
    "night": ((0.02, 0.03, 0.10), (0.08, 0.11, 0.25)),
}
"""Colour of the open sky at its top and at the horizon."""
TINT: dict[str, RGB] = {"noon": (1.0, 1.0, 1.0), "sunset": (0.98, 0.72, 0.52), "night": (0.28, 0.29, 0.38)}
"""What the light does to the ground's colour."""
TINT_OF_PLACE: dict[str, dict[str, RGB]] = {
    "studio": {"noon": (1.0, 1.0, 1.0), "sunset": (1.0, 0.85, 0.71), "night": (0.42, 0.43, 0.52)},
    "snow": {"noon": (1.0, 1.0, 1.0), "sunset": (0.97, 0.76, 0.78), "night": (0.30, 0.32, 0.42)},
}
"""The same where lamps or snow soften it."""
GROUND: dict[str, tuple[RGB, RGB]] = {
    "meadow": ((0.38, 0.60, 0.26), (0.46, 0.66, 0.34)),
    "desert": ((0.86, 0.72, 0.46), (0.90, 0.78, 0.56)),
    "snow": ((0.86, 0.91, 0.97), (0.80, 0.87, 0.95)),
    "sea": ((0.14, 0.42, 0.58), (0.26, 0.54, 0.68)),
    "studio": ((0.48, 0.48, 0.49), (0.60, 0.60, 0.61)),
    "abstract": ((0.46, 0.64, 0.66), (0.70, 0.60, 0.70)),
}
"""Colours of the ground near and far; of the abstract world, its two bands."""
HILLS: dict[str, RGB] = {"meadow": (0.26, 0.46, 0.28), "desert": (0.74, 0.55, 0.36), "snow": (0.60, 0.68, 0.82)}
WALL: RGB = (0.86, 0.86, 0.88)
SUN: dict[str, tuple[RGB, float, float]] = {
    "noon": ((1.0, 0.98, 0.80), 0.46, 0.085),
    "sunset": ((1.0, 0.90, 0.55), 0.17, 0.14),
    "night": ((0.93, 0.94, 0.86), 0.46, 0.10),
}
"""Colour; elevation above the horizon, of half the frame's height; radius in halves of the shorter side."""
STAR_CELL = 0.30
STAR_RADIUS = 0.030


def light_direction(scene: Scene) -> tuple[float, float, float]:
    """Unit vector from a thing towards the light: right, up, away from the camera. The sun's side decides the sign."""
    side = math.copysign(1.0, scene.sun)
    x, y, z = {
        "noon": (0.40 * side, 0.80, -0.45),
        "sunset": (0.75 * side, 0.42, -0.50),
        "night": (0.55 * side, 0.65, -0.50),
    }[scene.light]
    norm = math.sqrt(x * x + y * y + z * z)
    return x / norm, y / norm, z / norm


def backdrops(scenes: Sequence[Scene], cameras: Sequence[Camera], view: View, device: torch.device) -> Tensor:
    """The empty world, one picture for each scene and its camera, (N, H, W, 3) floats in [0, 1]."""
    rows, columns = _grid(view, device)
    out = torch.empty(len(scenes), view.height, view.width, 3, device=device)
    for index, (scene, camera) in enumerate(zip(scenes, cameras, strict=True)):
        azimuth = torch.atan(columns / FOCAL) + camera.turn  # (W,)
        elevation = (rows - camera.horizon) / FOCAL  # (H,)
        if scene.place == "abstract":
            out[index] = _waves(scene, azimuth, elevation)
            continue
        ground_rows = int((elevation < 0.5 * view.pixel).sum())
        top = view.height - ground_rows
        cover = (0.5 - elevation[top:] * FOCAL / view.pixel).clamp_(0.0, 1.0)[
            :, None, None
        ]  # the horizon's own row is a mixture
        out[index, :top] = _sky(scene, azimuth, elevation[:top], view)
        ground = _ground(scene, camera, columns, rows[top:])
        out[index, top:] = torch.lerp(out[index, max(top - 1, 0)], ground, cover)
    return out


def shadows(casts: Sequence[Cast], view: View, device: torch.device) -> Tensor:
    """How much light each shadow leaves at every pixel, (n, H, W) in (0, 1]: ellipses, softer from higher up."""
    rows, columns = _grid(view, device)
    facts = torch.tensor([_cast_facts(cast) for cast in casts]).to(device)[:, :, None, None].unbind(1)  # (n, 1, 1) each
    height, horizon, base_x, base_z, cos, sin, long, wide, softness, strength = facts
    depth = FOCAL * height / (horizon - rows[:, None]).clamp_min(1e-3)  # (n, H, 1)
    x, z = columns * (depth / FOCAL) - base_x, depth - base_z  # (n, H, W), (n, H, 1)
    along = (x * cos + z * sin) * (1.0 / long)
    aside = (x * sin - z * cos) * (1.0 / wide)
    spread = torch.addcmul(along * along, aside, aside)
    return 1.0 - strength * ((1.0 + 0.5 * softness - spread) * (1.0 / softness)).clamp_(0.0, 1.0)


@dataclass(frozen=True)
class Cast:
    """A thing that casts a shadow, as one camera sees it; `towards` is the unit vector to the light."""

    pose: Pose
    kind: str
    camera: Camera
    towards: tuple[float, float, float]


def _cast_facts(cast: Cast) -> list[float]:
    """What `shadows` needs to know of a thing: where its ellipse lies, its axes and how dark and soft it is."""
    pose, camera, towards = cast.pose, cast.camera, cast.towards
    tall, wide = HEIGHT[cast.kind] * pose.size, HALF_WIDTH[cast.kind] * pose.size * 0.85
    run_x, run_z = -towards[0] / towards[1], -towards[2] / towards[1]
    run = math.hypot(run_x, run_z)
    fall = pose.lift + 0.30 * tall
    place = (pose.x + run_x * fall, pose.z + run_z * fall, run_x / run, run_z / run)
    softness, strength = 0.5 + 0.5 * pose.lift, 0.48 / (1.0 + 0.35 * pose.lift)
    return [camera.height, camera.horizon, *place, wide + 0.30 * tall * run, wide, softness, strength]


def _grid(view: View, device: torch.device) -> tuple[Tensor, Tensor]:
    """Screen positions of pixel centres: rows from the top (H,), columns from the left (W,)."""
    rows = view.up - (torch.arange(view.height, device=device) + 0.5) * view.pixel
    columns = (torch.arange(view.width, device=device) + 0.5) * view.pixel - view.across
    return rows, columns


def _tint(scene: Scene) -> RGB:
    return TINT_OF_PLACE.get(scene.place, TINT)[scene.light]


def _mix(near: Tensor, colour: RGB, amount: Tensor) -> Tensor:
    return near + (near.new_tensor(colour) - near) * amount[..., None]


def _sky(scene: Scene, azimuth: Tensor, elevation: Tensor, view: View) -> Tensor:
    """Everything above the horizon, (h, W, 3): gradient, sun or moon, stars, clouds, hills; in a studio a wall."""
    phase = 2 * math.pi * scene.backdrop
    if scene.place == "studio":
        seam = torch.sin(azimuth * 14.0 + phase).abs() < 0.16
        shade = torch.where(seam, 0.66, 1.0)[None, :] * (1.0 - 0.35 * elevation.clamp(0.0, 1.0))[:, None]
        return shade[..., None] * shade.new_tensor(WALL) * shade.new_tensor(_tint(scene))
    high, low = (elevation.new_tensor(colour) for colour in SKY[scene.light])
    climb = (elevation * (FOCAL / (view.up * 0.75))).clamp(0.0, 1.0)
    sky = torch.lerp(low, high, climb[:, None])[:, None, :].expand(-1, azimuth.shape[0], -1)  # (h, W, 3)
    if scene.light == "night":
        sky = sky + _stars(scene, azimuth, elevation)[..., None]
    colour, rise, radius = SUN[scene.light]
    across = (azimuth - math.atan(scene.sun * view.across / FOCAL)) * FOCAL
    above = (elevation * FOCAL - rise * view.up * (1.0 - scene.horizon) / 0.68)[:, None]
    distance = (across * across + above * above).sqrt()  # (h, W)
    if scene.light == "sunset":
        sky = _mix(sky, (1.0, 0.78, 0.42), 0.55 * (-distance * 3.0).exp())
    sky = _mix(sky, colour, ((radius - distance) / view.pixel + 0.5).clamp(0.0, 1.0))
    if scene.light == "noon":
        drift = torch.sin(azimuth * 7.0 + phase)[None, :] * torch.sin(elevation * 16.0 + 2 * phase)[:, None]
        drift = drift + 0.5 * torch.sin(azimuth * 17.0 + elevation[:, None] * 9.0 + 3 * phase)
        sky = _mix(sky, (1.0, 1.0, 1.0), 0.7 * ((drift - 0.55) * 2.0).clamp(0.0, 1.0))
    if scene.place in HILLS:
        if scene.place == "snow":
            ridge = 0.085 - 0.075 * (torch.remainder(azimuth * 3.4 + scene.backdrop * 4.0, 1.0) * 2.0 - 1.0).abs()
        elif scene.place == "desert":
            ridge = 0.030 + 0.022 * torch.sin(azimuth * 9.0 + phase)
        else:
            ridge = 0.028 + 0.014 * torch.sin(azimuth * 11.0 + phase) + 0.010 * torch.sin(azimuth * 23.0 + 2 * phase)
        cover = ((ridge - elevation[:, None]) * (FOCAL / view.pixel) + 0.5).clamp(0.0, 1.0)
        (red, green, blue), tint = HILLS[scene.place], _tint(scene)
        sky = _mix(sky, (red * tint[0], green * tint[1], blue * tint[2]), cover)
    return sky.clamp(0.0, 1.0)


def _stars(scene: Scene, azimuth: Tensor, elevation: Tensor) -> Tensor:
    """Brightness of the stars, (h, W): one star in every cell of a grid over the sky, placed by a hash of the cell."""
    u = azimuth * (FOCAL / STAR_CELL) + scene.backdrop * 64.0
    v = elevation * (FOCAL / STAR_CELL)
    cell_u, cell_v = u.floor(), v.floor()
    key = cell_u[None, :] * 12.9898 + cell_v[:, None] * 78.233
    place_u, place_v = 0.25 + 0.5 * _hash(key), 0.25 + 0.5 * _hash(key + 4.7)
    du, dv = (u - cell_u)[None, :] - place_u, (v - cell_v)[:, None] - place_v
    bright = 0.35 + 0.65 * _hash(key + 9.1)
    return bright * (-(du * du + dv * dv) * (STAR_CELL / STAR_RADIUS) ** 2).exp()


def _hash(key: Tensor) -> Tensor:
    """A fraction in [0, 1) for each key, of few enough digits to be the same on every device."""
    return torch.remainder(torch.sin(key.double()) * 437.585, 1.0).float()


def _ground(scene: Scene, camera: Camera, columns: Tensor, rows: Tensor) -> Tensor:
    """Everything below the horizon, (h, W, 3): near to far, with a faint pattern that stands still in the world."""
    depth = FOCAL * camera.height / (camera.horizon - rows).clamp_min(1e-3)  # (h,)
    near, far = (rows.new_tensor(colour) for colour in GROUND[scene.place])
    away = (1.0 - 4.0 / depth.clamp_min(4.0))[:, None, None]
    x = columns * (depth[:, None] / FOCAL)  # (h, W)
    cos, sin = math.cos(camera.turn), math.sin(camera.turn)
    east, north = x * cos + depth[:, None] * sin, depth[:, None] * cos - x * sin
    phase = 2 * math.pi * scene.backdrop
    match scene.place:
        case "sea":
            pattern = torch.sin(north * 4.2 + 0.8 * torch.sin(east * 1.1 + phase))
            weight = 0.06
        case "studio":
            pattern = torch.sin(east * 2.6 + phase)
            weight = 0.03
        case "desert":
            pattern = torch.sin(north * 2.4 + 1.5 * torch.sin(east * 0.7 + phase))
            weight = 0.045
        case _:
            pattern = torch.sin(east * 1.7 + phase) * torch.sin(north * 1.3 + 2 * phase)
            weight = 0.05 if scene.place == "meadow" else 0.03
    fade = (9.0 / depth).clamp(0.0, 1.0)[:, None]
    shade = 1.0 + weight * pattern * fade
    tint = rows.new_tensor(_tint(scene))
    return (torch.lerp(near, far, away) * tint * shade[..., None]).clamp(0.0, 1.0)


def _waves(scene: Scene, azimuth: Tensor, elevation: Tensor) -> Tensor:
    """The abstract world, (H, W, 3): soft rings of two colours around a point of the sky; no horizon, no sun."""
    first, second = (azimuth.new_tensor(colour) for colour in GROUND["abstract"])
    across = (azimuth - (scene.backdrop - 0.5) * 0.8)[None, :]
    distance = (across * across + (elevation[:, None] - 0.25) ** 2 + 0.002).sqrt()
    bands = 0.5 + 0.5 * torch.sin(distance * 20.0 + 1.2 * torch.sin(across * 9.0))
    tint = azimuth.new_tensor(
        {"noon": (1.06, 1.06, 1.06), "sunset": (1.08, 0.78, 0.58), "night": (0.34, 0.36, 0.54)}[scene.light]
    )
    return (torch.lerp(first, second, bands[..., None]) * tint).clamp(0.0, 1.0)

"""Scenes to pixels: rays are marched to signed distance fields, shaded, laid over the backdrop. Enter by `render`.

Work is packed: the rays of all frames of all scenes that show one kind of thing are one tensor, so the number of torch
calls does not grow with the batch. What stands still (a thing at rest, a bounce that repeats, the backdrop of a still
camera) is drawn once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from videosyn.world import styles
from videosyn.world.backdrop import Cast, backdrops, light_direction, shadows
from videosyn.world.footprint import rectangle
from videosyn.world.layout import FOCAL, Camera, Pose, View, lay_out
from videosyn.world.scene import Scene
from videosyn.world.solids import COLOUR_VALUES, SOLIDS, Solid

NUM_STEPS = 20
"""Steps along a ray at most."""
RAYS_AT_ONCE = 1 << 16
"""Rays marched together on a CPU, so that a step's tensors stay in its cache."""
SCENES_AT_ONCE = {"cpu": 4, "cuda": 64}
SHADOWS_AT_ONCE = 32
OUTLINE_PX = 1.3
"""Width of cartoon's outlines at 96 pixels; it grows with the frame."""

KEY = {"noon": (0.74, 0.72, 0.68), "sunset": (0.82, 0.67, 0.53), "night": (0.52, 0.54, 0.62)}
AMBIENT = {"noon": (0.44, 0.46, 0.50), "sunset": (0.44, 0.39, 0.39), "night": (0.27, 0.29, 0.36)}
"""Light from the sun or moon, and from the sky above, on a thing."""


@torch.no_grad()
def render(
    scenes: Sequence[Scene],
    num_frames: int,
    height: int,
    width: int,
    fps: float = 8.0,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Render scenes to video, (B, T, H, W, 3) uint8. One frame (`num_frames` 1) is the clip's first."""
    device = torch.device(device)
    view = View(height, width)
    at_once = SCENES_AT_ONCE.get(device.type, 4)
    out = torch.empty(len(scenes), num_frames, height, width, 3, dtype=torch.uint8, device=device)
    for start in range(0, len(scenes), at_once):
        part = scenes[start : start + at_once]
        out[start : start + at_once] = _render_part(part, num_frames, view, fps, device)
    return out


@dataclass(frozen=True)
class _Instance:
    """A thing in one pose, and the frames (of the whole part) that show it."""

    scene: Scene
    kind: str
    colour: str
    pose: Pose
    camera: Camera
    frames: tuple[int, ...]
    rank: int
    """Order of painting within its scene, far to near."""


def _render_part(scenes: Sequence[Scene], num_frames: int, view: View, fps: float, device: torch.device) -> Tensor:
    layouts = [lay_out(scene, view, num_frames, fps) for scene in scenes]
    picture = _draw_backdrops(scenes, [cameras for cameras, _ in layouts], view, device)  # (B*T, H, W, 3)
    instances = _instances(scenes, layouts, num_frames)
    _darken(picture, instances, view)
    _draw_things(picture, instances, view)
    return _finish(picture, scenes, num_frames).view(len(scenes), num_frames, view.height, view.width, 3)


@torch.no_grad()
def silhouettes(
    scenes: Sequence[Scene],
    num_frames: int,
    height: int,
    width: int,
    fps: float = 8.0,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Which thing each pixel shows, (B, T, H, W) uint8: 1 + its place in `scene.things`, 0 where the backdrop is seen.

    Without the outlines of cartoons. Of a frame half as large, every second pixel's, at a fourth of the cost.
    """
    scenes = [replace(scene, style="plain") for scene in scenes]
    device, view = torch.device(device), View(height, width)
    layouts = [lay_out(scene, view, num_frames, fps) for scene in scenes]
    shown = torch.zeros(len(scenes), num_frames, height * width, dtype=torch.uint8, device=device)
    traced = _traced(_instances(scenes, layouts, num_frames), view, device)
    for rank in sorted(traced):
        for pixels, _, alpha in traced[rank]:
            shown.view(-1)[pixels[alpha >= 0.5]] = rank + 1
    for index, scene in enumerate(scenes):
        order = torch.tensor([0, *(1 + thing for thing in _far_to_near(scene))], dtype=torch.uint8, device=device)
        shown[index] = order[shown[index].long()]
    return shown.view(len(scenes), num_frames, height, width)


def _far_to_near(scene: Scene) -> list[int]:
    """Places in `scene.things` in the order of painting; a thing's rank is its place here."""
    return sorted(range(len(scene.things)), key=lambda thing: -scene.things[thing].depth)


def _instances(
    scenes: Sequence[Scene], layouts: Sequence[tuple[list[Camera], list[list[Pose]]]], num_frames: int
) -> list[_Instance]:
    """Every thing of every scene, once for each pose that frames share."""
    instances: list[_Instance] = []
    for index, (scene, (cameras, poses)) in enumerate(zip(scenes, layouts, strict=True)):
        for rank, thing in enumerate(_far_to_near(scene)):
            shown: dict[tuple[Pose, Camera], list[int]] = {}
            for frame, pose in enumerate(poses[thing]):
                shown.setdefault((_rounded(pose), cameras[frame]), []).append(index * num_frames + frame)
            for (pose, camera), frames in shown.items():
                kind, colour = scene.things[thing].kind, scene.things[thing].colour
                instances.append(_Instance(scene, kind, colour, pose, camera, tuple(frames), rank))
    return instances


def _rounded(pose: Pose) -> Pose:
    """The pose to a ten-thousandth, and its turn and gait within one period, so that repeats are found."""
    yaw = round(pose.yaw % 6.283185307, 4)
    return Pose(
        round(pose.x, 4), round(pose.lift, 4), round(pose.z, 4), round(pose.size, 4), yaw, round(pose.stride % 1.0, 4)
    )


def _draw_backdrops(scenes: Sequence[Scene], cameras: list[list[Camera]], view: View, device: torch.device) -> Tensor:
    whose: list[int] = []
    unique: dict[tuple[int, Camera], int] = {}
    for index, path in enumerate(cameras):
        whose += [unique.setdefault((index, camera), len(unique)) for camera in path]
    drawn = backdrops([scenes[index] for index, _ in unique], [camera for _, camera in unique], view, device)
    return drawn[torch.tensor(whose, device=device)]


def _darken(picture: Tensor, instances: Sequence[_Instance], view: View) -> None:
    """Lay the instances' shadows on the picture (F, H, W, 3), in place. Shadows multiply, so their order is free."""
    for rank in {instance.rank for instance in instances}:
        ranked = [instance for instance in instances if instance.rank == rank]  # no frame shows two of the same rank
        for start in range(0, len(ranked), SHADOWS_AT_ONCE):
            some = ranked[start : start + SHADOWS_AT_ONCE]
            casts = [Cast(each.pose, each.kind, each.camera, light_direction(each.scene)) for each in some]
            shade = shadows(casts, view, picture.device)
            shows = [(index, frame) for index, each in enumerate(some) for frame in each.frames]
            which, frames = (torch.tensor(list(column), device=picture.device) for column in zip(*shows, strict=True))
            picture[frames] *= shade[which][..., None]


def _draw_things(picture: Tensor, instances: Sequence[_Instance], view: View) -> None:
    """Lay all instances over the picture (F, H, W, 3), in place, far to near."""
    traced = _traced(instances, view, picture.device)
    flat = picture.view(-1, 3)
    for rank in sorted(traced):
        for pixels, colour, alpha in traced[rank]:
            flat[pixels] = torch.lerp(flat[pixels], colour, alpha[:, None])


def _traced(
    instances: Sequence[_Instance], view: View, device: torch.device
) -> dict[int, list[tuple[Tensor, Tensor, Tensor]]]:
    """What `_trace` gives for all instances, by rank."""
    by_rank: dict[int, list[tuple[Tensor, Tensor, Tensor]]] = {}
    for rank, kind in sorted({(instance.rank, instance.kind) for instance in instances}):
        chosen = [instance for instance in instances if (instance.rank, instance.kind) == (rank, kind)]
        for group in _grouped(chosen, view, device):
            by_rank.setdefault(rank, []).append(_trace(group, SOLIDS[kind], view, device))
    return by_rank


def _rectangle(instance: _Instance, view: View) -> tuple[int, int, int, int]:
    """The pixels a thing and its outline may touch: left, top, width, height; empty when it is out of sight."""
    slack = 2 + int(OUTLINE_PX * min(view.height, view.width) / 96)
    return rectangle(instance.kind, instance.pose, instance.camera, view, slack)


def _grouped(
    instances: Sequence[_Instance], view: View, device: torch.device
) -> list[list[tuple[_Instance, tuple[int, int, int, int]]]]:
    """Instances with their rectangles, in groups of at most RAYS_AT_ONCE rays on a CPU."""
    limit = RAYS_AT_ONCE if device.type == "cpu" else 1 << 26
    groups: list[list[tuple[_Instance, tuple[int, int, int, int]]]] = [[]]
    rays = 0
    for instance in instances:
        rectangle = _rectangle(instance, view)
        count = rectangle[2] * rectangle[3]
        if rays and rays + count > limit:
            groups.append([])
            rays = 0
        if count:
            groups[-1].append((instance, rectangle))
            rays += count
    return [group for group in groups if group]


def _spread(counts: Tensor) -> tuple[Tensor, Tensor]:
    """For items of `counts` elements: every element's item and its place within the item, both (sum of counts,)."""
    owner = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
    starts = counts.cumsum(0) - counts
    return owner, torch.arange(len(owner), device=counts.device) - starts[owner]


def _trace(
    group: list[tuple[_Instance, tuple[int, int, int, int]]], solid: Solid, view: View, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """March all rays of instances of one kind -> pixels of the picture (P,), colours (P, 3), coverage (P,)."""
    facts = torch.tensor([_facts(instance) for instance, _ in group]).to(device)  # (n, 26)
    rectangles = torch.tensor([rectangle for _, rectangle in group]).to(device)  # (n, 4)
    owner, place = _spread(rectangles[:, 2] * rectangles[:, 3])  # (R,)
    rect = rectangles[owner]
    column, row = rect[:, 0] + place % rect[:, 2], rect[:, 1] + place // rect[:, 2]
    fact = facts[owner].T  # (26, R)
    cos, sin, horizon = fact[0], fact[1], fact[3]
    # The ray in the thing's own space: from the camera at `origin`, along a unit direction.
    sx = (column + 0.5) * view.pixel - view.across
    sy = view.up - (row + 0.5) * view.pixel - horizon
    norm = (sx * sx + sy * sy + FOCAL * FOCAL).rsqrt()
    dx, dy, dz = (sx * cos + FOCAL * sin) * norm, sy * norm, (FOCAL * cos - sx * sin) * norm
    ox, oy, oz, stride = fact[4], fact[5], fact[6], fact[7]
    pixel_angle = view.pixel * norm * FOCAL * norm  # what a pixel spans at unit distance along the ray
    outline = fact[8]
    slack = 3.0 * (1.0 + OUTLINE_PX) * view.pixel
    enter, leave = _box_span(ox, oy, oz, dx, dy, dz, solid, slack)
    alive = (enter < leave).nonzero()[:, 0]
    if len(alive) == 0:
        nothing = torch.empty(0, device=device)
        return nothing.long(), nothing.view(0, 1).expand(0, 3), nothing
    ray = [value[alive] for value in (ox, oy, oz, dx, dy, dz, stride, pixel_angle, enter, leave)]
    nearest, at = _march(solid, ray)
    # Coverage: 1 where the ray meets the thing, falling to 0 one pixel outside; cartoon adds a dark line outside.
    alpha = (1.0 - nearest).clamp_(0.0, 1.0)
    line = outline[alive]
    total = torch.where(line > 0, (1.0 + line - nearest).clamp_(0.0, 1.0), alpha)
    kept = (total > 0.004).nonzero()[:, 0]
    total, inside = total[kept], (alpha[kept] / total[kept])
    at, rays = at[kept], alive[kept]
    x, y, z = (ox[rays] + dx[rays] * at, oy[rays] + dy[rays] * at, oz[rays] + dz[rays] * at)
    colour = _shade(solid, x, y, z, stride[rays], fact[:, rays])
    drawn = (outline[rays] > 0)[:, None]  # cartoon: the line outside, then the thing
    colour = torch.where(drawn, torch.lerp(torch.full_like(colour, 0.06), colour, inside[:, None]), colour)
    # Every frame that shows an instance gets its pixels.
    pixel = row[rays] * view.width + column[rays]
    counts = torch.bincount(owner[rays], minlength=len(group))
    shows = [(index, frame) for index, (instance, _) in enumerate(group) for frame in instance.frames]
    which, frames = (torch.tensor(list(column), device=device) for column in zip(*shows, strict=True))
    show, nth = _spread(counts[which])
    source = (counts.cumsum(0) - counts)[which][show] + nth
    target = pixel[source] + frames[show] * (view.height * view.width)
    return target, colour[source], total[source]


def _facts(instance: _Instance) -> list[float]:
    """What a ray needs to know of its instance; `_trace` and `_shade` read it by row."""
    pose, camera, scene = instance.pose, instance.camera, instance.scene
    yaw = torch.tensor(pose.yaw, dtype=torch.float64)
    cos, sin = float(yaw.cos()), float(yaw.sin())
    dx, dy, dz = -pose.x, camera.height - pose.lift, -pose.z
    origin = ((dx * cos + dz * sin) / pose.size, dy / pose.size, (dz * cos - dx * sin) / pose.size)
    light = light_direction(scene)
    local_light = (light[0] * cos + light[2] * sin, light[1], light[2] * cos - light[0] * sin)
    cartoon = scene.style == "cartoon"
    return [
        cos, sin, pose.size, camera.horizon, *origin, pose.stride,
        OUTLINE_PX if cartoon else 0.0,
        *local_light, *KEY[scene.light], *AMBIENT[scene.light], *COLOUR_VALUES[instance.colour],
    ]  # fmt: skip


def _box_span(
    ox: Tensor, oy: Tensor, oz: Tensor, dx: Tensor, dy: Tensor, dz: Tensor, solid: Solid, slack: float
) -> tuple[Tensor, Tensor]:
    """Distances along the rays at which they enter and leave the solid's box, grown by `slack`."""
    enter = torch.full_like(ox, 0.1)
    leave = torch.full_like(ox, 1e3)
    half_x, half_z = solid.half_extent
    for o, d, low, high in (
        (ox, dx, -half_x - slack, half_x + slack),
        (oy, dy, -slack, solid.height + slack),
        (oz, dz, -half_z - slack, half_z + slack),
    ):
        inverse = 1.0 / torch.where(d.abs() < 1e-9, 1e-9, d)
        first, second = (low - o) * inverse, (high - o) * inverse
        enter = torch.maximum(enter, torch.minimum(first, second))
        leave = torch.minimum(leave, torch.maximum(first, second))
    return enter, leave


def _march(solid: Solid, ray: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Sphere tracing: the nearest each ray comes to the surface, in pixels, and where along it that is. Both (R,)."""
    nearest = torch.full_like(ray[0], 1e3)
    at = ray[8].clone()
    index: Tensor | None = None
    ox, oy, oz, dx, dy, dz, stride, pixel_angle, distance, leave = ray
    low, where = nearest.clone(), at.clone()
    for step in range(NUM_STEPS):
        gap = solid.distance(
            torch.addcmul(ox, dx, distance), torch.addcmul(oy, dy, distance), torch.addcmul(oz, dz, distance), stride
        )
        pixels = gap / (pixel_angle * distance)
        closer = pixels < low
        low, where = torch.where(closer, pixels, low), torch.where(closer, distance, where)
        distance = distance + gap
        if step in (2, 5, 9, 13, NUM_STEPS - 1):
            keep = ((low > 0.08) & (distance < leave)).nonzero()[:, 0]
            if index is None:
                nearest, at = low, where
                index = keep
            else:
                nearest[index], at[index] = low, where
                index = index[keep]
            if len(keep) == 0:
                break
            ox, oy, oz, dx, dy, dz, stride, pixel_angle, distance, leave, low, where = (
                value[keep] for value in (ox, oy, oz, dx, dy, dz, stride, pixel_angle, distance, leave, low, where)
            )
    return (nearest - 0.08).clamp_min_(0.0), at


def _shade(solid: Solid, x: Tensor, y: Tensor, z: Tensor, stride: Tensor, fact: Tensor) -> Tensor:
    """Colour of surface points, (R, 3): paint, light from the sun on the normal, light from the sky above."""
    e = 0.004
    # The gradient from four corners of a tetrahedron.
    d1 = solid.distance(x + e, y - e, z - e, stride)
    d2 = solid.distance(x - e, y - e, z + e, stride)
    d3 = solid.distance(x - e, y + e, z - e, stride)
    d4 = solid.distance(x + e, y + e, z + e, stride)
    nx, ny, nz = d1 - d2 - d3 + d4, d3 + d4 - d1 - d2, d2 + d4 - d1 - d3
    norm = (nx * nx + ny * ny + nz * nz + 1e-12).rsqrt()
    sun = ((nx * fact[9] + ny * fact[10] + nz * fact[11]) * norm).clamp_(0.0, 1.0)
    sky = 0.75 + 0.25 * ny * norm
    flat = fact[8] > 0
    sun = torch.where(flat, ((sun - 0.35) * 12.0).clamp(0.0, 1.0) * 0.75 + 0.1, sun)
    sky = torch.where(flat, 0.9, sky)
    colour = solid.paint(x, y, z, fact[18:21].T)
    return (colour * (sun[:, None] * fact[12:15].T + sky[:, None] * fact[15:18].T)).clamp_(0.0, 1.0)


def _finish(picture: Tensor, scenes: Sequence[Scene], num_frames: int) -> Tensor:
    """Styles, and bytes."""
    for style, apply in (("pixel art", styles.pixel_art), ("cartoon", styles.cartoon), ("painterly", styles.painterly)):
        for index, scene in enumerate(scenes):
            if scene.style == style:
                frames = slice(index * num_frames, (index + 1) * num_frames)
                picture[frames] = apply(picture[frames])
    return picture.mul_(255.0).add_(0.5).clamp_(0.0, 255.0).to(torch.uint8)

"""The shapes: a signed distance and a paint for every kind of thing. Next: `render.py`.

Space of a thing: y up from its base at 0 to about 2, front towards -z. A distance may fall short of the true one
outside (a maximum of half-spaces does) but never exceeds it, so that marching along a ray never steps through a
surface. `stride` is the gait's phase in turns; only a walking person reads it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Distance = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
Paint = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Solid:
    """A kind of thing. `paint` maps points (R,) x 3 and the thing's colour (R, 3) to the colours there (R, 3)."""

    distance: Distance
    paint: Paint
    half_extent: tuple[float, float]
    """Half extents of its box in x and z, at any stride."""
    height: float


def _length(a: Tensor, b: Tensor) -> Tensor:
    return torch.addcmul(a * a, b, b).sqrt_()


def _length3(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    return torch.addcmul(torch.addcmul(a * a, b, b), c, c).sqrt_()


def _sphere(x: Tensor, y: Tensor, z: Tensor, centre: float, radius: float) -> Tensor:
    return _length3(x, y - centre, z) - radius


def _frustum(x: Tensor, y: Tensor, z: Tensor, low: float, high: float, wide: float, narrow: float) -> Tensor:
    """A cone cut off above: radius `wide` at height `low`, `narrow` at `high`."""
    slope = (wide - narrow) / (high - low)
    norm = (1.0 + slope * slope) ** -0.5
    side = (_length(x, z) + (y - low) * slope - wide) * norm
    return torch.maximum(side, (y - 0.5 * (low + high)).abs_() - 0.5 * (high - low))


def _box(x: Tensor, y: Tensor, z: Tensor, half: tuple[float, float, float], centre: float) -> Tensor:
    return torch.maximum(torch.maximum(x.abs() - half[0], z.abs() - half[2]), (y - centre).abs_() - half[1])


def _limb(
    x: Tensor, y: Tensor, z: Tensor, from_x: float, from_y: float, swing: Tensor, length: float, radius: float
) -> Tensor:
    """A capsule hanging from (from_x, from_y, 0), swung by the angle `swing` towards the front."""
    dy, dz = -swing.cos(), -swing.sin()
    py, px = y - from_y, x - from_x
    along = (py * dy + z * dz).clamp_(0.0, length)
    return _length3(px, py - along * dy, z - along * dz) - radius


# The distances.


def _ball(x: Tensor, y: Tensor, z: Tensor, stride: Tensor) -> Tensor:
    return _sphere(x, y, z, 0.86, 0.86)


def _cube(x: Tensor, y: Tensor, z: Tensor, stride: Tensor) -> Tensor:
    return _box(x, y, z, (0.70, 0.72, 0.70), 0.72)


def _cone(x: Tensor, y: Tensor, z: Tensor, stride: Tensor) -> Tensor:
    return _frustum(x, y, z, 0.0, 1.9, 0.86, 0.0)


def _cylinder(x: Tensor, y: Tensor, z: Tensor, stride: Tensor) -> Tensor:
    return _frustum(x, y, z, 0.0, 1.6, 0.66, 0.66)


def _ring(x: Tensor, y: Tensor, z: Tensor, stride: Tensor) -> Tensor:
    return _length(_length(x, y - 0.92) - 0.64, z) - 0.28


def _diamond(x: Tensor, y: Tensor, z: Tensor, stride: Tensor) -> Tensor:
    return ((x.abs() + z.abs()) * (1 / 0.78) + (y - 1.02).abs_() * (1 / 1.02) - 1.0) * 0.486


def _house(x: Tensor, y: Tensor, z: Tensor, stride: Tensor) -> Tensor:
    walls = _box(x, y, z, (0.80, 0.50, 0.62), 0.50)
    eaves = torch.maximum(x.abs() - 0.90, 0.98 - y)
    roof = torch.maximum(((y - 1.70) * 0.76 + z.abs() * (0.76 * 0.95)) * 0.954, eaves)
    return torch.minimum(walls, roof)


def _tree(x: Tensor, y: Tensor, z: Tensor, stride: Tensor) -> Tensor:
    trunk = _frustum(x, y, z, 0.0, 0.5, 0.17, 0.17)
    lower = _frustum(x, y, z, 0.38, 1.45, 0.78, 0.0)
    upper = _frustum(x, y, z, 1.02, 2.06, 0.58, 0.0)
    return torch.minimum(torch.minimum(trunk, lower), upper)


def _boat(x: Tensor, y: Tensor, z: Tensor, stride: Tensor) -> Tensor:
    beam = 0.62 + y * 0.75
    hull = (_length(x, z * 2.4) - beam) * 0.36
    hull = torch.maximum(hull, (y - 0.25).abs_() - 0.25)
    mast = torch.maximum(_length(x + 0.04, z) - 0.055, (y - 1.15).abs_() - 0.80)
    sail = torch.maximum(((x - 0.08) * 1.2 + (y - 1.85) * 0.72) * 0.714, torch.maximum(0.05 - x, 0.62 - y))
    sail = torch.maximum(sail, z.abs() - 0.045)
    return torch.minimum(torch.minimum(hull, mast), sail)


def _snowman(x: Tensor, y: Tensor, z: Tensor, stride: Tensor) -> Tensor:
    body = torch.minimum(_sphere(x, y, z, 0.52, 0.58), _sphere(x, y, z, 1.20, 0.43))
    body = torch.maximum(body, -y)
    head = torch.minimum(body, _sphere(x, y, z, 1.70, 0.30))
    brim = _frustum(x, y, z, 1.88, 1.95, 0.34, 0.34)
    hat = _frustum(x, y, z, 1.90, 2.18, 0.21, 0.21)
    nose = _length(x, y - 1.70) - 0.16 * ((z + 0.62) * 2.6).clamp(0.0, 1.0)
    nose = torch.maximum(nose * 0.9, (z + 0.42).abs_() - 0.20)
    return torch.minimum(torch.minimum(head, nose), torch.minimum(brim, hat))


def _rocket(x: Tensor, y: Tensor, z: Tensor, stride: Tensor) -> Tensor:
    body = _frustum(x, y, z, 0.30, 1.45, 0.42, 0.42)
    nose = _frustum(x, y, z, 1.42, 2.14, 0.42, 0.0)
    outward = torch.maximum(x.abs(), z.abs())
    reach = torch.maximum((outward + (y - 0.85) * 0.62) * 0.85 - 0.36, (y - 0.45).abs_() - 0.45)
    fins = torch.maximum(torch.maximum(reach, outward - 0.74), torch.minimum(x.abs(), z.abs()) - 0.06)
    return torch.minimum(torch.minimum(body, nose), fins)


def _lighthouse(x: Tensor, y: Tensor, z: Tensor, stride: Tensor) -> Tensor:
    tower = _frustum(x, y, z, 0.0, 1.5, 0.52, 0.30)
    gallery = _frustum(x, y, z, 1.46, 1.56, 0.42, 0.42)
    lamp = _frustum(x, y, z, 1.5, 1.84, 0.22, 0.22)
    roof = _frustum(x, y, z, 1.82, 2.14, 0.34, 0.0)
    return torch.minimum(torch.minimum(tower, gallery), torch.minimum(lamp, roof))


def _person(x: Tensor, y: Tensor, z: Tensor, stride: Tensor) -> Tensor:
    swing = 0.62 * torch.sin(stride * (2 * torch.pi))
    still = torch.zeros_like(swing)
    torso = _limb(x * 0.82, y, z, 0.0, 1.34, still, 0.42, 0.24)
    head = _sphere(x, y, z, 1.77, 0.26)
    legs = torch.minimum(_limb(x, y, z, -0.13, 0.84, swing, 0.72, 0.13), _limb(x, y, z, 0.13, 0.84, -swing, 0.72, 0.13))
    arms = torch.minimum(
        _limb(x, y, z, -0.33, 1.38, -swing, 0.55, 0.095), _limb(x, y, z, 0.33, 1.38, swing, 0.55, 0.095)
    )
    return torch.minimum(torch.minimum(torso, head), torch.minimum(legs, arms))


# The paints.

_BROWN, _ROOF, _DARK, _GREY = (0.42, 0.27, 0.15), (0.36, 0.20, 0.16), (0.14, 0.14, 0.17), (0.46, 0.47, 0.50)
_CANVAS, _LAMP, _CARROT, _SKIN, _GLASS = (
    (0.93, 0.92, 0.87),
    (1.0, 0.92, 0.45),
    (0.96, 0.50, 0.10),
    (0.90, 0.70, 0.55),
    (0.62, 0.85, 0.95),
)


def _where(mask: Tensor, colour: tuple[float, float, float] | Tensor, otherwise: Tensor) -> Tensor:
    value = colour if isinstance(colour, Tensor) else otherwise.new_tensor(colour)
    return torch.where(mask[:, None], value, otherwise)


def _panels(x: Tensor, y: Tensor, z: Tensor, colour: Tensor) -> Tensor:
    """Two opposite quarters in a deeper shade: what makes a spin visible on a body of revolution."""
    return _where(x * z > 0, colour * 0.55, colour)


def _plain(x: Tensor, y: Tensor, z: Tensor, colour: Tensor) -> Tensor:
    return colour


def _paint_house(x: Tensor, y: Tensor, z: Tensor, colour: Tensor) -> Tensor:
    front = z < -0.60
    out = _where(front & (x.abs() < 0.15) & (y < 0.62), _BROWN, colour)
    out = _where(front & ((x.abs() - 0.50).abs() < 0.15) & ((y - 0.58).abs() < 0.15), _LAMP, out)
    roof = (y > 1.0) & ((y - 1.70) + z.abs() * 0.95 > -0.12) | (y > 0.97) & ((x.abs() > 0.81) | (z.abs() > 0.63))
    return _where(roof, _ROOF, out)


def _paint_tree(x: Tensor, y: Tensor, z: Tensor, colour: Tensor) -> Tensor:
    return _where((y < 0.40) & (x * x + z * z < 0.05), _BROWN, _panels(x, y, z, colour))


def _paint_boat(x: Tensor, y: Tensor, z: Tensor, colour: Tensor) -> Tensor:
    above = _where(x < 0.045, _BROWN, colour.new_tensor(_CANVAS).expand_as(colour))
    return _where(y > 0.505, above, colour)


def _paint_snowman(x: Tensor, y: Tensor, z: Tensor, colour: Tensor) -> Tensor:
    face = (z < -0.2) & ((x.abs() - 0.12).abs() < 0.06) & ((y - 1.80).abs() < 0.06)
    buttons = (z < -0.3) & (x.abs() < 0.07) & (((y - 1.08).abs() < 0.07) | ((y - 1.32).abs() < 0.07))
    out = _where(face | buttons | (y > 1.885), _DARK, colour)
    nose = (z < -0.24) & (x * x + (y - 1.70) ** 2 < 0.03) & (x * x + (y - 1.70) ** 2 + z * z > 0.098)
    return _where(nose, _CARROT, out)


def _paint_rocket(x: Tensor, y: Tensor, z: Tensor, colour: Tensor) -> Tensor:
    out = _where((y > 1.45) | (x * x + z * z > 0.19), _GREY, colour)
    return _where((z < 0) & (x * x + (y - 1.08) ** 2 < 0.045), _GLASS, out)


def _paint_lighthouse(x: Tensor, y: Tensor, z: Tensor, colour: Tensor) -> Tensor:
    pale = _where(colour.amin(1) > 0.8, (0.50, 0.52, 0.56), torch.full_like(colour, 0.94))
    stripe = ((y > 0.36) & (y < 0.66)) | ((y > 0.98) & (y < 1.26))
    out = _where(stripe, pale, _panels(x, y, z, colour))
    out = _where(y > 1.455, _DARK, out)
    return _where((y > 1.56) & (y < 1.82), _LAMP, out)


def _paint_person(x: Tensor, y: Tensor, z: Tensor, colour: Tensor) -> Tensor:
    out = _where(y < 0.80, colour * 0.72, colour)
    out = _where(y < 0.14, _DARK, out)
    out = _where(y > 1.60, _SKIN, out)
    return _where((y > 1.86) | ((y > 1.66) & (z > 0.06)), _BROWN, out)


SOLIDS: dict[str, Solid] = {
    "ball": Solid(_ball, _panels, (0.86, 0.86), 1.72),
    "cube": Solid(_cube, _plain, (0.70, 0.70), 1.44),
    "cone": Solid(_cone, _panels, (0.86, 0.86), 1.90),
    "cylinder": Solid(_cylinder, _panels, (0.66, 0.66), 1.60),
    "ring": Solid(_ring, _plain, (0.92, 0.28), 1.84),
    "diamond": Solid(_diamond, _plain, (0.78, 0.78), 2.04),
    "house": Solid(_house, _paint_house, (0.90, 0.76), 1.72),
    "tree": Solid(_tree, _paint_tree, (0.78, 0.78), 2.06),
    "boat": Solid(_boat, _paint_boat, (1.00, 0.42), 1.95),
    "snowman": Solid(_snowman, _paint_snowman, (0.58, 0.62), 2.18),
    "rocket": Solid(_rocket, _paint_rocket, (0.74, 0.74), 2.14),
    "lighthouse": Solid(_lighthouse, _paint_lighthouse, (0.52, 0.52), 2.14),
    "person": Solid(_person, _paint_person, (0.48, 0.60), 2.03),
}
"""Every kind of the vocabulary, in its order."""

COLOUR_VALUES: dict[str, tuple[float, float, float]] = {
    "red": (0.88, 0.07, 0.07),
    "orange": (0.98, 0.47, 0.03),
    "yellow": (0.97, 0.88, 0.08),
    "green": (0.06, 0.62, 0.14),
    "blue": (0.08, 0.22, 0.92),
    "purple": (0.48, 0.12, 0.74),
    "pink": (1.0, 0.48, 0.72),
    "white": (0.95, 0.95, 0.95),
}
"""Surface colour of each colour word, in display space, 0 to 1."""

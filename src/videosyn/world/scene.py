"""What a clip shows, as data: things, place, light, camera, style, and the accidents of layout. Next: `caption.py`.

A scene is drawn from a seed with `random.Random` alone, so the same seed gives the same scene on every machine. Nothing
here depends on the size, shape or length a scene will be rendered at: positions are fractions of the room the frame
leaves.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Literal, TypeVar

from videosyn.world.vocabulary import CAMERAS, COLOURS, KINDS, LIGHTS, MOTIONS, RELATIONS, SCENES, STYLES

T = TypeVar("T")
Split = Literal["train", "held-out", "any"]

HELD_OUT_ONE_IN = 10
"""One in so many (object, colour, scene, motion) combinations never appears in training."""


@dataclass(frozen=True)
class Thing:
    """One object of a scene.

    Fractions are of the room the frame and the thing's own size leave, so any aspect ratio works.
    """

    kind: str
    colour: str
    motion: str
    place: float
    """Where it stands across the frame: -1 left, 0 centre, 1 right."""
    size: float
    """Height of a kind of canonical height 2, in units of the world; on screen about size / 3 of the shorter side."""
    depth: float
    """Distance from the camera in units of the world: 5 is near, 8 is far."""
    yaw: float
    """Turn about the vertical, radians."""
    lift: float = 0.0
    """Height of its base above the ground in units of the world."""
    travel: float = 1.0
    """How much of the room a motion uses, 0 to 1."""


@dataclass(frozen=True)
class Scene:
    """Everything a clip shows. `relation` is of things[0] to things[1]; three things stand in a row, left to right."""

    things: tuple[Thing, ...]
    place: str
    light: str
    camera: str
    style: str
    relation: str | None
    horizon: float
    """Height of the horizon above the middle, as a fraction of half the frame's height."""
    sun: float
    """Where the sun or moon stands across the frame, -1 to 1; its sign is the side the light comes from."""
    backdrop: float
    """Which part of the endless backdrop (hills, clouds, stars) is in view, 0 to 1."""
    seed: int

    def __post_init__(self) -> None:
        for name, value, table in (
            ("place", self.place, SCENES),
            ("light", self.light, LIGHTS),
            ("style", self.style, STYLES),
        ):
            if value not in table:
                raise ValueError(f"{name} must be one of {', '.join(table)}, got {value!r}")
        if self.relation is not None and self.relation not in RELATIONS:
            raise ValueError(f"relation must be one of {', '.join(RELATIONS)}, got {self.relation!r}")
        if not 1 <= len(self.things) <= 3:
            raise ValueError(f"a scene has 1 to 3 things, got {len(self.things)}")


def held_out(kind: str, colour: str, place: str, motion: str) -> bool:
    """Whether this combination is kept from training: one in HELD_OUT_ONE_IN, by a stable hash."""
    return zlib.crc32(f"{kind}|{colour}|{place}|{motion}".encode()) % HELD_OUT_ONE_IN == 0


def is_held_out(scene: Scene) -> bool:
    """Whether any thing of the scene is a held-out combination."""
    return any(held_out(thing.kind, thing.colour, scene.place, thing.motion) for thing in scene.things)


_ACROSS = {"left": "right", "right": "left", "left of": "right of", "right of": "left of"}
_ACROSS |= {"pan left": "pan right", "pan right": "pan left"}


def mirrored(scene: Scene) -> Scene:
    """What the scene shows when left and right are exchanged; only the backdrop's accidents are not the same."""
    things = [
        replace(thing, motion=_ACROSS.get(thing.motion, thing.motion), place=-thing.place, yaw=-thing.yaw)
        for thing in scene.things
    ]
    return replace(
        scene,
        things=tuple(things if len(things) < 3 else reversed(things)),
        camera=_ACROSS.get(scene.camera, scene.camera),
        relation=_ACROSS.get(scene.relation, scene.relation) if scene.relation else None,
        sun=-scene.sun,
    )


def sample_scene(
    seed: int,
    split: Split = "any",
    num_things: int | None = None,
    style: str | None = None,
    camera: str | None = None,
) -> Scene:
    """Draw the scene of a seed. `split` "train" never shows a held-out combination, "held-out" always does.

    `num_things` (1 to 3), `style` and `camera` fix those choices; a camera that a scene's motion forbids (things that
    cross the frame are filmed by a still camera) redraws the scene. Raises ValueError for what no scene has: three
    things stand in a row, and the camera with them.
    """
    if num_things is not None and not 1 <= num_things <= 3:
        raise ValueError(f"a scene has 1 to 3 things, got {num_things}")
    if camera is not None and camera not in CAMERAS:
        raise ValueError(f"camera must be one of {', '.join(CAMERAS)}, got {camera!r}")
    if num_things == 3 and camera not in (None, "still"):
        raise ValueError(f"three things are filmed by a still camera, got {camera!r}: ask for 1 or 2 things")
    rng = Random(seed)
    while True:
        scene = _draw(rng, seed, num_things, style, camera)
        fits = camera is None or scene.camera == camera
        if fits and (split == "any" or is_held_out(scene) == (split == "held-out")):
            return scene


def _draw(rng: Random, seed: int, num_things: int | None, style: str | None, camera: str | None) -> Scene:
    count = num_things or _weighted(rng, {1: 0.55, 2: 0.34, 3: 0.11})
    pan_share = 0.4 if camera is None else (0.0 if camera == "still" else 1.0)
    relation: str | None = None
    if count == 1:
        things: tuple[Thing, ...] = (_single(rng),)
    elif count == 2:
        relation = _weighted(
            rng,
            {
                "left of": 0.2,
                "right of": 0.2,
                "in front of": 0.13,
                "behind": 0.13,
                "above": 0.12,
                "passes behind": 0.11,
                "collides with": 0.11,
            },
        )
        things = _pair(rng, relation)
    else:
        things = _row(rng)
    can_pan = count < 3 and not any(thing.motion in ("left", "right") for thing in things)
    panned = can_pan and rng.random() < pan_share
    direction = _pick(rng, ("pan left", "pan right"))
    return Scene(
        things=things,
        place=_pick(rng, tuple(SCENES)),
        light=_weighted(rng, {"noon": 0.4, "sunset": 0.3, "night": 0.3}),
        camera=direction if panned else "still",
        style=style or _weighted(rng, {"plain": 0.52, "pixel art": 0.16, "cartoon": 0.16, "painterly": 0.16}),
        relation=relation,
        horizon=_uniform(rng, 0.26, 0.38),
        sun=_pick(rng, (-1.0, 1.0)) * _uniform(rng, 0.45, 0.75),
        backdrop=rng.random(),
        seed=seed,
    )


def _single(rng: Random) -> Thing:
    kind = _pick(rng, tuple(KINDS))
    if kind == "person":
        motion = _weighted(
            rng,
            {"left": 0.3, "right": 0.3, "rests": 0.15, "bounces": 0.1, "spins": 0.05, "grows": 0.05, "shrinks": 0.05},
        )
    else:
        motion = _pick(rng, tuple(MOTIONS))
    size = _uniform(rng, 1.1, 1.4)
    if motion in ("up", "down", "bounces"):
        size *= 0.85
    return _thing(rng, kind, motion, place=_uniform(rng, -0.45, 0.45), size=size, depth=_uniform(rng, 5.8, 6.2))


def _pair(rng: Random, relation: str) -> tuple[Thing, Thing]:
    kinds = [_pick(rng, tuple(KINDS)), _pick(rng, tuple(KINDS))]
    first = _pick(rng, tuple(COLOURS))
    second = _pick(rng, tuple(COLOURS))
    while second == first and kinds[0] == kinds[1]:
        second = _pick(rng, tuple(COLOURS))
    size = _uniform(rng, 0.82, 0.98)
    motion = "rests"
    if relation in ("left of", "right of"):
        motion = _weighted(rng, {"rests": 0.5, "bounces": 0.25, "spins": 0.25})
        side = -1.0 if relation == "left of" else 1.0
        gap = _uniform(rng, 0.62, 0.74)
        shift = _uniform(rng, -0.1, 0.1)
        a = {"place": side * gap + shift, "size": size, "depth": 6.0}
        b = {"place": -side * gap + shift, "size": _uniform(rng, 0.82, 0.98), "depth": 6.0}
    elif relation in ("in front of", "behind"):
        side = _pick(rng, (-1.0, 1.0))
        offset = _uniform(rng, 0.36, 0.46)
        near = {"place": side * offset, "size": size, "depth": _uniform(rng, 5.0, 5.2)}
        far = {"place": -side * offset * 0.8, "size": size * 1.15, "depth": _uniform(rng, 7.6, 8.0)}
        a, b = (near, far) if relation == "in front of" else (far, near)
    elif relation == "above":
        place = _uniform(rng, -0.3, 0.3)
        b = {"place": place, "size": size * 0.86, "depth": 6.0}
        a = {"place": place, "size": size * 0.82, "depth": 6.0, "lift": size * 1.75 + _uniform(rng, 0.25, 0.4)}
    elif relation == "passes behind":
        motion = _pick(rng, ("left", "right"))
        b = {"place": _uniform(rng, -0.12, 0.12), "size": size, "depth": _uniform(rng, 5.0, 5.2)}
        a = {"place": 0.0, "size": size * 1.15, "depth": _uniform(rng, 7.6, 8.0)}
    else:
        motion = _pick(rng, ("left", "right"))
        a = {"place": 0.0, "size": size * 0.85, "depth": 6.0}
        b = {"place": 0.0, "size": size * 0.85, "depth": 6.0}
    second_motion = {"left": "right", "right": "left"}[motion] if relation == "collides with" else "rests"
    one = _thing(rng, kinds[0], motion, **a)
    two = _thing(rng, kinds[1], second_motion, **b)
    return replace(one, colour=first), replace(two, colour=second)


def _row(rng: Random) -> tuple[Thing, ...]:
    things: list[Thing] = []
    shift = _uniform(rng, -0.05, 0.05)
    for place in (-0.98, 0.0, 0.98):
        thing = _thing(
            rng, _pick(rng, tuple(KINDS)), "rests", place=place * 0.95 + shift, size=_uniform(rng, 0.68, 0.8), depth=6.0
        )
        while any((thing.kind, thing.colour) == (other.kind, other.colour) for other in things):
            thing = replace(thing, colour=_pick(rng, tuple(COLOURS)))
        things.append(thing)
    return tuple(things)


def _thing(rng: Random, kind: str, motion: str, place: float, size: float, depth: float, lift: float = 0.0) -> Thing:
    """A thing of random colour, turned to show what tells its kind (two faces of a cube, the hole of a ring)."""
    side = _pick(rng, (-1.0, 1.0))
    turn = _uniform(rng, -1.0, 1.0)
    if kind == "cube":
        yaw = 0.785 + 0.3 * turn
    elif kind == "house":
        yaw = side * (0.55 + 0.2 * turn)
    elif kind == "person":
        yaw = {"left": -1.2, "right": 1.2}.get(motion, 0.4 * turn)
    else:
        yaw = 0.4 * turn
    colour = _pick(rng, tuple(COLOURS))
    return Thing(kind, colour, motion, place, size, depth, yaw, lift, travel=_uniform(rng, 0.85, 1.0))


def _pick(rng: Random, options: Sequence[T]) -> T:
    """Uniform choice through `random()` alone, whose stream Python promises not to change."""
    return options[int(rng.random() * len(options))]


def _weighted(rng: Random, weights: dict[T, float]) -> T:
    point = rng.random() * sum(weights.values())
    for option, weight in weights.items():
        point -= weight
        if point < 0:
            return option
    return next(reversed(weights))


def _uniform(rng: Random, low: float, high: float) -> float:
    return low + (high - low) * rng.random()

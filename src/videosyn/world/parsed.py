"""What a text says of a clip, as data, and how it compares with a scene. Next: `clauses.py`, `caption.py`, `parser.py`.

An attribute that is not named is None. Relations are kept in one direction only, so that "a cube right of a ball" and
"a ball left of a cube" are equal: `things[0]` is "left of", "in front of" or "above" `things[1]`, "passes behind" it,
"collides with" it, or is "beside" it. Three things are in a "row" when their order from left to right is said, and
"between" when only the middle one is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise, permutations

from videosyn.world.scene import Scene

SWAPPED = {"right of": "left of", "behind": "in front of", "below": "above"}
"""Relations that are said but not kept, and what they are with subject and object exchanged."""
EVENTS = ("passes behind", "collides with")
"""Relations that only a moving picture shows."""


@dataclass(frozen=True)
class NamedThing:
    """One object as far as a text names it."""

    kind: str | None = None
    colour: str | None = None
    motion: str | None = None
    """A motion of the world, or "walks": walking with no direction said."""


@dataclass(frozen=True)
class Parsed:
    """Everything a text says. `unknown` holds the words that mean nothing to the parser, in the order of the text."""

    things: tuple[NamedThing, ...] = ()
    place: str | None = None
    light: str | None = None
    camera: str | None = None
    style: str | None = None
    relation: str | None = None
    unknown: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """How many things are named."""
        return len(self.things)

    def normalised(self) -> Parsed:
        """The same statement with its relation in the direction that is kept."""
        if self.relation not in SWAPPED:
            return self
        first, second, *rest = self.things
        return replace(self, things=(second, first, *rest), relation=SWAPPED[self.relation])


def to_parsed(scene: Scene, num_frames: int = 17) -> Parsed:
    """Everything there is to say of a scene; of a single frame, neither motion, camera nor events."""
    moves = num_frames > 1
    relation = "row" if len(scene.things) == 3 else scene.relation
    if relation in EVENTS and not moves:
        relation = None
    return Parsed(
        things=tuple(NamedThing(thing.kind, thing.colour, thing.motion if moves else None) for thing in scene.things),
        place=scene.place,
        light=scene.light,
        camera=scene.camera if moves else None,
        style=scene.style,
        relation=relation,
    ).normalised()


def mismatches(parsed: Parsed, scene: Scene) -> list[str]:
    """What a text says that a scene does not show, one line each; what is not named agrees with anything."""
    shown = to_parsed(scene)
    found = [
        f"{name}: said {said}, shown {seen}"
        for name, said, seen in (
            ("place", parsed.place, shown.place),
            ("light", parsed.light, shown.light),
            ("camera", parsed.camera, shown.camera),
            ("style", parsed.style, shown.style),
        )
        if said is not None and said != seen
    ]
    if parsed.count > shown.count:
        return [*found, f"count: said {parsed.count}, shown {shown.count}"]
    if 0 < parsed.count < shown.count:
        found.append(f"count: said {parsed.count}, shown {shown.count}")
    return found + min(
        (_differences(parsed, shown, order) for order in permutations(range(shown.count), parsed.count)), key=len
    )


def _differences(parsed: Parsed, shown: Parsed, order: tuple[int, ...]) -> list[str]:
    """Mismatches of things and relation when the named thing i is the shown thing order[i]."""
    found: list[str] = []
    for named, index in zip(parsed.things, order, strict=True):
        seen = shown.things[index]
        if named.kind not in (None, seen.kind):
            found.append(f"kind: said {named.kind}, shown {seen.kind}")
        if named.colour not in (None, seen.colour):
            found.append(f"colour of {seen.kind}: said {named.colour}, shown {seen.colour}")
        walking = named.motion == "walks" and seen.motion in ("left", "right")
        if named.motion not in (None, seen.motion) and not walking:
            found.append(f"motion of {seen.kind}: said {named.motion}, shown {seen.motion}")
    if parsed.relation is not None and not _holds(parsed.relation, shown.relation, order):
        found.append(f"relation: said {parsed.relation}, shown {shown.relation}")
    return found


def _holds(said: str, shown: str | None, order: tuple[int, ...]) -> bool:
    """Whether a said relation is true of the shown things order[0], order[1], ..."""
    if shown == "row":
        ascending = all(a < b for a, b in pairwise(order))
        return {"row": ascending, "left of": order[0] < order[1], "between": order[1] == 1, "beside": True}.get(
            said, False
        )
    if said == "beside":
        return shown == "left of"
    if said == "collides with":
        return shown == said
    return shown == said and order == (0, 1)

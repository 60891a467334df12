"""The one dense caption of a scene: everything there is to say, always in the same words and order.

A captioner that is trained on it gives one answer to a clip, and a parser finds in it all that the scene has. Next:
`caption.py`, where a scene has many phrasings.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

from videosyn.world.clauses import Voice, noun, verb_phrase
from videosyn.world.parsed import NamedThing, Parsed
from videosyn.world.parser import parse
from videosyn.world.scene import Scene, Thing
from videosyn.world.vocabulary import CAMERAS, LIGHTS, RELATIONS, SCENES

STYLE_WORDS = {
    "plain": "plain style",
    "pixel art": "pixel art style",
    "cartoon": "cartoon style",
    "painterly": "painterly style",
}
_VOICE = Voice("a", 0.0, "finite")


def say_dense(scene: Scene, num_frames: int = 17) -> tuple[str, Parsed]:
    """-> a lower-case sentence, and exactly what it says. Of a single frame, neither motion, camera nor events.

    Relations are said in one direction: left before right, near before far, and of a collision the one from the left.
    """
    film = num_frames > 1
    text, things, relation = _things(scene, film)
    text += f" {SCENES[scene.place][0]} {LIGHTS[scene.light][0]}"
    text += f", {CAMERAS[scene.camera][0]}" if film else ""
    said = Parsed(
        things=things,
        place=scene.place,
        light=scene.light,
        camera=scene.camera if film else None,
        style=scene.style,
        relation=relation,
    )
    return f"{text}, {STYLE_WORDS[scene.style]}", said.normalised()


def dense_caption(scene: Scene, num_frames: int = 17) -> str:
    """The text of `say_dense`."""
    return say_dense(scene, num_frames)[0]


def read_dense(text: str, num_frames: int = 17) -> Parsed:
    """All that a dense caption tells: of a film, things of which no motion is said rest, or run into each other."""
    said = parse(text)
    if num_frames == 1:
        return said
    unsaid = ("right", "left") if said.relation == "collides with" else ("rests",) * said.count
    things = tuple(
        replace(thing, motion=thing.motion or motion) for thing, motion in zip(said.things, unsaid, strict=False)
    )
    return replace(said, things=things + said.things[len(things) :])


def _things(scene: Scene, film: bool) -> tuple[str, tuple[NamedThing, ...], str | None]:
    """The things as one clause -> its text, the things in its order, the relation that it says."""
    if len(scene.things) == 1:
        (thing,) = scene.things
        return _doing(thing, film), (_named(thing, film),), None
    if len(scene.things) == 3:
        a, b, c = (_noun(thing) for thing in scene.things)
        return f"{a}, {b} and {c} in a row", tuple(_named(thing) for thing in scene.things), "row"
    first, second = scene.things
    relation = scene.relation
    if relation in ("passes behind", "collides with") and not film:
        return f"{_noun(first)} and {_noun(second)}", (_named(first), _named(second)), None
    if relation == "passes behind":
        going = verb_phrase(Random(0), _VOICE, first, "gerund")
        text = f"{_noun(first)} passes behind {_noun(second)}, {going}"
        return text, (_named(first, film), _named(second)), relation
    if relation == "collides with":
        one, other = (first, second) if first.motion == "right" else (second, first)
        return f"{_noun(one)} collides with {_noun(other)}", (_named(one), _named(other)), relation
    assert relation is not None
    if relation in ("right of", "behind"):
        inverse = {"right of": "left of", "behind": "in front of"}[relation]
        moves = film and first.motion != "rests"
        doing = f"{_noun(first)} that {_verb(first)}" if moves else _noun(first)
        text = f"{_noun(second)} {RELATIONS[inverse][0]} {doing}"
        return text, (_named(second), _named(first, moves)), inverse
    moves = film and first.motion != "rests"
    text = f"{_doing(first, moves)} {RELATIONS[relation][0]} {_noun(second)}"
    return text, (_named(first, moves), _named(second)), relation


def _doing(thing: Thing, film: bool) -> str:
    return f"{_noun(thing)} {_verb(thing)}" if film else _noun(thing)


def _verb(thing: Thing) -> str:
    return verb_phrase(Random(0), _VOICE, thing, "finite")


def _noun(thing: Thing) -> str:
    return noun(Random(0), _VOICE, thing)


def _named(thing: Thing, moves: bool = False) -> NamedThing:
    return NamedThing(thing.kind, thing.colour, thing.motion if moves else None)

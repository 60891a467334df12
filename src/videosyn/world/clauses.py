"""The heart of a caption: a scene's things, how they stand and what they do, in many phrasings. Next: `caption.py`.

Every function returns a `Clause`: a text and exactly what that text says. None says where, in what light or in what
style.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal, TypeVar

from videosyn.world.parsed import NamedThing
from videosyn.world.scene import Scene, Thing
from videosyn.world.vocabulary import (
    BELOW,
    BESIDE,
    COLOURS,
    INVERSE_RELATION,
    KINDS,
    MOTIONS,
    RELATIONS,
    VERBS,
    WALKS,
)

T = TypeVar("T")
Form = Literal["finite", "gerund", "base"]
"""The verb a sentence needs: "a ball bounces", "a video of a ball bouncing", "watch a ball bounce"."""

BEFORE_NOUN: dict[str, tuple[str, ...]] = {
    "left": ("left-moving", "left-going"),
    "right": ("right-moving", "right-going"),
    "up": ("rising",),
    "down": ("falling", "descending", "sinking"),
    "bounces": ("bouncing", "hopping", "jumping"),
    "spins": ("spinning", "rotating", "twirling"),
    "grows": ("growing", "expanding"),
    "shrinks": ("shrinking",),
    "rests": ("resting", "still"),
}
"""Motions as adjectives: "a bouncing red ball"."""
WALKING: dict[str, tuple[str, ...]] = {"left": ("left-walking",), "right": ("right-walking",)}
SIDES = {"left of": ("left", "right"), "right of": ("right", "left")}


@dataclass(frozen=True)
class Clause:
    """A text, and what it says: things in the order of the text, or of the relation where it has one."""

    text: str
    things: tuple[NamedThing, ...]
    relation: str | None = None


@dataclass(frozen=True)
class Voice:
    """How one caption speaks throughout."""

    article: str
    """"a", "the", or "" for none."""
    synonyms: float
    """Chance that a word other than the plainest is taken."""
    form: Form
    post: float = 0.0
    """Chance that a colour follows its noun ("ball red", "a ball that is red")."""


def pick(rng: Random, options: Sequence[T]) -> T:
    """Uniform choice through `random()` alone, whose stream Python promises not to change."""
    return options[int(rng.random() * len(options))]


def reword(rng: Random, voice: Voice, phrases: Sequence[str]) -> str:
    """The plainest phrase, or with the voice's chance any of them."""
    return pick(rng, phrases) if rng.random() < voice.synonyms else phrases[0]


def inflect(phrase: str, form: Form) -> str:
    """A verb phrase in the third person, put in another form."""
    verb, *rest = phrase.split(" ")
    if form == "finite":
        return phrase
    base, gerund = VERBS[verb]
    return " ".join([base if form == "base" else gerund, *rest])


def verb_phrase(rng: Random, voice: Voice, thing: Thing, form: Form) -> str:
    """What a thing does, in the form asked for; a person who crosses the frame walks."""
    phrases = MOTIONS[thing.motion]
    if thing.kind == "person":
        phrases = WALKS.get(thing.motion, phrases)
    if form != "finite":
        phrases = tuple(phrase for phrase in phrases if phrase.split(" ")[0] in VERBS)
    return inflect(reword(rng, voice, phrases), form)


def noun(rng: Random, voice: Voice, thing: Thing, adjective: str = "", colour: bool = True) -> str:
    """A thing with its article, an adjective of motion and its colour: "a bouncing red ball"."""
    kind = reword(rng, voice, KINDS[thing.kind])
    shade = reword(rng, voice, COLOURS[thing.colour]) if colour else ""
    if shade and rng.random() < voice.post:
        if not voice.article:
            return _join(adjective, kind, shade)
        tail = f"in {shade}" if thing.kind == "person" and rng.random() < 0.5 else f"that is {shade}"
        return _join(_article(voice, adjective or kind), adjective, kind, tail)
    return _join(_article(voice, adjective or shade or kind), adjective, shade, kind)


def one(rng: Random, voice: Voice, thing: Thing, motion: bool, colour: bool = True) -> Clause:
    """A single thing, doing what it does if `motion`."""
    hue = thing.colour if colour else None
    if not motion:
        return Clause(noun(rng, voice, thing, colour=colour), (NamedThing(thing.kind, hue),))
    said = (NamedThing(thing.kind, hue, thing.motion),)
    roll = rng.random()
    if roll < 0.2:
        return Clause(noun(rng, voice, thing, adjective(rng, voice, thing), colour), said)
    name = noun(rng, voice, thing, colour=colour)
    if voice.form == "finite" and roll < 0.3:
        name = _join(name, pick(rng, ("that", "which")))
    form = voice.form
    if form == "finite" and roll > 0.75:
        form = "gerund"
        name = _join(name, "is" if roll > 0.92 else "")
    if form == "gerund" and thing.motion == "rests" and roll > 0.85:
        return Clause(_join(name, "not moving"), said)
    return Clause(_join(name, verb_phrase(rng, voice, thing, form)), said)


def walking(rng: Random, voice: Voice, thing: Thing) -> Clause:
    """A person who walks, without saying where to."""
    return Clause(noun(rng, voice, thing, "walking"), (NamedThing(thing.kind, thing.colour, "walks"),))


def adjective(rng: Random, voice: Voice, thing: Thing) -> str:
    """A thing's motion as an adjective."""
    table = WALKING if thing.kind == "person" and thing.motion in WALKING else BEFORE_NOUN
    return reword(rng, voice, table[thing.motion])


def pair(rng: Random, voice: Voice, scene: Scene, motion: bool, relation: bool) -> Clause:
    """Two things and how they stand to each other; their motion too, where it can differ."""
    first, second = scene.things
    known = scene.relation
    if not relation or known is None:
        a, b = (first, second) if rng.random() < 0.7 else (second, first)
        joined = f"{noun(rng, voice, a)}{pick(rng, (' and ', ' and ', ' with ', ', '))}{noun(rng, voice, b)}"
        return Clause(joined, (_named(a), _named(b)))
    if known == "collides with":
        return _collision(rng, voice, first, second)
    if known == "passes behind":
        return _passing(rng, voice, first, second, motion)
    return _standing(rng, voice, first, second, known, motion)


def _collision(rng: Random, voice: Voice, first: Thing, second: Thing) -> Clause:
    a, b = (first, second) if rng.random() < 0.5 else (second, first)
    said = (_named(a), _named(b))
    x, y = noun(rng, voice, a), noun(rng, voice, b)
    phrase = reword(rng, voice, RELATIONS["collides with"])
    if rng.random() < 0.5:
        return Clause(f"{x} {inflect(phrase, voice.form)} {y}", said, "collides with")
    together = "collide" if phrase == "collides with" else f"{inflect(phrase, 'base')} each other"
    if voice.form == "gerund":
        together = inflect(phrase, "gerund").removesuffix(" with") + ("" if together == "collide" else " each other")
    return Clause(f"{x} and {y} {together}", said, "collides with")


def _passing(rng: Random, voice: Voice, first: Thing, second: Thing, motion: bool) -> Clause:
    x, y = noun(rng, voice, first), noun(rng, voice, second)
    phrase = inflect(reword(rng, voice, RELATIONS["passes behind"]), voice.form)
    if not motion:
        text = f"{x} {phrase} {y}"
        if rng.random() < 0.2:
            text = f"{y} with {x} passing behind it"
        return Clause(text, (_named(first), _named(second)), "passes behind")
    said = (_named(first, first.motion), _named(second))
    going = verb_phrase(rng, voice, first, "gerund")
    forms = (
        f"{x} {phrase} {y}, {going}",
        f"{x} {going} {phrase} {y}",
        f"{x} {verb_phrase(rng, voice, first, voice.form)} behind {y}",
        f"{noun(rng, voice, first, adjective(rng, voice, first))} {phrase} {y}",
        f"{y} with {x} passing behind it, {going}",
        f"behind {y}, {x} {verb_phrase(rng, voice, first, voice.form)}",
    )
    return Clause(pick(rng, forms), said, "passes behind")


def _standing(rng: Random, voice: Voice, first: Thing, second: Thing, relation: str, motion: bool) -> Clause:
    """Two things of which the second rests; `motion` says what the first one does where that is not always rest."""
    moves = motion and relation in SIDES
    names = (_named(first, first.motion if moves else None), _named(second))
    where = reword(rng, voice, RELATIONS[relation])
    inverse = reword(rng, voice, BELOW if relation == "above" else RELATIONS[INVERSE_RELATION[relation]])
    x, y = noun(rng, voice, first), noun(rng, voice, second)
    doing = f"{x} {verb_phrase(rng, voice, first, voice.form)}" if moves else x
    subject = noun(rng, voice, first, adjective(rng, voice, first)) if moves else x
    roll = rng.random()
    if roll < 0.42:
        stands = voice.form == "finite" and not moves and rng.random() < 0.3
        return Clause(f"{doing} {'is ' if stands else ''}{where} {y}", names, relation)
    if roll < 0.54:
        return Clause(f"{subject} {where} {y}", names, relation)
    if roll < 0.74:
        if moves and voice.form == "finite" and rng.random() < 0.4:
            verb = verb_phrase(rng, voice, first, "finite")
            return Clause(f"{y} {inverse} {x} {pick(rng, ('that', 'which'))} {verb}", names, relation)
        return Clause(f"{y} {inverse} {subject}", names, relation)
    if roll < 0.8:
        return Clause(f"{where} {y}, {doing}", names, relation)
    if relation in SIDES:
        return _sides(rng, voice, first, second, relation, names, (doing, subject, y))
    place = {"in front of": "in front of it", "behind": "behind it", "above": "above it"}[relation]
    return Clause(pick(rng, (f"{y} with {x} {place}", f"{y} and {place} {x}")), names, relation)


def _sides(
    rng: Random,
    voice: Voice,
    first: Thing,
    second: Thing,
    relation: str,
    names: tuple[NamedThing, ...],
    texts: tuple[str, str, str],
) -> Clause:
    """Left and right without "left of"; last, no more than that they are side by side."""
    doing, subject, y = texts
    here, there = SIDES[relation]
    roll = rng.random()
    if roll < 0.35:
        return Clause(f"{doing} on the {here} and {y} on the {there}", names, relation)
    if roll < 0.6:
        return Clause(f"on the {here} {subject}, on the {there} {y}", names, relation)
    if roll < 0.8:
        return Clause(f"{y} with {subject} to its {here}", names, relation)
    return Clause(f"{y} on the {there} and {subject} on the {here}", names, relation)


def beside(rng: Random, voice: Voice, scene: Scene, motion: bool) -> Clause:
    """Two things side by side, without saying which is left."""
    first, second = scene.things
    names = (_named(first, first.motion if motion else None), _named(second))
    subject = noun(rng, voice, first, adjective(rng, voice, first) if motion else "")
    return Clause(f"{subject} {reword(rng, voice, BESIDE)} {noun(rng, voice, second)}", names, "beside")


def row(rng: Random, voice: Voice, scene: Scene, ordered: bool) -> Clause:
    """Three things from left to right; without `ordered`, in that order but not saying so."""
    things = tuple(_named(thing) for thing in scene.things)
    a, b, c = (noun(rng, voice, thing) for thing in scene.things)
    listed = f"{a}, {b} and {c}"
    if not ordered:
        if rng.random() < 0.15:
            return Clause(f"{b} between {a} and {c}", things, "between")
        return Clause(pick(rng, (listed, f"{a}, {b}, {c}", f"{a} and {b} and {c}")), things)
    left, right = (reword(rng, voice, RELATIONS[side]) for side in ("left of", "right of"))
    forms = (
        f"{listed} in a row",
        f"{listed} in a row",
        f"{listed} from left to right",
        f"from left to right: {a}, {b}, {c}",
        f"{a}, {b}, {c} in a row",
        f"{a} {left} {b}, which is {left} {c}",
        f"{c} {right} {b}, which is {right} {a}",
        f"{b} between {a} on the left and {c} on the right",
        f"{a} on the left, {b} in the middle and {c} on the right",
        f"{b} {right} {a} and {left} {c}",
    )
    return Clause(pick(rng, forms), things, "row")


def _named(thing: Thing, motion: str | None = None) -> NamedThing:
    return NamedThing(thing.kind, thing.colour, motion)


def _article(voice: Voice, following: str) -> str:
    if voice.article != "a":
        return voice.article
    return "an" if following[0] in "aeiou" else "a"


def _join(*words: str) -> str:
    return " ".join(word for word in words if word)

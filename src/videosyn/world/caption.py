"""Says what a scene shows, in many phrasings. Next: `parser.py`.

`clauses.py` says the things; here light, place, style and camera join them. What a caption leaves out is either
unsaid (place, light, motion, relation: it may be anything) or usual: a caption silent on style shows the plain one,
and one silent on the camera has a still one. So "a red ball" is learned as a plain film of a red ball.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random
from typing import Literal

from videosyn.world.clauses import (
    BEFORE_NOUN,
    WALKING,
    Clause,
    Voice,
    beside,
    noun,
    one,
    pair,
    pick,
    reword,
    row,
    verb_phrase,
    walking,
)
from videosyn.world.parsed import NamedThing, Parsed
from videosyn.world.scene import Scene
from videosyn.world.vocabulary import (
    BELOW,
    BESIDE,
    CAMERAS,
    COLOURS,
    KINDS,
    LIGHT_NOUNS,
    LIGHTS,
    MOTIONS,
    RELATIONS,
    SCENE_NOUNS,
    SCENES,
    STYLES,
    VERBS,
    WALKS,
)

Detail = Literal["full", "varied", "plain"]

FULL_SHARE = 0.55
"""Share of varied captions that name everything."""
STYLE_OPENINGS: dict[str, tuple[str, ...]] = {
    "plain": ("a 3d render of ", "a realistic video of ", "3d render: ", "realistic: "),
    "pixel art": ("pixel art of ", "pixel art: ", "a pixel art animation of ", "pixelated: "),
    "cartoon": ("cartoon of ", "a cartoon of ", "cartoon: ", "comic: "),
    "painterly": ("oil painting of ", "a painting of ", "an oil painting of ", "painting: "),
}
STYLE_SHORT = {
    "plain": "plain style",
    "pixel art": "pixel art style",
    "cartoon": "cartoon style",
    "painterly": "painterly style",
}
FILM_OPENINGS = ("a video of ", "a clip of ", "an animation of ", "video of ", "watch ")
PHOTO_OPENINGS = ("a photo of ", "a picture of ", "photo of ", "picture of ")
PAN_SHORT = {"pan left": ("pan left", "panning left"), "pan right": ("pan right", "panning right")}
GRAMMAR_WORDS = """a an and animation as between by clip each from in is it its middle not of on other photo picture
    row that the to video watch which while with , : -"""
"""Words of the sentences themselves, beside those of the vocabulary's tables."""


@dataclass(frozen=True)
class _Plan:
    """Which attributes a caption says."""

    motion: bool
    camera: bool
    place: bool
    light: bool
    style: bool
    relation: bool
    colour: bool = True


def caption(scene: Scene, rng: Random, num_frames: int = 17, detail: Detail = "varied") -> str:
    """A lower-case text that says what `scene` shows, never anything false.

    "plain" is the canonical full sentence, "full" names everything in a random phrasing, "varied" (for training) is
    that for FULL_SHARE of captions and leaves attributes out in the others. Of a single frame, neither motion nor
    camera nor events are said.
    """
    return say(scene, rng, num_frames, detail)[0]


def say(scene: Scene, rng: Random, num_frames: int = 17, detail: Detail = "varied") -> tuple[str, Parsed]:
    """A caption together with exactly what it says."""
    film = num_frames > 1
    if detail == "plain":
        return _plain(scene, film)
    shortened = detail == "varied" and rng.random() > FULL_SHARE
    plan = _shortened_plan(scene, rng, film) if shortened else _full_plan(scene, rng, film)
    if rng.random() < (0.4 if shortened else 0.12):
        return _fragments(scene, rng, plan, film)
    return _sentence(scene, rng, plan, film)


def vocabulary() -> list[str]:
    """Every word a caption can contain, and ",", ":" and "-" as words of their own, sorted."""
    phrases = [GRAMMAR_WORDS, *BELOW, *BESIDE, *FILM_OPENINGS, *PHOTO_OPENINGS, *STYLE_SHORT.values(), *VERBS]
    for table in (KINDS, COLOURS, SCENES, SCENE_NOUNS, LIGHTS, LIGHT_NOUNS, MOTIONS, WALKS, CAMERAS, RELATIONS, STYLES):
        phrases += [phrase for synonyms in table.values() for phrase in synonyms]
    for table in (BEFORE_NOUN, WALKING, STYLE_OPENINGS, PAN_SHORT, VERBS):
        phrases += [phrase for synonyms in table.values() for phrase in synonyms]
    return sorted({word for phrase in phrases for word in split_words(phrase)})


def split_words(text: str) -> list[str]:
    """Lower-case words and marks of a text: "Left-moving ball, red" -> left - moving ball , red."""
    return re.findall(r"[^\W_]+|[^\w\s]", text.lower())


def _full_plan(scene: Scene, rng: Random, film: bool) -> _Plan:
    return _Plan(
        motion=film,
        camera=film and (scene.camera != "still" or rng.random() < 0.2),
        place=True,
        light=True,
        style=scene.style != "plain" or rng.random() < 0.25,
        relation=True,
    )


def _shortened_plan(scene: Scene, rng: Random, film: bool) -> _Plan:
    bare = rng.random() < 0.15
    return _Plan(
        motion=film and not bare and rng.random() < 0.6,
        camera=film and scene.camera != "still",
        place=not bare and rng.random() < 0.6,
        light=not bare and rng.random() < 0.5,
        style=scene.style != "plain",
        relation=rng.random() < 0.75,
        colour=len(scene.things) > 1 or rng.random() > 0.12,
    )


def _plain(scene: Scene, film: bool) -> tuple[str, Parsed]:
    """ "a red ball bounces in a meadow at sunset, the camera pans left, cartoon style"."""
    rng, voice = Random(0), Voice("a", 0.0, "finite")
    names = [noun(rng, voice, thing) for thing in scene.things]
    things = [NamedThing(thing.kind, thing.colour) for thing in scene.things]
    first = scene.things[0]
    doing = f"{names[0]} {verb_phrase(rng, voice, first, 'finite')}" if film else names[0]
    moving = NamedThing(first.kind, first.colour, first.motion if film else None)
    relation = scene.relation
    if len(things) == 1:
        text, things = doing, [moving]
    elif len(things) == 3:
        text, relation = f"{names[0]}, {names[1]} and {names[2]} in a row", "row"
    elif relation in ("left of", "right of"):
        text, things[0] = f"{doing} {RELATIONS[relation][0]} {names[1]}", moving
    elif relation == "passes behind" and film:
        going = verb_phrase(rng, voice, first, "gerund")
        text, things[0] = f"{names[0]} passes behind {names[1]}, {going}", moving
    elif relation in ("passes behind", "collides with", None) and not film:
        text, relation = f"{names[0]} and {names[1]}", None
    else:
        assert relation is not None
        text = f"{names[0]} {RELATIONS[relation][0]} {names[1]}"
    pans, styled = film and scene.camera != "still", scene.style != "plain"
    text += f" {SCENES[scene.place][0]} {LIGHTS[scene.light][0]}"
    text += f", {CAMERAS[scene.camera][0]}" if pans else ""
    text += f", {STYLE_SHORT[scene.style]}" if styled else ""
    said = Parsed(
        things=tuple(things),
        place=scene.place,
        light=scene.light,
        camera=scene.camera if pans else None,
        style=scene.style if styled else None,
        relation=relation,
    )
    return text, said.normalised()


def _core(scene: Scene, rng: Random, plan: _Plan, voice: Voice, film: bool) -> Clause:
    """The things, as one clause."""
    if len(scene.things) == 1:
        thing = scene.things[0]
        if film and not plan.motion and thing.kind == "person" and thing.motion in WALKS and rng.random() < 0.4:
            return walking(rng, voice, thing)
        return one(rng, voice, thing, plan.motion, plan.colour)
    if len(scene.things) == 3:
        return row(rng, voice, scene, plan.relation)
    if not plan.relation and scene.relation in ("left of", "right of") and rng.random() < 0.4:
        return beside(rng, voice, scene, plan.motion)
    event = scene.relation in ("passes behind", "collides with")
    return pair(rng, voice, scene, plan.motion, plan.relation and (film or not event))


def _said(scene: Scene, plan: _Plan, core: Clause) -> Parsed:
    return Parsed(
        things=core.things,
        place=scene.place if plan.place else None,
        light=scene.light if plan.light else None,
        camera=scene.camera if plan.camera else None,
        style=scene.style if plan.style else None,
        relation=core.relation,
    ).normalised()


def _sentence(scene: Scene, rng: Random, plan: _Plan, film: bool) -> tuple[str, Parsed]:
    """A sentence: an opening, the core among its adverbs of place and light, then style and camera before or after."""
    synonyms = pick(rng, (0.0, 0.5, 0.8))
    article = pick(rng, ("a", "a", "a", "a", "a", "a", "the", ""))
    opening, style_said, roll = "", not plan.style, rng.random()
    if plan.style and roll < 0.4:
        opening, style_said = pick(rng, STYLE_OPENINGS[scene.style]), True
        opening = opening if film else opening.replace("video", "photo").replace("animation", "picture")
    elif roll > 0.82:
        opening = pick(rng, FILM_OPENINGS if film else PHOTO_OPENINGS)
    form = "base" if opening == "watch " else "gerund" if opening.endswith("of ") else "finite"
    voice = Voice(article, synonyms, form, post=0.05)
    core = _core(scene, rng, plan, voice, film)
    place = reword(rng, voice, SCENES[scene.place]) if plan.place else ""
    light = reword(rng, voice, LIGHTS[scene.light]) if plan.light else ""
    comma = pick(rng, (", ", ", ", " "))
    before, after = pick(
        rng,
        (
            ((), (place, light)),
            ((), (place, light)),
            ((), (light, place)),
            ((light,), (place,)),
            ((place,), (light,)),
            ((light, place), ()),
        ),
    )
    if opening and not opening.endswith(": "):
        before, after = (), (*before, *after)
    front, back = (" ".join(part for part in side if part) for side in (before, after))
    text = f"{front}{comma}{core.text}" if front else core.text
    text = f"{opening}{text} {back}".rstrip()
    if not style_said:
        phrase = pick(rng, (STYLE_SHORT[scene.style], reword(rng, voice, STYLES[scene.style])))
        text = f"{phrase}, {text}" if rng.random() < 0.2 else f"{text}, {phrase}"
    return _with_camera(rng, voice, scene, plan, text), _said(scene, plan, core)


def _with_camera(rng: Random, voice: Voice, scene: Scene, plan: _Plan, text: str) -> str:
    if not plan.camera:
        return text
    phrase = reword(rng, voice, CAMERAS[scene.camera])
    roll = rng.random()
    if phrase.startswith("the camera ") and roll < 0.15:
        return f"{text} {pick(rng, ('as', 'while'))} {phrase}"
    if roll < 0.35:
        return f"{phrase}{pick(rng, (', ', ': '))}{text}"
    return f"{text}, {phrase}"


def _fragments(scene: Scene, rng: Random, plan: _Plan, film: bool) -> tuple[str, Parsed]:
    """A list of fragments instead of a sentence: "red ball, meadow, sunset", "night, blue boat going left"."""
    article = "" if rng.random() < 0.8 else "a"
    voice = Voice(article, pick(rng, (0.0, 0.6)), "gerund", post=0.0 if article else 0.3)
    core = _core(scene, rng, plan, voice, film)
    parts: list[str] = []
    if plan.place:
        parts.append(reword(rng, voice, (*SCENE_NOUNS[scene.place], *SCENES[scene.place])))
    if plan.light:
        parts.append(reword(rng, voice, (*LIGHT_NOUNS[scene.light], *LIGHTS[scene.light])))
    if plan.style:
        parts.append(pick(rng, (*STYLES[scene.style], STYLE_SHORT[scene.style])))
    if plan.camera:
        parts.append(pick(rng, (*CAMERAS[scene.camera], *PAN_SHORT.get(scene.camera, ()))))
    for index in range(len(parts) - 1, 0, -1):
        other = int(rng.random() * (index + 1))
        parts[index], parts[other] = parts[other], parts[index]
    where = 0 if rng.random() < 0.7 else int(rng.random() * (len(parts) + 1))
    parts.insert(where, core.text)
    spaced = len(parts) == 2 and where == 0 and not plan.camera and rng.random() < 0.3
    return (" " if spaced else ", ").join(parts), _said(scene, plan, core)

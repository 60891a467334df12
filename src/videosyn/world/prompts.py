"""Prompts to measure a model by, each with its truth: what was asked is known before anything is drawn or parsed."""

from __future__ import annotations

from math import ceil
from random import Random
from string import Formatter
from typing import TypeVar

from videosyn.world.caption import caption
from videosyn.world.clauses import BEFORE_NOUN, WALKING, inflect, pick
from videosyn.world.parsed import EVENTS, NamedThing, Parsed
from videosyn.world.scene import Scene, Split, sample_scene
from videosyn.world.vocabulary import (
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

T = TypeVar("T")

PAIR_SHARE, ROW_SHARE, PAN_SHARE = 0.37, 0.07, 0.28
"""Shares of held-out prompts with two related things, with three in a row, and with a panning camera."""
STYLE_SHARES = {"plain": 0.4, "pixel art": 0.2, "cartoon": 0.2, "painterly": 0.2}

DRAWN = {"plain": "3d render", "pixel art": "pixel art", "cartoon": "cartoon", "painterly": "oil painting"}
TELLS = {
    "does": "motion",
    "moving": "motion",
    "adjective": "motion",
    "where": "place",
    "place": "place",
    "when": "light",
    "light": "light",
    "drawn": "style",
    "style": "style",
    "camera": "camera",
}
"""Which attribute a field of a template names, where it is not the field's own name."""

ONE = (
    "{kind} {colour}",
    "{colour} {kind}",
    "{kind} {where}",
    "{colour} {kind}, {where}, {when}",
    "{when}, {colour} {kind} {moving}",
    "a {kind} that is {colour} {moving} {place}",
    "{place} there is a {colour} {kind}",
    "{drawn} of a {kind} {place}",
    "{drawn}: {colour} {kind} {moving}",
    "some {colour} {kind} {moving} {light}",
    "there is a {colour} {kind} which {does}, {light}",
    "{adjective} {colour} {kind}",
    "the {adjective} {kind} is {colour}",
    "{colour} {kind} {moving}, {drawn}, {when}",
    "a {kind}, {colour}, {moving} {place} {light}",
    "show the {colour} {kind} {light}, {style}",
    "{camera}: {colour} {kind}, {where}",
    "{where} {when} {kind}",
    "{place}: {kind} {moving}, {colour}",
    "{colour} {kind}. {when}. {camera}.",
    "A {colour} {kind}! It {does} {place}.",
    "{moving}, a {kind} {light}",
    "THE {kind} {does}",
    "film of one {colour} {kind} {light} {place}",
    "{kind} {moving} {colour}, {where} {when}",
)
TWO = (
    "{colour} {kind} {relation} {colour2} {kind2}",
    "a {colour} {kind} {relation} the {colour2} {kind2}, {where}",
    "{light}: a {colour} {kind} {relation} a {colour2} {kind2}",
    "{colour} {kind} and {colour2} {kind2}, {place}",
    "{kind2} {colour2}, {kind} {colour}, {when}",
    "the {kind2} is {colour2} and the {kind} is {colour}, {where}",
    "{drawn} of {colour} {kind} and {colour2} {kind2}",
)
TWO_STANDING = (
    "there is a {colour} {kind} {relation} a {colour2} {kind2}, {when}",
    "{relation} a {colour2} {kind2} there is a {colour} {kind}",
    "{kind} {colour} {relation} {kind2} {colour2}",
    "a {colour2} {kind2}, and {relation} it a {colour} {kind} {place}",
)
THREE = (
    "in a row: {colour} {kind}, {colour2} {kind2}, {colour3} {kind3}",
    "left to right {colour} {kind}, {colour2} {kind2}, {colour3} {kind3}, {where}",
    "{colour} {kind} left of {colour2} {kind2} left of {colour3} {kind3}",
    "{colour3} {kind3} on the right, {colour} {kind} on the left, {colour2} {kind2} in the middle, {when}",
)


def held_out_prompts(n: int, seed: int = 0) -> list[tuple[str, Scene]]:
    """`n` different prompts that name everything, with the scenes they ask for, each a combination never trained on."""
    return prompts_of("held-out", n, seed)


def prompts_of(split: Split, n: int, seed: int = 0) -> list[tuple[str, Scene]]:
    """`n` different prompts that name everything, with the scenes they ask for, whose combinations are of a split.

    Every second one is the canonical sentence, the others are phrased freely; styles, pans, pairs and rows have the
    shares above. A prompt silent on camera or style asks for a still camera and the plain style, as training captions
    do.
    """
    rng = Random(seed)
    styles = [style for style, share in STYLE_SHARES.items() for _ in range(ceil(share * n))]
    counts = ([2] * ceil(PAIR_SHARE * n) + [3] * round(ROW_SHARE * n) + [1] * n)[:n]
    pans = ceil(PAN_SHARE * n)
    prompts: dict[str, Scene] = {}
    for index, (count, style) in enumerate(zip(_shuffled(rng, counts), _shuffled(rng, styles), strict=False)):
        camera = "still"
        if count < 3 and pans > 0:
            camera, pans = pick(rng, ("pan left", "pan right")), pans - 1
        while len(prompts) <= index:
            scene = sample_scene(_new_seed(rng), split, count, style, camera)
            prompts.setdefault(caption(scene, rng, detail="plain" if index % 2 else "full"), scene)
    return _shuffled(rng, list(prompts.items()))


def free_prompts(n: int = 100, seed: int = 0) -> list[tuple[str, Parsed]]:
    """`n` different prompts in free phrasing (short, reordered, synonyms), and what each names.

    The phrasings are not the caption grammar's, and the truth is the scene's, not the parser's: both are tested by
    them.
    """
    rng = Random(seed)
    prompts: dict[str, Parsed] = {}
    for index in range(n):
        count = 3 if index % 14 == 13 else 2 if index % 10 in (2, 5, 8) else 1
        while len(prompts) <= index:
            scene = sample_scene(_new_seed(rng), num_things=count)
            text, truth = _free(rng, scene)
            prompts.setdefault(text, truth)
    return list(prompts.items())


def _free(rng: Random, scene: Scene) -> tuple[str, Parsed]:
    """One template of those that fit the scene, filled in, and what its fields say."""
    standing = scene.relation is not None and scene.relation not in EVENTS
    template = pick(rng, {1: ONE, 2: TWO + TWO_STANDING * standing, 3: THREE}[len(scene.things)])
    fields = {name for _, name, _, _ in Formatter().parse(template) if name}
    said = fields | {TELLS[name] for name in fields if name in TELLS}
    relation = "row" if len(scene.things) == 3 else scene.relation if "relation" in said else None
    named = [
        NamedThing(
            kind=thing.kind,
            colour=thing.colour if f"colour{suffix}" in said else None,
            motion=thing.motion if "motion" in said and not suffix else None,
        )
        for thing, suffix in zip(scene.things, ("", "2", "3"), strict=False)
    ]
    if relation is None and "kind2" in said and template.index("{kind2}") < template.index("{kind}"):
        named.reverse()
    truth = Parsed(
        things=tuple(named),
        place=scene.place if "place" in said else None,
        light=scene.light if "light" in said else None,
        camera=scene.camera if "camera" in said else None,
        style=scene.style if "style" in said else None,
        relation=relation,
    )
    return template.format_map(_fillings(rng, scene)), truth.normalised()


def _fillings(rng: Random, scene: Scene) -> dict[str, str]:
    """Words for every field a template may have."""
    thing = scene.things[0]
    walks = thing.kind == "person" and thing.motion in WALKS
    does = pick(rng, [phrase for phrase in (WALKS if walks else MOTIONS)[thing.motion] if phrase.split()[0] in VERBS])
    words = {
        "does": does,
        "moving": inflect(does, "gerund"),
        "adjective": pick(rng, (WALKING if walks else BEFORE_NOUN)[thing.motion]),
        "place": pick(rng, SCENES[scene.place]),
        "where": pick(rng, SCENE_NOUNS[scene.place]),
        "light": pick(rng, LIGHTS[scene.light]),
        "when": pick(rng, LIGHT_NOUNS[scene.light]),
        "style": pick(rng, STYLES[scene.style]),
        "drawn": DRAWN[scene.style],
        "camera": pick(rng, CAMERAS[scene.camera]),
        "relation": pick(rng, RELATIONS[scene.relation]) if scene.relation else "",
    }
    for each, suffix in zip(scene.things, ("", "2", "3"), strict=False):
        words |= {f"kind{suffix}": pick(rng, KINDS[each.kind]), f"colour{suffix}": pick(rng, COLOURS[each.colour])}
    return words


def _new_seed(rng: Random) -> int:
    return int(rng.random() * 2**31)


def _shuffled(rng: Random, items: list[T]) -> list[T]:
    """The items in an order that `random()` alone decides."""
    keys = [rng.random() for _ in items]
    return [items[index] for index in sorted(range(len(items)), key=keys.__getitem__)]

"""What words mean to the parser: every phrase of the vocabulary, in every form, as a typed item. Next: `parser.py`."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Literal

from videosyn.world.clauses import BEFORE_NOUN, inflect
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

Role = Literal[
    "kind",
    "colour",
    "motion",
    "relation",
    "place",
    "light",
    "camera",
    "style",
    "side",
    "order",
    "word",
    "mark",
    "unknown",
]
"""What an item tells. "side": on the left, middle, right; "order": in a row; "word": grammar; "mark": punctuation."""


@dataclass(frozen=True)
class Item:
    """A phrase and its meaning. `form` is the verb's, "" for what is none."""

    role: Role
    value: str
    form: str = ""


FUNCTION_WORDS = frozenset(
    """a an the this that which who some one its it is are be being there here of in on at by to from into off among
    after with and as while for then also very just another each other during through across along both animation clip
    video photo picture image film movie render scene view style watch see show showing shows coloured
    colored""".split()
)
"""Words that carry no attribute of their own and are not news to anyone."""

LEADING = ("in", "on", "at", "by", "under", "after", "among", "as", "a", "an", "the")
MOVING = ("moves", "slides", "goes", "drifts", "floats", "walks", "strolls", "comes", "rises", "falls", "passes")
DIRECTIONS = {
    "left": ("left", "to the left", "leftwards"),
    "right": ("right", "to the right", "rightwards"),
    "up": ("up", "upwards"),
    "down": ("down", "downwards"),
}
ALONE = {
    "walks": "walks",
    "strolls": "walks",
    "stands": "rests",
    "stays": "rests",
    "turns": "spins",
    "sinks": "down",
}
"""Verbs that tell a motion by themselves, though the tables have them in a phrase."""
PANNING = ("pan", "pans", "panning", "panned")


def _stripped(phrase: str) -> tuple[str, ...]:
    """A phrase without the preposition and article it opens with: "in a green field" -> green field."""
    words = phrase.split()
    while len(words) > 1 and words[0] in LEADING:
        words = words[1:]
    return tuple(words)


def _forms(phrase: str) -> list[tuple[tuple[str, ...], str]]:
    """A verb phrase in every form it has."""
    if phrase.split()[0] not in VERBS:
        return [(tuple(phrase.split()), "finite")]
    return [(tuple(inflect(phrase, form).split()), form) for form in ("finite", "gerund", "base")]


def _motions() -> dict[tuple[str, ...], Item]:
    table: dict[tuple[str, ...], Item] = {}
    for verb, (motion, phrases) in product(MOVING, DIRECTIONS.items()):
        for phrase in phrases:
            table |= {words: Item("motion", motion, form) for words, form in _forms(f"{verb} {phrase}")}
            gerund = VERBS[verb][1]
            table[*phrase.split(), gerund] = Item("motion", motion, "gerund")
            table[*phrase.split(), "-", gerund] = Item("motion", motion, "gerund")
        other = {"left": "right", "right": "left"}.get(motion)
        if other:
            spans = (
                f"{verb} from {other} to {motion}",
                f"{verb} from the {other} to the {motion}",
                f"{verb} from the {other}",
            )
            for span in spans:
                table |= {words: Item("motion", motion, form) for words, form in _forms(span)}
    for motion, phrases in DIRECTIONS.items():
        table |= {tuple(phrase.split()): Item("motion", motion, "bare") for phrase in phrases}
    for verb, motion in ALONE.items():
        table |= {words: Item("motion", motion, form) for words, form in _forms(verb)}
    for motion, phrases in (*MOTIONS.items(), *WALKS.items()):
        for phrase in phrases:
            table |= {words: Item("motion", motion, form) for words, form in _forms(phrase)}
    for motion, adjectives in BEFORE_NOUN.items():
        table |= {(word,): Item("motion", motion, "gerund") for word in adjectives if "-" not in word}
    for verb, (adjective, motion) in product(
        ("gets", "becomes"), (("bigger", "grows"), ("larger", "grows"), ("smaller", "shrinks"))
    ):
        table |= {words: Item("motion", motion, form) for words, form in _forms(f"{verb} {adjective}")}
    for verb in ("moves", "floats", "goes"):
        table |= {words: Item("motion", "bounces", form) for words, form in _forms(f"{verb} up and down")}
    table["not", "moving"] = table["at", "rest"] = Item("motion", "rests", "gerund")
    return table


def _cameras() -> dict[tuple[str, ...], Item]:
    table: dict[tuple[str, ...], Item] = {}
    for camera, phrases in CAMERAS.items():
        table |= {_stripped(phrase): Item("camera", camera) for phrase in phrases}
    for side in ("left", "right"):
        item = Item("camera", f"pan {side}")
        for where in DIRECTIONS[side]:
            words = tuple(where.split())
            for pan in PANNING:
                table[pan, *words] = table["camera", pan, *words] = table["camera", "is", pan, *words] = item
                table[side, pan] = table[side, "-", pan] = table["camera", side, pan] = item
            for verb in ("moves", "turns", "goes", "rotates"):
                for form, _ in _forms(verb):
                    table["camera", *form, *words] = table["camera", "is", *form, *words] = item
    still = Item("camera", "still")
    for word in ("still", "static", "fixed"):
        table[word, "camera"] = table["camera", word] = table["camera", "is", word] = still
    for phrase in MOTIONS["rests"]:
        table |= {("camera", *words): still for words, _ in _forms(phrase)}
    return table


def _relations() -> dict[tuple[str, ...], Item]:
    table: dict[tuple[str, ...], Item] = {}
    phrases = [*((name, phrase) for name, synonyms in RELATIONS.items() for phrase in synonyms)]
    phrases += [("below", phrase) for phrase in (*BELOW, "beneath")] + [("beside", phrase) for phrase in BESIDE]
    for name, phrase in phrases:
        table |= {words: Item("relation", name, form) for words, form in _forms(phrase)}
    for verb in ("collides", "crashes", "bumps", "bumps into each other", "crashes into each other", "hits each other"):
        table |= {words: Item("relation", "collides with", form) for words, form in _forms(verb)}
    for side in ("left", "right"):
        table["to", "its", side] = table["on", "its", side] = Item("relation", f"{side} of", "its")
    table["between",] = Item("relation", "between")
    return table


def _orders() -> dict[tuple[str, ...], Item]:
    table: dict[tuple[str, ...], Item] = {("on", "the", side): Item("side", side) for side in ("left", "right")}
    table["in", "the", "middle"] = table["in", "the", "centre"] = Item("side", "middle")
    table["in", "a", "row"] = table["row",] = table["from", "left", "to", "right"] = Item("order", "right")
    table["left", "to", "right"] = Item("order", "right")
    table["from", "right", "to", "left"] = table["right", "to", "left"] = Item("order", "left")
    return table


def _phrases() -> dict[tuple[str, ...], Item]:
    table: dict[tuple[str, ...], Item] = {(word,): Item("word", word) for word in FUNCTION_WORDS}
    for third, forms in VERBS.items():
        table |= {(form,): Item("word", third) for form in (third, *forms)}
    table |= {
        (word,): Item("word", word) for word in ("does", "camera", "pan", "pans", "panning", "light", "ground", "world")
    }
    meanings: tuple[tuple[Role, tuple[dict[str, tuple[str, ...]], ...]], ...] = (
        ("kind", (KINDS,)),
        ("colour", (COLOURS,)),
        ("place", (SCENES, SCENE_NOUNS)),
        ("light", (LIGHTS, LIGHT_NOUNS)),
        ("style", (STYLES,)),
    )
    for role, tables in meanings:
        for name, phrase in (
            (name, phrase) for group in tables for name, phrases in group.items() for phrase in phrases
        ):
            table[_stripped(phrase)] = Item(role, name)
    for style, words in {
        "plain": "plain 3d",
        "pixel art": "pixel pixelated",
        "cartoon": "comic",
        "painterly": "painting painterly oil",
    }.items():
        table |= {(word,): Item("style", style) for word in words.split()}
    table["after", "dark"] = Item("light", "night")
    return {**table, **_orders(), **_relations(), **_motions(), **_cameras()}


PHRASES = _phrases()
"""Every phrase the parser knows and what it means."""
LONGEST = max(len(phrase) for phrase in PHRASES)


def read_items(words: list[str]) -> list[Item]:
    """The words of a text as items, at every place the longest phrase that fits; what no phrase has is "unknown"."""
    items: list[Item] = []
    start = 0
    while start < len(words):
        for length in range(min(LONGEST, len(words) - start), 0, -1):
            item = PHRASES.get(tuple(words[start : start + length]))
            if item is not None and _means_that(item, words[start : start + length], words[start + length :]):
                break
        else:
            word, length = words[start], 1
            item = Item("unknown" if word.isalnum() else "mark", word)
        items.append(item)
        start += length
    return items


def _means_that(item: Item, phrase: list[str], after: list[str]) -> bool:
    """Whether what follows leaves a phrase its meaning: "left of" is no motion, "dark blue" no night."""
    following = PHRASES.get(tuple(after[:1]))
    if item.role in ("motion", "side"):
        return not (phrase[-1] in DIRECTIONS and after[:1] == ["of"])
    return not (phrase in (["dark"], ["light"]) and following is not None and following.role == "colour")

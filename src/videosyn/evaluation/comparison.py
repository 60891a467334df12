"""What was asked against what is seen, attribute by attribute. Next: `report.py`."""

from __future__ import annotations

import math
from itertools import permutations

from videosyn.world.parsed import NamedThing, Parsed, _holds

ATTRIBUTES = ("colour", "class", "scene", "light", "motion", "relation", "camera", "style")
"""In the order of the report."""
MOST_ORDERS = 20_000
"""So many ways to match things are tried; a text with more, such as one that repeats itself, is matched in turn."""


def adherence(asked: Parsed, seen: Parsed) -> dict[str, bool]:
    """For every attribute that a prompt names, whether the clip shows it; what the judge could not tell is wrong.

    Things are matched so that most attributes are right. "class" asks that the kinds of all named things are there,
    and no further thing; "colour" and "motion" are right when they are for every thing that names them.
    """
    asked = asked.normalised()
    order = best_order(asked, seen)
    matched = [seen.things[index] if index is not None else NamedThing() for index in order]
    pairs = list(zip(asked.things, matched, strict=True))
    verdict: dict[str, bool] = {}
    if any(named.colour is not None for named, _ in pairs):
        verdict["colour"] = all(named.colour in (None, thing.colour) for named, thing in pairs)
    if any(named.kind is not None for named, _ in pairs):
        verdict["class"] = seen.count == asked.count and all(named.kind in (None, thing.kind) for named, thing in pairs)
    if any(named.motion is not None for named, _ in pairs):
        verdict["motion"] = all(_moves(named, thing) for named, thing in pairs)
    for name, said, shown in (
        ("scene", asked.place, seen.place),
        ("light", asked.light, seen.light),
        ("camera", asked.camera, seen.camera),
        ("style", asked.style, seen.style),
    ):
        if said is not None:
            verdict[name] = said == shown
    if asked.relation is not None:
        verdict["relation"] = _related(asked, seen, order)
    return {name: verdict[name] for name in ATTRIBUTES if name in verdict}


def best_order(asked: Parsed, seen: Parsed) -> tuple[int | None, ...]:
    """For each named thing the seen thing (its index) it is taken to be, or None where there are too few."""
    choices: list[int | None] = [*range(seen.count), *[None] * max(0, asked.count - seen.count)]
    if math.perm(len(choices), asked.count) > MOST_ORDERS:
        return _in_turn(asked, seen, choices)
    best: tuple[int, tuple[int | None, ...]] = (-1, ())
    for order in permutations(choices, asked.count):
        score = sum(_likeness(named, index, seen) for named, index in zip(asked.things, order, strict=True))
        score += asked.relation is not None and _related(asked, seen, order)
        if score > best[0]:
            best = (score, order)
    return best[1]


def _in_turn(asked: Parsed, seen: Parsed, choices: list[int | None]) -> tuple[int | None, ...]:
    """Each named thing takes the likest that is left."""
    order: list[int | None] = []
    for named in asked.things:
        order.append(max(choices, key=lambda index: _likeness(named, index, seen)))
        choices.remove(order[-1])
    return tuple(order)


def _likeness(named: NamedThing, index: int | None, seen: Parsed) -> int:
    thing = NamedThing() if index is None else seen.things[index]
    score = 4 * (named.kind is not None and named.kind == thing.kind)
    score += 4 * (named.colour is not None and named.colour == thing.colour)
    return score + 2 * (named.motion is not None and _moves(named, thing))


def _moves(named: NamedThing, thing: NamedThing) -> bool:
    if named.motion == "walks":
        return thing.motion in ("left", "right")
    return named.motion in (None, thing.motion)


def _related(asked: Parsed, seen: Parsed, order: tuple[int | None, ...]) -> bool:
    """Whether the relation that is asked holds between the things matched in this order."""
    places = tuple(index for index in order if index is not None)
    return asked.relation is not None and len(places) == asked.count and _holds(asked.relation, seen.relation, places)

"""Reads a caption or prompt back into attributes, and names the words it does not know. Next: `prompts.py`.

A text is a line of items (`lexicon.py`). Kinds make things; colours, motions and relations are then given to the
things they stand by. Reading goes by position and a little grammar (what stands before a noun, after it, after
"that"), so fragments read as well as sentences.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

from videosyn.core.marks import plain_marks
from videosyn.world.caption import split_words
from videosyn.world.lexicon import Item, read_items
from videosyn.world.parsed import NamedThing, Parsed, mismatches, to_parsed

__all__ = ["NamedThing", "Parsed", "mismatches", "parse", "to_parsed"]

THROUGH = ("the", "a", "an", "and", "is", "are", "some", "one", "there")
"""Grammar that may stand between a relation and its object."""
KNOWN_MARKS = frozenset(",:-")
"""All others mean what a comma does, or nothing."""


@dataclass
class _Noun:
    """One mention of a thing: where it stands in the line of items, and which thing it is."""

    at: int
    thing: int


def parse(text: str) -> Parsed:
    """What `text` says of a clip. Attributes it does not name are None; the first of two contradicting ones counts.

    Motion "walks" is walking with no direction said. Relations are in the one direction that `parsed.py` keeps.
    """
    return _Reading(split_words(plain_marks(text, KNOWN_MARKS))).parsed()


class _Reading:
    """The state of reading one text: its items, its things so far, and who is related to whom."""

    def __init__(self, words: list[str]) -> None:
        self.items = read_items(words)
        self.things: list[NamedThing] = []
        self.nouns: list[_Noun] = []
        self.edges: list[tuple[int, str, int]] = []
        """(subject, relation, object) as said."""
        self.objects: dict[int, int] = {}
        """Item of a noun that is a relation's object -> that relation's subject."""
        self.sides: dict[str, int] = {}
        self.middle: int | None = None
        """The thing said to be between the others."""

    def parsed(self) -> Parsed:
        """Read everything, in the order in which one reading needs another."""
        self._read_nouns()
        self._read_colours()
        self._read_relations()
        self._read_sides()
        self._read_motions()
        things, relation = self._arranged()
        return Parsed(
            things=tuple(things),
            place=self._first("place"),
            light=self._first("light"),
            camera=self._first("camera"),
            style=self._first("style"),
            relation=relation,
            unknown=tuple(item.value for item in self.items if item.role == "unknown"),
        ).normalised()

    def _first(self, role: str) -> str | None:
        return next((item.value for item in self.items if item.role == role), None)

    def _is(self, at: int, *values: str) -> bool:
        """Whether the item at a place is one of these words or marks."""
        return 0 <= at < len(self.items) and self.items[at].role in ("word", "mark") and self.items[at].value in values

    def _role(self, at: int) -> str:
        return self.items[at].role if 0 <= at < len(self.items) else ""

    def _noun_after(self, at: int, through: tuple[str, ...] = ()) -> _Noun | None:
        """The noun whose phrase starts right after an item: only adjectives and `through` words stand between."""
        for place in range(at + 1, len(self.items)):
            item = self.items[place]
            if item.role == "kind":
                return next(noun for noun in self.nouns if noun.at == place)
            adjective = item.role in ("colour", "style") or (item.role == "motion" and item.form == "gerund")
            if not adjective and not self._is(place, *through):
                return None
        return None

    def _noun_before(self, at: int) -> _Noun | None:
        return next((noun for noun in reversed(self.nouns) if noun.at < at), None)

    def _read_nouns(self) -> None:
        """Every kind is a thing, but "the ball" said again is the ball already named."""
        for at, item in enumerate(self.items):
            if item.role != "kind":
                continue
            colour = self._colour_beside(at)
            known = None
            if self._is(at - 2 if self._role(at - 1) == "colour" else at - 1, "the"):
                known = next((noun for noun in self.nouns if self._same(noun, item.value, colour)), None)
            if known is None:
                self.things.append(NamedThing(item.value))
            self.nouns.append(_Noun(at, known.thing if known else len(self.things) - 1))

    def _same(self, noun: _Noun, kind: str, colour: str | None) -> bool:
        before = self._colour_beside(noun.at)
        return self.things[noun.thing].kind == kind and (colour is None or before is None or before == colour)

    def _colour_beside(self, at: int) -> str | None:
        """The colour in the phrase of the noun at a place: "red ball", "ball red", "ball that is red", "man in red"."""
        linked = at + 1 + self._is(at + 1, "that", "which", "in")
        linked += self._is(linked, "is")
        return next((self.items[place].value for place in (at - 1, linked) if self._role(place) == "colour"), None)

    def _read_colours(self) -> None:
        """A colour belongs to the noun it stands before, else to the bare one it stands after ("ball red")."""
        colours = [at for at, item in enumerate(self.items) if item.role == "colour"]
        nouns = [noun.at for noun in self.nouns]
        trailing = bool(colours and nouns) and self._role(nouns[0] + 1) == "colour" and max(colours) > max(nouns)
        for at in colours:
            colour = self.items[at].value
            after, before = self._noun_after(at), self._noun_before(at)
            touching = before is not None and before.at == at - 1
            if after is not None and not (trailing and touching):
                self._give(after.thing, colour=colour)
            elif self._role(at + 1) in ("place", "light", "unknown") and not (touching or self._is_told(at)):
                continue  # "on the blue sea", "a blue sky": no thing's colour
            elif before is None and (shared := self._shared_noun(at)) is not None:
                self.things.append(NamedThing(self.things[shared.thing].kind, colour))
            elif before is None:
                self._give_first(colour=colour)
            elif self.things[before.thing].colour is None:
                self._give(before.thing, colour=colour)
            elif colour == "pink" and touching:
                self._give(before.thing, motion="up")  # "the red ball rose"

    def _is_told(self, at: int) -> bool:
        """Whether a colour is said of a thing outright: "is red", "a man in red"."""
        return self._is(at - 1, "is") or (self._is(at - 1, "in") and self._role(at - 2) == "kind")

    def _shared_noun(self, at: int) -> _Noun | None:
        """The noun of "a red and a blue ball", seen from "red"."""
        shares = self._is(at + 1, "and") and self._is(at + 2, "a", "an", "the")
        return self._noun_after(at + 2) if shares else None

    def _give(self, thing: int, colour: str | None = None, motion: str | None = None) -> None:
        """Tell a thing an attribute that it does not have yet; a direction completes "walks"."""
        old = self.things[thing]
        if colour and old.colour is None:
            old = replace(old, colour=colour)
        if motion and (old.motion is None or (old.motion == "walks" and motion in ("left", "right"))):
            old = replace(old, motion=motion)
        self.things[thing] = old

    def _give_first(self, colour: str | None = None, motion: str | None = None) -> None:
        """The same for the first thing, which is made if the text names none."""
        if not self.things:
            self.things.append(NamedThing())
        self._give(0, colour, motion)

    def _read_relations(self) -> None:
        for at, item in enumerate(self.items):
            if item.role == "relation":
                self._read_relation(at, item)

    def _read_relation(self, at: int, item: Item) -> None:
        before, after = self._noun_before(at), self._noun_after(at, THROUGH)
        if item.value == "between":
            inner = before or (self.nouns[2] if len(self.nouns) > 2 else None)
            self.middle = inner.thing if inner else None
        elif item.form == "its" or self._is(at + 1, "it"):
            if len(self.things) > 1:
                self.edges.append((1, item.value, 0))
                self.objects[self.nouns[0].at] = 1
        elif after is not None and before is None:
            second = next((noun for noun in self.nouns if noun.at > after.at), None)
            if second is not None:
                self._relate(second.thing, item.value, after)
        elif after is not None and before is not None:
            subject = before.thing
            if self._is(at - 1, "and") and before.at in self.objects:
                subject = self.objects[before.at]  # "a ball left of a cube and right of a cone"
            self._relate(subject, item.value, after)
        elif item.value == "collides with" and len(self.things) > 1:
            self.edges.append((0, item.value, 1))

    def _relate(self, subject: int, relation: str, noun: _Noun) -> None:
        if subject != noun.thing:
            self.edges.append((subject, relation, noun.thing))
            self.objects[noun.at] = subject

    def _read_sides(self) -> None:
        """ "a ball on the left" is said of what stands before, "on the left a ball" of what comes."""
        for at, item in enumerate(self.items):
            if item.role != "side":
                continue
            previous = self._role(at - 1)
            before, after = self._noun_before(at), self._noun_after(at, ("the", "a", "an", ",", ":", "is"))
            leads = after is not None and (before is None or self._is(at - 1, ",", "and", ":"))
            noun = after if leads else before
            if noun is not None and previous != "camera":
                self.sides.setdefault(item.value, noun.thing)

    def _read_motions(self) -> None:
        watched = any(self._is(at, "watch", "see") for at in range(len(self.items)))
        for at, item in enumerate(self.items):
            if item.role != "motion":
                continue
            before = self._noun_before(at)
            after = self._noun_after(at) if item.form == "gerund" else None
            if after is not None:
                self._give(after.thing, motion=item.value)
            elif before is None:
                self._give_first(motion=item.value)
            elif item.form == "base" and not watched and not self.edges and len(self.things) > 1:
                for noun in self.nouns:
                    if noun.at < at:
                        self._give(noun.thing, motion=item.value)
            elif before.at in self.objects and not self._after_that(at):
                self._give(self.objects[before.at], motion=item.value)
            else:
                self._give(before.thing, motion=item.value)

    def _after_that(self, at: int) -> bool:
        return self._is(at - 1, "that", "which", "who") or (
            self._is(at - 1, "is", "are") and self._is(at - 2, "that", "which", "who")
        )

    def _arranged(self) -> tuple[list[NamedThing], str | None]:
        """The things in the order their relation speaks of them, and that relation."""
        lateral = self._lateral()
        order = self._order(lateral)
        if len(self.things) == 3 and order is not None:
            return [self.things[index] for index in order], "row"
        if len(self.things) == 3 and self.middle is not None:
            outer = [index for index in range(3) if index != self.middle]
            return [self.things[index] for index in (outer[0], self.middle, outer[1])], "between"
        if not self.edges and lateral:
            self.edges = [(lateral[0][0], "left of", lateral[0][1])]
        if not self.edges:
            return self.things, None
        subject, relation, thing = self.edges[0]
        if relation == "behind" and self.things[subject].motion in ("left", "right", "walks"):
            relation = "passes behind"
        elif relation == "in front of" and self.things[thing].motion in ("left", "right", "walks"):
            subject, relation, thing = thing, "passes behind", subject
        rest = [index for index in range(len(self.things)) if index not in (subject, thing)]
        return [self.things[index] for index in (subject, thing, *rest)], relation

    def _lateral(self) -> list[tuple[int, int]]:
        """Every (left, right) that the text states, by relations, by sides or by order."""
        pairs = [(a, b) for a, relation, b in self.edges if relation == "left of"]
        pairs += [(b, a) for a, relation, b in self.edges if relation == "right of"]
        everything = range(len(self.things))
        if "left" in self.sides:
            pairs += [(self.sides["left"], other) for other in everything if other != self.sides["left"]]
        if "right" in self.sides:
            pairs += [(other, self.sides["right"]) for other in everything if other != self.sides["right"]]
        towards = self._first("order")
        if towards is not None and not self.edges:
            steps = list(pairwise(everything))
            pairs += steps if towards == "right" else [(b, a) for a, b in steps]
        return pairs

    def _order(self, lateral: list[tuple[int, int]]) -> list[int] | None:
        """The only order from left to right in which every stated pair holds, or None."""
        remaining, order = list(range(len(self.things))), []
        while remaining:
            leftmost = [index for index in remaining if not any(b == index and a in remaining for a, b in lateral)]
            if len(leftmost) != 1:
                return None
            order.append(leftmost[0])
            remaining.remove(leftmost[0])
        return order

from dataclasses import replace

from videosyn.evaluation.comparison import adherence, best_order
from videosyn.world.parsed import NamedThing, Parsed

BALL = NamedThing("ball", "red", "rests")
CUBE = NamedThing("cube", "blue", "spins")
SEEN = Parsed((BALL, CUBE), "sea", "noon", "still", "plain", "left of")


def test_a_clip_that_shows_all_is_right_in_every_named_attribute():
    verdict = adherence(SEEN, SEEN)
    assert set(verdict) == {"colour", "class", "scene", "light", "motion", "relation", "camera", "style"}
    assert all(verdict.values())


def test_only_what_is_named_is_judged():
    assert adherence(Parsed(things=(NamedThing("cube"), NamedThing("ball"))), SEEN) == {"class": True}
    assert adherence(Parsed(light="night"), SEEN) == {"light": False}


def test_things_are_matched_in_any_order_and_a_relation_in_its_own():
    inverse = Parsed((CUBE, BALL), relation="right of")
    assert all(adherence(inverse, SEEN).values())
    wrong = Parsed((CUBE, BALL), relation="left of")
    assert adherence(wrong, SEEN) == {"colour": True, "class": True, "motion": True, "relation": False}


def test_one_wrong_thing_makes_only_its_own_attribute_wrong():
    asked = replace(SEEN, things=(BALL, NamedThing("cube", "green", "spins")))
    verdict = adherence(asked, SEEN)
    assert [name for name, right in verdict.items() if not right] == ["colour"]


def test_abstaining_counts_as_wrong():
    assert not any(adherence(SEEN, Parsed()).values())


def test_a_thing_too_many_makes_the_class_wrong():
    assert adherence(Parsed((NamedThing("ball", "red"),)), SEEN) == {"colour": True, "class": False}


def test_walking_without_a_direction_is_left_or_right():
    walker = Parsed((NamedThing("person", None, "walks"),))
    assert adherence(walker, Parsed((NamedThing("person", "red", "left"),)))["motion"]
    assert not adherence(walker, Parsed((NamedThing("person", "red", "up"),)))["motion"]


def test_a_text_that_repeats_itself_is_matched_at_once():
    seen = Parsed((NamedThing("ball", "red"), NamedThing("cube", "blue")), "meadow")
    asked = Parsed((NamedThing("cube", "blue"), *[NamedThing("ball", "red")] * 14), "meadow")
    verdict = adherence(asked, seen)
    assert verdict == {"colour": False, "class": False, "scene": True}
    assert best_order(asked, seen)[:3] == (1, 0, None)

"""The parser reads free phrasing, and names what it does not know."""

from random import Random

import pytest

from videosyn.world.caption import caption, vocabulary
from videosyn.world.lexicon import FUNCTION_WORDS, PHRASES
from videosyn.world.parser import NamedThing, Parsed, mismatches, parse, to_parsed
from videosyn.world.scene import sample_scene


def one(kind=None, colour=None, motion=None, **rest):
    return Parsed(things=(NamedThing(kind, colour, motion),), **rest)


def two(first, relation, second, **rest):
    return Parsed(things=(NamedThing(*first), NamedThing(*second)), relation=relation, **rest)


@pytest.mark.parametrize(
    ("text", "truth"),
    [
        ("", Parsed()),
        ("ball red", one("ball", "red")),
        ("A RED Ball!", one("ball", "red")),
        ("night, blue boat going left", one("boat", "blue", "left", light="night")),
        ("a snowman that is pink twirling in a dreamscape", one("snowman", "pink", "spins", place="abstract")),
        ("left-moving green cube", one("cube", "green", "left")),
        ("oil painting of a lighthouse by the ocean", one("lighthouse", place="sea", style="painterly")),
        ("a ball in golden light", one("ball", light="sunset")),
        ("a golden ball", one("ball", "yellow")),
        ("a rose ball", one("ball", "pink")),
        ("the red ball rose", one("ball", "red", "up")),
        ("an orange home", one("house", "orange")),
        ("a snowy house", one("house", place="snow")),
        ("a ball in a green field", one("ball", place="meadow")),
        ("a white boat on the blue sea", one("boat", "white", place="sea")),
        ("a boat on the blue sea", one("boat", place="sea")),
        ("a ball in a plain room", one("ball", place="studio")),
        ("a grey studio, still camera", Parsed(place="studio", camera="still")),
        ("the red ball stands still", one("ball", "red", "rests")),
        ("a ball, the camera stays still", one("ball", camera="still")),
        ("the camera moves left, a house", one("house", camera="pan left")),
        ("a ring with a camera pan to the right", one("ring", camera="pan right")),
        ("a boat drifting from left to right", one("boat", motion="right")),
        ("a man walks in the snow", one("person", motion="walks", place="snow")),
        ("a walking man going left", one("person", motion="left")),
        ("a man in red strolls left", one("person", "red", "left")),
        ("a rocket over the sea", one("rocket", place="sea")),
        ("a house before dark", one("house", light="night")),
        ("a day in the meadow", Parsed(place="meadow", light="noon")),
        ("boat left of house", two(["boat"], "left of", ["house"])),
        ("boat right of house", two(["house"], "left of", ["boat"])),
        ("a cube with a ball on its left", two(["ball"], "left of", ["cube"])),
        ("to the left of a red cube is a ball", two(["ball"], "left of", ["cube", "red"])),
        ("a ball on the right and a cube on the left", two(["cube"], "left of", ["ball"])),
        ("a ball moves to the left of a cube", two(["ball"], "left of", ["cube"])),
        ("a cube right of a ball that bounces", two(["ball", None, "bounces"], "left of", ["cube"])),
        ("a ball right of a cube bounces", two(["cube"], "left of", ["ball", None, "bounces"])),
        ("a ball under a cube", two(["cube"], "above", ["ball"])),
        ("a ball behind a tree", two(["tree"], "in front of", ["ball"])),
        ("a ball goes behind a tree", two(["ball"], "passes behind", ["tree"])),
        ("a ball behind a tree moving left", two(["ball", None, "left"], "passes behind", ["tree"])),
        ("a ball next to a cube", two(["ball"], "beside", ["cube"])),
        ("a ball and a cube crash into each other", two(["ball"], "collides with", ["cube"])),
        ("red ball and cube, the ball bounces", two(["ball", "red", "bounces"], None, ["cube"])),
        ("the ball red cube blue", two(["ball", "red"], None, ["cube", "blue"])),
        ("a red and a blue ball", two(["ball", "blue"], None, ["ball", "red"])),
    ],
)
def test_free_phrasing_is_understood(text, truth):
    assert parse(text) == truth


@pytest.mark.parametrize(
    "text",
    [
        "a red ball, a cube and a cone in a row",
        "a cone, a cube and a red ball from right to left",
        "a cube in the middle, a cone on the right, a red ball on the left",
        "a red ball left of a cube, which is left of a cone",
        "a cube right of a red ball and left of a cone",
    ],
)
def test_rows_come_out_from_left_to_right(text):
    parsed = parse(text)
    assert parsed.things == (NamedThing("ball", "red"), NamedThing("cube"), NamedThing("cone"))
    assert parsed.relation == "row"


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("a red dragon flies over the sea", ("dragon", "flies")),
        ("a grey ball", ("grey",)),
        ("a dark blue ball", ("dark",)),
        ("two balls", ("two", "balls")),
        ("Ein roter Ball", ("ein", "roter")),
        ("it's the boat's day", ()),
    ],
)
def test_unknown_words_are_named(text, unknown):
    assert parse(text).unknown == unknown


def test_words_with_a_meaning_are_words_that_captions_speak():
    taught = set(vocabulary())
    extra = {"panned", "leftwards", "rightwards", "upwards", "downwards", "rest", "beneath", "centre"}
    for phrase, item in PHRASES.items():
        if item.role not in ("word", "mark"):
            assert set(phrase) <= taught | extra | FUNCTION_WORDS, phrase


def test_a_caption_of_one_scene_rarely_fits_another():
    fits = sum(
        not mismatches(parse(caption(sample_scene(seed), Random(0), detail="plain")), sample_scene(seed + 1000))
        for seed in range(300)
    )
    assert fits == 0


def test_mismatches_name_the_attribute():
    scene = next(scene for scene in map(sample_scene, range(99)) if scene.relation == "left of")
    truth = to_parsed(scene)
    swapped = Parsed(things=truth.things[::-1], relation="left of")
    assert mismatches(truth, scene) == []
    assert mismatches(swapped, scene) != []
    assert mismatches(Parsed(things=truth.things[::-1], relation="beside"), scene) == []
    assert mismatches(Parsed(things=truth.things[:1]), scene) == ["count: said 1, shown 2"]
    wrong = next(light for light in ("noon", "night") if light != scene.light)
    assert mismatches(Parsed(light=wrong), scene) == [f"light: said {wrong}, shown {scene.light}"]


def test_a_single_frame_has_no_motion_camera_or_event():
    for seed in range(200):
        truth = to_parsed(sample_scene(seed), num_frames=1)
        assert truth.camera is None
        assert truth.relation not in ("passes behind", "collides with")
        assert all(thing.motion is None for thing in truth.things)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("A red ball bounces on the grass.", "a red ball bounces on the grass"),
        ("a “red” ball (bounces) on the grass!", "a red ball bounces on the grass"),
        ("a red ball left of a blue cube… at sunset — cartoon;", "a red ball left of a blue cube, at sunset, cartoon"),
        ("a red ball; on the left a blue cube?", "a red ball, on the left a blue cube"),
        ("THE BALL\u2019S RED", "the ball red"),
        ("a red *ball* & a blue 'cube'", "a red ball, a blue cube"),
    ],
)
def test_punctuation_says_no_more_than_a_comma(text, plain):
    assert parse(text) == parse(plain)
    assert parse(text).unknown == ()

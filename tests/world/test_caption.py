"""Captions say what is drawn, in many phrasings, and nothing else."""

import re
from random import Random

import pytest

from videosyn.world.caption import caption, say, split_words, vocabulary
from videosyn.world.parsed import EVENTS, mismatches, to_parsed
from videosyn.world.parser import parse
from videosyn.world.scene import sample_scene
from videosyn.world.vocabulary import COLOURS, KINDS, LIGHT_NOUNS, LIGHTS, MOTIONS, SCENE_NOUNS, SCENES

DETAILS = ("varied", "full", "plain")


@pytest.mark.parametrize("num_frames", [1, 17])
@pytest.mark.parametrize("detail", DETAILS)
def test_parser_recovers_exactly_what_a_caption_says(detail, num_frames):
    for seed in range(1500):
        text, said = say(sample_scene(seed), Random(seed), num_frames, detail)
        assert parse(text) == said, text


@pytest.mark.parametrize("detail", DETAILS)
def test_nothing_said_is_false(detail):
    for seed in range(1500):
        scene = sample_scene(seed)
        assert mismatches(say(scene, Random(seed), 17, detail)[1], scene) == []


def test_full_and_plain_captions_name_everything_that_can_differ():
    for seed in range(1500):
        scene = sample_scene(seed)
        truth = to_parsed(scene)
        for detail in ("full", "plain"):
            said = say(scene, Random(seed), 17, detail)[1]
            assert (said.place, said.light, said.relation) == (truth.place, truth.light, truth.relation)
            assert said.camera in (truth.camera, None if truth.camera == "still" else truth.camera)
            assert said.style in (truth.style, None if truth.style == "plain" else truth.style)
            if len(scene.things) == 1 or scene.relation in ("left of", "right of", "passes behind"):
                assert scene.things[0].motion in {thing.motion for thing in said.things}
            named = {(thing.kind, thing.colour) for thing in said.things}
            assert named == {(thing.kind, thing.colour) for thing in scene.things}


def test_silence_on_style_and_camera_means_plain_and_still():
    for seed in range(1500):
        scene = sample_scene(seed)
        said = say(scene, Random(seed))[1]
        assert said.style == scene.style or scene.style == "plain"
        assert said.camera == scene.camera or scene.camera == "still"


def test_single_frames_name_neither_motion_nor_camera_nor_events():
    for seed in range(3000):
        text, said = say(sample_scene(seed), Random(seed), num_frames=1)
        assert said.camera is None, text
        assert said.relation not in EVENTS, text
        assert all(thing.motion is None for thing in said.things), text
        assert not {"video", "clip", "animation", "watch"} & set(split_words(text)), text


def test_every_word_is_in_the_vocabulary_and_every_word_of_it_is_spoken():
    spoken: set[str] = set()
    for seed in range(8000):
        spoken |= set(split_words(caption(sample_scene(seed), Random(seed + 7))))
    spoken |= {word for seed in range(200) for word in split_words(caption(sample_scene(seed), Random(seed), 1))}
    assert spoken <= set(vocabulary())
    assert len(set(vocabulary()) - spoken) <= 10, set(vocabulary()) - spoken
    assert len(vocabulary()) <= 275


def test_captions_are_deterministic():
    texts = [[caption(sample_scene(seed), Random(seed)) for seed in range(200)] for _ in range(2)]
    assert texts[0] == texts[1]


def test_canonical_sentence_reads_as_documented():
    scene = next(
        scene
        for scene in (sample_scene(seed, num_things=1, style="cartoon", camera="pan left") for seed in range(500))
        if scene.things[0].motion == "bounces"
    )
    thing = scene.things[0]
    article = "an" if thing.colour == "orange" else "a"
    assert caption(scene, Random(0), detail="plain") == (
        f"{article} {thing.colour} {thing.kind} bounces {SCENES[scene.place][0]} {LIGHTS[scene.light][0]}, "
        "the camera pans left, cartoon style"
    )


def test_articles_fit_the_word_that_follows():
    texts = [caption(sample_scene(seed), Random(seed), num_frames) for seed in range(2000) for num_frames in (1, 17)]
    wrong = re.compile(r"\ba [aeiou]|\ban [^aeiou]")
    assert [text for text in texts if wrong.search(text)] == []


def test_more_than_half_of_varied_captions_are_full():
    complete = 0
    for seed in range(3000):
        scene = sample_scene(seed, num_things=1)
        said = say(scene, Random(seed))[1]
        complete += None not in (said.place, said.light, said.things[0].motion)
    assert 0.55 < complete / 3000 < 0.7


def test_there_are_many_sentence_skeletons():
    words = {}
    for table, mark in (
        (KINDS, "K"),
        (COLOURS, "C"),
        (SCENES, "P"),
        (SCENE_NOUNS, "P"),
        (LIGHTS, "L"),
        (LIGHT_NOUNS, "L"),
    ):
        words |= {phrase: mark for phrases in table.values() for phrase in phrases}
    words |= {phrase: "M" for phrases in MOTIONS.values() for phrase in phrases}
    attribute = re.compile(r"\b(" + "|".join(sorted(words, key=len, reverse=True)) + r")\b")
    skeletons = {
        attribute.sub(lambda found: words[found[0]], caption(sample_scene(seed), Random(seed))) for seed in range(3000)
    }
    assert len(skeletons) >= 500

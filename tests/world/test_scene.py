"""Scenes: the same everywhere, inside the vocabulary, and never a held-out combination in training."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from videosyn.world.scene import HELD_OUT_ONE_IN, held_out, is_held_out, sample_scene
from videosyn.world.vocabulary import COLOURS, KINDS, LIGHTS, MOTIONS, RELATIONS, SCENES, STYLES


def test_a_seed_names_one_scene_for_ever():
    scene = sample_scene(3, split="train")
    assert scene == sample_scene(3, split="train")
    # Written down once: a change here changes what every trained model has seen.
    assert [(t.kind, t.colour, t.motion) for t in scene.things] == [("tree", "yellow", "down")]
    assert (scene.place, scene.light, scene.camera, scene.style) == ("abstract", "sunset", "still", "pixel art")


def test_training_never_shows_a_held_out_combination_and_evaluation_always_does():
    assert not any(is_held_out(sample_scene(seed, split="train")) for seed in range(400))
    assert all(is_held_out(sample_scene(seed, split="held-out")) for seed in range(100))


def test_about_one_combination_in_ten_is_held_out():
    combinations = [(k, c, p, m) for k in KINDS for c in COLOURS for p in SCENES for m in MOTIONS]
    share = sum(held_out(*combination) for combination in combinations) / len(combinations)
    assert abs(share - 1 / HELD_OUT_ONE_IN) < 0.02


def test_every_word_of_the_vocabulary_is_drawn():
    scenes = [sample_scene(seed) for seed in range(1500)]
    things = [thing for scene in scenes for thing in scene.things]
    assert {thing.kind for thing in things} == set(KINDS)
    assert {thing.colour for thing in things} == set(COLOURS)
    assert {thing.motion for thing in things} == set(MOTIONS)
    assert {scene.place for scene in scenes} == set(SCENES)
    assert {scene.light for scene in scenes} == set(LIGHTS)
    assert {scene.style for scene in scenes} == set(STYLES)
    assert {scene.relation for scene in scenes} - {None} == set(RELATIONS)
    counts = Counter(len(scene.things) for scene in scenes)
    assert all(counts[number] > 100 for number in (1, 2, 3))
    assert 0.2 < sum(scene.camera != "still" for scene in scenes) / len(scenes) < 0.35


def test_asking_for_a_number_a_style_and_a_camera_gives_them():
    scene = sample_scene(11, num_things=2, style="cartoon", camera="pan left")
    assert (len(scene.things), scene.style, scene.camera) == (2, "cartoon", "pan left")


@pytest.mark.parametrize(
    ("asked", "rule"),
    [
        ({"num_things": 3, "camera": "pan left"}, "three things are filmed by a still camera, got 'pan left'"),
        ({"camera": "tilt"}, "camera must be one of still, pan left, pan right, got 'tilt'"),
        ({"num_things": 0}, "a scene has 1 to 3 things, got 0"),
        ({"num_things": 4}, "a scene has 1 to 3 things, got 4"),
    ],
)
def test_a_scene_that_cannot_be_is_refused(asked, rule):
    with pytest.raises(ValueError, match=rule):
        sample_scene(0, **asked)


def test_an_unknown_place_is_named():
    with pytest.raises(ValueError, match=r"place must be one of meadow, .*, got 'moon'"):
        replace(sample_scene(0), place="moon")

"""The dense caption says all that a scene has, and the parser reads it back."""

from __future__ import annotations

import pytest

from videosyn.evaluation.comparison import adherence
from videosyn.world.dense import dense_caption, read_dense, say_dense
from videosyn.world.parsed import to_parsed
from videosyn.world.parser import parse
from videosyn.world.scene import mirrored, sample_scene

SEEDS = range(400)


@pytest.mark.parametrize("num_frames", [1, 17])
def test_the_parser_reads_exactly_what_a_dense_caption_says(num_frames):
    for seed in SEEDS:
        text, said = say_dense(sample_scene(seed), num_frames)
        assert parse(text) == said, text


def test_read_as_a_whole_a_dense_caption_has_everything_that_the_scene_has():
    for seed in SEEDS:
        scene = sample_scene(seed)
        verdict = adherence(to_parsed(scene), read_dense(dense_caption(scene)))
        assert all(verdict.values()), (dense_caption(scene), verdict)
        assert {"colour", "class", "scene", "light", "motion", "camera", "style"} <= set(verdict)


def test_scenes_that_look_alike_have_one_dense_caption():
    texts = {}
    for seed in SEEDS:
        scene = sample_scene(seed)
        key = (frozenset(to_parsed(scene).things), scene.place, scene.light, scene.camera, scene.style)
        texts.setdefault((key, to_parsed(scene).relation, to_parsed(scene).things), set()).add(dense_caption(scene))
    assert max(map(len, texts.values())) == 1


def test_a_scene_in_a_mirror_is_itself_when_mirrored_again():
    for seed in SEEDS:
        scene = sample_scene(seed)
        assert mirrored(mirrored(scene)) == scene


@pytest.mark.parametrize(
    ("before", "after"),
    [("moves left", "moves right"), ("pans left", "pans right"), ("walks right", "walks left")],
)
def test_a_mirror_exchanges_left_and_right(before, after):
    scene = next(scene for scene in map(sample_scene, range(5000)) if before in dense_caption(scene))
    assert dense_caption(mirrored(scene)) == dense_caption(scene).replace(before, after)


def test_a_mirror_turns_a_row_around():
    scene = next(scene for scene in map(sample_scene, SEEDS) if len(scene.things) == 3)
    kinds = [thing.kind for thing in scene.things]
    assert [thing.kind for thing in mirrored(scene).things] == kinds[::-1]


def test_mirrored_frames_show_the_mirrored_scene():
    """By the judge of the pixels, which knows nothing of either."""
    import torch

    from videosyn.evaluation.judge.judge import judge
    from videosyn.world.render import render

    scene = next(
        scene for scene in map(sample_scene, range(99)) if len(scene.things) == 2 and scene.relation == "left of"
    )
    film = render([scene], 17, 96, 96)[0]
    assert all(adherence(to_parsed(mirrored(scene)), judge(torch.flip(film, [2]))).values())

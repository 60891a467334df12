"""The captioner that ships: it is there, small, and says what held-out clips of the world show."""

from __future__ import annotations

import pytest
import torch

from videosyn.captioner.clip_captioner import MemoryCaptioner, open_captioner
from videosyn.captioner.frames import evenly_spaced
from videosyn.evaluation.comparison import adherence
from videosyn.weights import shipped_captioner
from videosyn.world.dense import read_dense, say_dense
from videosyn.world.render import render
from videosyn.world.scene import sample_scene

NUM_CLIPS = 32


@pytest.fixture(scope="module")
def nano() -> MemoryCaptioner:
    captioner = open_captioner("nano", "cpu", "fp32")
    assert isinstance(captioner, MemoryCaptioner)
    return captioner


@pytest.fixture(scope="module")
def held_out():
    """Scenes whose combinations training never showed, and six frames of each."""
    scenes = [sample_scene(seed, split="held-out") for seed in range(400_000, 400_000 + NUM_CLIPS)]
    return scenes, render(scenes, 17, 96, 96)[:, evenly_spaced(17, 6)].numpy()


def test_it_is_small():
    folder = shipped_captioner("nano")
    assert folder is not None
    assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) < 8_000_000


def test_it_says_what_held_out_clips_show(nano, held_out):
    scenes, clips = held_out
    said = [read_dense(text) for text in nano.caption(list(clips))]
    truths = [say_dense(scene)[1] for scene in scenes]
    right = {
        "place": [one.place == other.place for one, other in zip(truths, said)],
        "light": [one.light == other.light for one, other in zip(truths, said)],
        "camera": [one.camera == other.camera for one, other in zip(truths, said)],
        "style": [one.style == other.style for one, other in zip(truths, said)],
        "things": [
            [(each.kind, each.colour) for each in one.things] == [(each.kind, each.colour) for each in other.things]
            for one, other in zip(truths, said)
        ],
    }
    shares = {name: sum(each) / NUM_CLIPS for name, each in right.items()}
    assert min(shares.values()) >= 0.85, shares
    verdicts = [adherence(one, other) for one, other in zip(truths, said)]
    for name, least in (("motion", 0.75), ("relation", 0.9)):  # it takes spinning for resting and the reverse
        named = [verdict[name] for verdict in verdicts if name in verdict]
        assert len(named) >= NUM_CLIPS / 2
        assert sum(named) / len(named) >= least, name


def test_a_clip_likes_its_own_prompt_better_than_anothers(nano, held_out):
    scenes, clips = held_out
    texts = [say_dense(scene)[0] for scene in scenes]
    own = nano.log_likelihood(clips, texts)
    others = nano.log_likelihood(clips, texts[1:] + texts[:1])
    assert (own > others).mean() >= 0.95


def test_a_picture_is_told_without_motion_or_camera(nano, held_out):
    _, clips = held_out
    (text,) = nano.caption([clips[0][:1]])
    read = read_dense(text, 1)
    assert read.things
    assert read.place
    assert read.camera is None
    assert all(thing.motion is None for thing in read.things)


def test_any_size_is_taken(nano):
    wide = torch.randint(0, 256, (6, 90, 160, 3), dtype=torch.uint8).numpy()
    assert nano.caption([wide])[0]

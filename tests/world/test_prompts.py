"""Prompts to measure by are mixed as promised, never trained on, and truthful."""

from collections import Counter

from videosyn.world.parser import mismatches, parse
from videosyn.world.prompts import free_prompts, held_out_prompts
from videosyn.world.scene import is_held_out


def test_held_out_prompts_are_mixed():
    scenes = [scene for _, scene in held_out_prompts(400, seed=1)]
    styles = Counter(scene.style for scene in scenes)
    assert len(styles) == 4
    assert min(styles.values()) >= 0.12 * 400
    assert sum(len(scene.things) == 2 and scene.relation is not None for scene in scenes) >= 400 / 3
    assert sum(scene.camera != "still" for scene in scenes) >= 100
    assert sum(len(scene.things) == 3 for scene in scenes) == 28


def test_held_out_prompts_ask_for_combinations_never_trained_on():
    assert all(is_held_out(scene) for _, scene in held_out_prompts(300))


def test_held_out_prompts_are_true_and_understood():
    for text, scene in held_out_prompts(300, seed=2):
        parsed = parse(text)
        assert mismatches(parsed, scene) == [], text
        assert parsed.unknown == (), text
        assert None not in (parsed.place, parsed.light), text
        assert all(thing.kind and thing.colour for thing in parsed.things), text


def test_prompts_are_deterministic_and_never_repeat():
    for make in (held_out_prompts, free_prompts):
        prompts = make(200, 3)
        assert prompts == make(200, 3)
        assert len({text for text, _ in prompts}) == len(prompts) == 200
        assert prompts != make(200, 4)


def test_free_prompts_are_read_as_what_they_were_made_of():
    for text, truth in (pair for seed in range(20) for pair in free_prompts(100, seed)):
        assert parse(text) == truth, text


def test_free_prompts_cover_every_attribute():
    truths = [truth for _, truth in free_prompts(100)]
    for name in ("place", "light", "camera", "style", "relation"):
        assert sum(getattr(truth, name) is not None for truth in truths) >= 3, name
    assert {truth.count for truth in truths} == {1, 2, 3}

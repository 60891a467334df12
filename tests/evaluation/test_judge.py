from collections import Counter

import pytest
import torch
import torch.nn.functional as F

from videosyn.evaluation.comparison import adherence
from videosyn.evaluation.judge.judge import judge
from videosyn.world.parsed import Parsed, to_parsed
from videosyn.world.render import render
from videosyn.world.scene import Scene, sample_scene

NUM_CLIPS, NUM_BLURRED = 60, 20


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [sample_scene(seed) for seed in range(NUM_CLIPS)]


@pytest.fixture(scope="module")
def clips(scenes) -> torch.Tensor:
    return render(scenes, 17, 96, 96)


@pytest.fixture(scope="module")
def seen(clips) -> list[Parsed]:
    return [judge(clip) for clip in clips]


def right(asked: list[Parsed], seen: list[Parsed]) -> dict[str, float]:
    """Share of clips that are right in each attribute."""
    named, correct = Counter(), Counter()
    for one, other in zip(asked, seen, strict=True):
        for name, holds in adherence(one, other).items():
            named[name] += 1
            correct[name] += holds
    return {name: correct[name] / named[name] for name in named}


def blurred(clips: torch.Tensor) -> torch.Tensor:
    """Softer, noisier and paler: what a small model or a lossy codec makes of a clip."""
    frames = clips.flatten(0, 1).permute(0, 3, 1, 2).float()
    weights = torch.tensor([1.0, 2.0, 1.0])
    kernel = (weights[:, None] * weights / 16).expand(3, 1, 3, 3)
    soft = F.conv2d(F.pad(frames, (1, 1, 1, 1), mode="replicate"), kernel, groups=3)
    noise = torch.rand(soft.shape, generator=torch.Generator().manual_seed(0)) * 8 - 4
    pale = (soft - 128) * 0.95 + 128 + noise
    return pale.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).reshape(clips.shape)


def test_every_attribute_of_rendered_clips_is_told_right(scenes, seen):
    shares = right([to_parsed(scene) for scene in scenes], seen)
    assert len(shares) == 8
    assert min(shares.values()) >= 0.95, shares


def test_blur_noise_and_pale_colours_are_borne(scenes, clips):
    some = clips[:NUM_BLURRED]
    shares = right([to_parsed(scene) for scene in scenes[:NUM_BLURRED]], [judge(clip) for clip in blurred(some)])
    assert min(shares.values()) >= 0.85, shares


def test_wrong_prompts_are_right_no_more_often_than_by_chance(scenes, seen):
    truths = [to_parsed(scene) for scene in scenes]
    shares = right(truths[1:] + truths[:1], seen)
    by_chance = {"colour": 0.2, "class": 0.15, "scene": 0.3, "light": 0.5, "motion": 0.35, "relation": 0.3}
    by_chance |= {"camera": 0.65, "style": 0.4}  # always "still" is right in 0.72, always "plain" in 0.43
    assert all(shares[name] <= share for name, share in by_chance.items()), shares


def test_nothing_is_claimed_of_noise_and_darkness():
    noise = torch.randint(0, 256, (17, 96, 96, 3), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    assert judge(noise) == Parsed()
    assert judge(torch.zeros(17, 96, 96, 3, dtype=torch.uint8)) == Parsed()


@pytest.mark.parametrize(("frames", "height", "width"), [(33, 96, 96), (17, 96, 160), (17, 160, 96), (1, 128, 128)])
def test_other_lengths_shapes_and_sizes_are_told_too(frames, height, width):
    scene = sample_scene(1, num_things=1, style="plain", camera="still")
    asked = to_parsed(scene, frames)
    verdict = adherence(asked, judge(render([scene], frames, height, width)[0]))
    assert all(verdict.values()), verdict


def test_the_same_clip_gives_the_same_verdict(clips, seen):
    assert judge(clips[3].clone()) == seen[3]

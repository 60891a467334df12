from __future__ import annotations

from pathlib import Path

import pytest
import torch

from videosyn.dataset.batches import CaptionedLatents, CropBatches, Plan, batch_sizes, indices, plan_batch
from videosyn.dataset.buckets import Bucket, parse_buckets
from videosyn.dataset.latent_cache import LatentCache, write_latents
from videosyn.dataset.world_clips import TRAIN_SEEDS, WorldClips, render_clips, scenes_of
from videosyn.world.render import render
from videosyn.world.scene import is_held_out
from videosyn.world.vocabulary import KINDS

SHAPES = parse_buckets(["5x32x32:3", "5x16x48:1"])


@pytest.fixture(scope="module")
def latents(tmp_path_factory: pytest.TempPathFactory, vae_folder: Path) -> LatentCache:
    how = {"workers": 0, "shard_size": 8, "dtype": "fp32"}
    return LatentCache(write_latents(tmp_path_factory.mktemp("latents"), vae_folder, SHAPES, 32, **how), "train")


def test_an_epoch_shows_every_clip_once_and_the_next_in_another_order():
    bucket = Bucket(5, 32, 32)
    seen = [index for first in range(0, 20, 4) for index in indices(Plan(bucket, 4, first), 10, seed=3)]
    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(10))
    assert seen[:10] != seen[10:]


def test_batches_of_smaller_shapes_hold_more_clips():
    buckets = parse_buckets(["17x96x96:1", "1x96x96:1", "33x96x96:1"])
    assert batch_sizes(buckets, 4 * buckets[0].volume, 40, lambda bucket: bucket.volume) == [4, 40, 2]


def test_a_batch_depends_on_seed_and_step_alone(latents: LatentCache):
    def batch(step: int, seed: int = 7):
        return CaptionedLatents(latents, seed, 0.1).batch(step, SHAPES, [4, 4])

    asked_alone = batch(6)
    for step in range(6):
        batch(step)
    again = batch(6)
    assert (again.seeds, again.captions) == (asked_alone.seeds, asked_alone.captions)
    assert torch.equal(again.latents, asked_alone.latents)
    assert batch(6, seed=8).seeds != asked_alone.seeds


def test_the_latents_of_a_batch_are_those_of_its_scenes(latents: LatentCache):
    batch = CaptionedLatents(latents, 0, 0.0).batch(0, SHAPES, [4, 4])
    shape = next(shape for shape in SHAPES if shape.name == batch.bucket)
    pool, seeds = latents.clips(shape)
    for row, seed in zip(batch.latents, batch.seeds):
        assert torch.equal(row, pool[seeds.tolist().index(seed)])


def test_captions_are_left_out_as_often_as_asked_and_spoken_anew_each_epoch(latents: LatentCache):
    batches = [CaptionedLatents(latents, 0, 0.25).batch(step, SHAPES[:1], [12]) for step in range(50)]
    captions = [caption for batch in batches for caption in batch.captions]
    assert 0.18 < captions.count("") / len(captions) < 0.32
    of_one_scene = {c for batch in batches for seed, c in zip(batch.seeds, batch.captions) if seed == TRAIN_SEEDS}
    assert len(of_one_scene) > 5


def test_image_captions_say_nothing_of_motion(latents: LatentCache):
    image = parse_buckets(["1x32x32:1"])
    captions = [c for step in range(30) for c in CaptionedLatents(latents, 0, 0.0).batch(step, image, [12]).captions]
    words = {word for caption in captions for word in caption.split()}
    assert not words & {"bounces", "spins", "grows", "moves", "camera", "video"}


def test_no_training_batch_shows_a_held_out_scene(latents: LatentCache, tmp_path: Path):
    whole = SHAPES[:1]
    for clips in (WorldClips.build(tmp_path, whole, 24, workers=0), None):
        batch = CropBatches(clips, whole, TRAIN_SEEDS, seed=0).batch(0, whole, [24])
        scenes = scenes_of(batch.seeds, "train")
        assert not any(is_held_out(scene) for scene in scenes)
        assert any(is_held_out(scene) for scene in scenes_of(batch.seeds, "any"))
        assert torch.equal(batch.video, render(scenes, *batch.video.shape[1:4]))
    batch = CaptionedLatents(latents, 0, 0.0).batch(0, SHAPES[:1], [24])
    shown = dict(zip(batch.seeds, batch.captions))
    assert any(is_held_out(scene) for scene in scenes_of(batch.seeds, "any"))
    for scene in scenes_of(list(shown), "train"):
        assert any(word in shown[scene.seed] for word in KINDS[scene.things[0].kind])


def test_crops_are_cut_from_the_clips_they_name(tmp_path: Path):
    clips = WorldClips.build(tmp_path, SHAPES[:1], 8, workers=0)
    batches = CropBatches(clips, SHAPES[:1], TRAIN_SEEDS, seed=0)
    crops = parse_buckets(["5x16x16:1", "1x32x32:1"])
    shapes = set()
    for step in range(8):
        batch = batches.batch(step, crops, [3, 5])
        shapes.add(tuple(batch.video.shape))
        _, frames, height, width, _ = batch.video.shape
        whole = render_clips(batch.seeds, SHAPES[0], "train")
        for crop, clip, (t, y, x) in zip(batch.video, whole, batch.corners):
            assert torch.equal(crop, clip[t : t + frames, y : y + height, x : x + width])
    assert shapes == {(3, 5, 16, 16, 3), (5, 1, 32, 32, 3)}


def test_clips_rendered_for_each_batch_never_repeat():
    batches = CropBatches(None, SHAPES, TRAIN_SEEDS, seed=0)
    seeds = [seed for step in range(6) for seed in batches.batch(step, parse_buckets(["1x16x16:1"]), [3]).seeds]
    assert len(set(seeds)) == len(seeds) == 18


def test_plans_of_one_bucket_follow_each_other():
    buckets = parse_buckets(["17x96x96:1", "1x96x96:1"])
    taken = {bucket.name: 0 for bucket in buckets}
    for step in range(150):
        plan = plan_batch(buckets, [4, 20], 0, step)
        assert plan.first == taken[plan.bucket.name]
        taken[plan.bucket.name] += plan.size

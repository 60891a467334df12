from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from videosyn.core.errors import UserError
from videosyn.dataset import latent_cache
from videosyn.dataset.buckets import parse_buckets
from videosyn.dataset.latent_cache import LatentCache, calibrate, encode_frames, load_vae, write_latents
from videosyn.dataset.world_clips import TRAIN_SEEDS, render_clips, scenes_of, write_clips
from videosyn.world.scene import is_held_out

BUCKETS = parse_buckets(["5x32x32:2", "5x16x48:1", "1x32x32:1"])


def build(folder: Path, vae_folder: Path, num_clips: int = 9, **how):
    how = {"workers": 0, "shard_size": 4, "dtype": "fp32", **how}
    return write_latents(folder, vae_folder, BUCKETS, num_clips, num_images=3, **how)


def test_cached_latents_are_those_of_direct_encoding(tmp_path: Path, vae_folder: Path):
    cache = LatentCache(build(tmp_path, vae_folder), "train")
    vae = load_vae(vae_folder)
    for bucket in BUCKETS[:2]:
        latents, seeds = cache.clips(bucket)
        frames = render_clips(seeds.tolist(), bucket, "train")
        assert torch.equal(latents, encode_frames(vae, frames).bfloat16())


def test_image_batches_hold_images_and_first_frames_that_equal_images_encoded_alone(tmp_path: Path, vae_folder: Path):
    cache = LatentCache(build(tmp_path, vae_folder), "train")
    latents, seeds = cache.clips(BUCKETS[2])
    assert len(seeds) == 6 + 3
    alone = encode_frames(load_vae(vae_folder), render_clips(seeds.tolist(), BUCKETS[2], "train"))
    assert torch.allclose(latents.float(), alone, atol=0.03)


def test_no_scene_of_the_cache_is_held_out_and_none_comes_twice(tmp_path: Path, vae_folder: Path):
    shards = build(tmp_path, vae_folder)
    seeds = [seed for shard in shards for seed in shard.seeds]
    assert len(set(seeds)) == len(seeds) == 12
    assert not any(is_held_out(scene) for scene in scenes_of(seeds, "train"))


def test_an_interrupted_cache_goes_on_and_ends_as_an_uninterrupted_one(
    tmp_path: Path, vae_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    whole = build(tmp_path / "whole", vae_folder)
    made = []

    def stop_after_two(shard, tensors):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(shard.path.name)
        write_shard(shard, tensors)

    write_shard = latent_cache.write_shard
    monkeypatch.setattr(latent_cache, "write_shard", stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "broken", vae_folder)
    first_made = {path: path.stat().st_mtime_ns for path in (tmp_path / "broken").glob("*.safetensors")}
    assert len(first_made) == 2
    monkeypatch.setattr(latent_cache, "write_shard", write_shard)
    resumed = build(tmp_path / "broken", vae_folder)
    assert all(path.stat().st_mtime_ns == written for path, written in first_made.items())
    assert [shard.path.read_bytes() for shard in resumed] == [shard.path.read_bytes() for shard in whole]


def test_two_processes_make_the_same_cache_as_one(tmp_path: Path, vae_folder: Path):
    alone = build(tmp_path / "alone", vae_folder)
    together = build(tmp_path / "together", vae_folder, workers=2)
    assert [shard.path.read_bytes() for shard in together] == [shard.path.read_bytes() for shard in alone]


def test_clips_rendered_before_are_not_rendered_again(
    tmp_path: Path, vae_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    films = BUCKETS[:2]
    write_clips(tmp_path / "pixels", films, 9, workers=0, shard_size=4)
    direct = write_latents(tmp_path / "direct", vae_folder, films, 9, workers=0, shard_size=4, dtype="fp32")
    monkeypatch.setattr(latent_cache, "render_clips", lambda *_: pytest.fail("rendered again"))
    how = {"workers": 0, "shard_size": 4, "dtype": "fp32", "rendered": tmp_path / "pixels"}
    read = write_latents(tmp_path / "read", vae_folder, films, 9, **how)
    assert [shard.path.read_bytes() for shard in read] == [shard.path.read_bytes() for shard in direct]


def test_a_larger_cache_keeps_the_shards_of_a_smaller_one(tmp_path: Path, vae_folder: Path):
    small = {shard.path for shard in build(tmp_path, vae_folder, num_clips=12)}
    large = {shard.path for shard in build(tmp_path, vae_folder, num_clips=24)}
    assert small < large


def test_a_cache_refuses_another_vae(tmp_path: Path, vae_folder: Path):
    build(tmp_path / "cache", vae_folder)
    other = tmp_path / "other"
    other.mkdir()
    for path in vae_folder.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    (other / "config.json").write_text((other / "config.json").read_text() + "\n")
    with pytest.raises(UserError, match="vae"):
        build(tmp_path / "cache", other)


def test_calibrated_latents_have_mean_0_and_spread_1_in_every_channel(vae_folder: Path):
    vae = load_vae(vae_folder)
    plain = dataclasses.replace(vae.config, latents_mean=(), latents_std=())
    vae.config = plain
    vae = calibrate(vae, BUCKETS[0], num_clips=12)
    frames = render_clips(range(TRAIN_SEEDS, TRAIN_SEEDS + 12), BUCKETS[0], "train")
    latents = encode_frames(vae, frames).transpose(0, 1).flatten(1)
    assert torch.allclose(latents.mean(1), torch.zeros(4), atol=1e-3)
    assert torch.allclose(latents.std(1), torch.ones(4), atol=1e-2)

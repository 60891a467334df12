"""Clips of the world as a training run sees them: latents in memory, and held-out ones. Next: `run.py`."""

from __future__ import annotations

from random import Random

import torch

from videosyn.dataset.batches import CaptionedLatents, LatentBatch
from videosyn.dataset.buckets import Bucket
from videosyn.dataset.latent_cache import LatentCache, encode_frames
from videosyn.dataset.shards import Shard
from videosyn.dataset.world_clips import VALIDATION_SEEDS, render_clips, scenes_of
from videosyn.training.options import DiTTraining
from videosyn.vidvae.model import VidVAE
from videosyn.world.caption import caption
from videosyn.world.footprint import named_cells
from videosyn.world.maps import codes, coverage, draw_map


def world_latents(options: DiTTraining, shards: list[Shard], with_maps: bool, device: torch.device) -> CaptionedLatents:
    """Batches of cached latents, with captions spoken anew each time a clip is seen."""
    with_things = options.thing_weight != 1.0 or options.naming_weight > 0 or options.routed_share < 1
    return CaptionedLatents(
        LatentCache(shards, "train"),
        options.seed,
        options.caption_dropout,
        options.fps,
        with_things,
        with_maps,
        str(device),
    )


def held_out_latents(options: DiTTraining, vae: VidVAE, bucket: Bucket, with_maps: bool) -> list[LatentBatch]:
    """Clips whose combinations training never shows, and full captions, the same each time."""
    seeds = tuple(range(VALIDATION_SEEDS, VALIDATION_SEEDS + options.validation_clips))
    frames = render_clips(seeds, bucket, "held-out", options.fps, next(vae.parameters()).device)
    latents = encode_frames(vae, frames)
    scenes = scenes_of(seeds, "held-out")
    captions = tuple(caption(scene, Random(scene.seed), bucket.frames, "full") for scene in scenes)
    cells = [named_cells(scene, bucket.frames, bucket.height, bucket.width, options.fps) for scene in scenes]
    shape = (bucket.frames, bucket.height, bucket.width)
    covered = coverage(scenes, *shape, options.fps, latents.device) if with_maps else []
    maps = [draw_map(one, codes(scene, bucket.frames)) for one, scene in zip(covered, scenes)]
    size = options.batch_size
    parts = (slice(low, low + size) for low in range(0, len(seeds), size))
    return [
        LatentBatch(
            *(bucket.name, 0, bucket.frames, seeds[part], captions[part], latents[part], torch.stack(cells[part])),
            maps=torch.stack(maps[part]) if with_maps else None,
        )
        for part in parts
    ]

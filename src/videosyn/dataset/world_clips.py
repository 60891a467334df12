"""Clips of the world as pixels: rendered on the spot, or up front into shards of uint8. Next: `latent_cache.py`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from videosyn.dataset.buckets import Bucket, counts_by_share
from videosyn.dataset.shards import SHARD_SIZE, Shard, check_manifest, fill, plan_shards, read_shard, write_shard
from videosyn.world.render import render
from videosyn.world.scene import Scene, Split, sample_scene

TRAIN_SEEDS = 1_000_000_000
"""First seed of training scenes; `VALIDATION_SEEDS` begins the held-out ones. Others use smaller seeds."""
VALIDATION_SEEDS = 900_000_000


def scenes_of(seeds: Sequence[int], split: Split) -> list[Scene]:
    """The scenes of these seeds: of split "train" none shows a held-out combination, of "held-out" every one does."""
    return [sample_scene(seed, split=split) for seed in seeds]


def render_clips(
    seeds: Sequence[int], bucket: Bucket, split: Split, fps: float = 8, device: str | torch.device = "cpu"
) -> Tensor:
    """-> uint8 (B, T, H, W, 3) on `device`, one clip a seed."""
    return render(scenes_of(seeds, split), bucket.frames, bucket.height, bucket.width, fps=fps, device=device)


def write_clips(
    folder: str | os.PathLike,
    buckets: tuple[Bucket, ...],
    num_clips: int,
    split: Split = "train",
    first_seed: int = TRAIN_SEEDS,
    fps: float = 8,
    workers: int = 2,
    device: str = "cpu",
    shard_size: int = SHARD_SIZE,
    on_shard: Callable[[int, int], None] | None = None,
) -> list[Shard]:
    """Renders `num_clips`, split over the buckets by share, into shards of uint8 (n, T, H, W, 3) under the key `video`.

    Shards that exist are kept, so a killed run goes on where it was. `on_shard(done, total)` is called as they come.
    On an accelerator the rendering runs in this process.
    """
    counts = counts_by_share([bucket.share for bucket in buckets], num_clips)
    check_manifest(folder, {"kind": "world clips", "split": split, "first_seed": first_seed, "fps": fps})
    shards = plan_shards(folder, buckets, counts, shard_size, first_seed)
    make = partial(_render_shard, split=split, fps=fps, device=device)
    done = sum(shard.path.exists() for shard in shards)
    for _ in fill(shards, make, workers=workers if device == "cpu" else 0):
        done += 1
        if on_shard is not None:
            on_shard(done, len(shards))
    return shards


def _render_shard(shard: Shard, split: Split, fps: float, device: str) -> None:
    write_shard(shard, {"video": render_clips(shard.seeds, shard.bucket, split, fps, device).cpu()})


class WorldClips:
    """Clips in memory: per bucket a uint8 tensor (N, T, H, W, 3) and the seeds (N,) of its scenes."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        pieces: dict[Bucket, list[dict[str, Tensor]]] = {}
        for shard in shards:
            pieces.setdefault(shard.bucket, []).append(read_shard(shard))
        self.buckets = tuple(pieces)
        self.video = {bucket: torch.cat([piece["video"] for piece in part]) for bucket, part in pieces.items()}
        self.seeds = {bucket: torch.cat([piece["seeds"] for piece in part]) for bucket, part in pieces.items()}

    @classmethod
    def build(cls, folder: str | os.PathLike, buckets: tuple[Bucket, ...], num_clips: int, **how) -> WorldClips:
        """Renders what `folder` lacks (`write_clips`, whose arguments `how` takes) and reads all of it."""
        return cls(write_clips(Path(folder), buckets, num_clips, **how))

"""Which clips a step trains on, and their batch: a pure function of (seed, step, phase), whoever asks, however often.

Every bucket walks through all its clips in an order shuffled anew each epoch. Used by `training/`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from random import Random

import torch
from torch import Tensor

from videosyn.core.errors import UserError
from videosyn.dataset.buckets import Bucket, bucket_of_step
from videosyn.dataset.latent_cache import LatentCache
from videosyn.dataset.world_clips import WorldClips, render_clips, scenes_of
from videosyn.world.caption import caption
from videosyn.world.footprint import named_cells
from videosyn.world.maps import codes, coverage, draw_map


@dataclass(frozen=True)
class Plan:
    """A step's bucket, how many clips it takes, and how many clips of this bucket were taken before."""

    bucket: Bucket
    size: int
    first: int


@dataclass(frozen=True)
class Share:
    """Which part of every batch a process takes: the `rank`th of `count`."""

    rank: int = 0
    count: int = 1

    def of(self, size: int) -> range:
        """Places of a batch of `size` clips; parts differ by one at most. A UserError where one would be empty."""
        if size < self.count:
            raise UserError(f"a batch of {size} cannot be shared by {self.count} processes: raise batch_size")
        return range(self.rank * size // self.count, (self.rank + 1) * size // self.count)


WHOLE = Share()


def plan_batch(buckets: Sequence[Bucket], sizes: Sequence[int], seed: int, step: int) -> Plan:
    """The plan of a step; buckets come in their shares, exactly so in every hundred steps."""
    chosen, before = bucket_of_step(tuple(bucket.share for bucket in buckets), seed, step)
    return Plan(buckets[chosen], sizes[chosen], before * sizes[chosen])


def batch_sizes(buckets: Sequence[Bucket], volume: int, largest: int, volume_of: Callable[[Bucket], int]) -> list[int]:
    """Clips per batch for each bucket: what fills `volume` (in pixels or tokens, by `volume_of`), 1 to `largest`."""
    return [max(1, min(largest, round(volume / volume_of(bucket)))) for bucket in buckets]


def check_shared(buckets: Sequence[Bucket], sizes: Sequence[int], shares: Callable[[Bucket], int]) -> None:
    """A UserError for a bucket whose batch has fewer clips than the processes, or teams of them, that share it."""
    for bucket, size in zip(buckets, sizes):
        if size < shares(bucket):
            raise UserError(
                f"a batch of {size} of bucket {bucket.name} cannot be shared by {shares(bucket)} processes: raise "
                "batch_size, or, for a VDiT, sequence_parallel"
            )


def indices(plan: Plan, num_clips: int, seed: int) -> list[int]:
    """Which of the bucket's `num_clips` clips the plan takes."""
    found = []
    for place in range(plan.first, plan.first + plan.size):
        epoch, within = divmod(place, num_clips)
        found.append(int(_order(plan.bucket.name, num_clips, seed, epoch)[within]))
    return found


@lru_cache(maxsize=16)
def _order(bucket: str, num_clips: int, seed: int, epoch: int) -> Tensor:
    generator = torch.Generator().manual_seed(Random(f"epoch/{seed}/{bucket}/{epoch}").getrandbits(63))
    return torch.randperm(num_clips, generator=generator)


@dataclass(frozen=True)
class ClipBatch:
    """Crops of clips as pixels. `video`: uint8 (B, T, H, W, 3)."""

    bucket: str
    step: int
    seeds: tuple[int, ...]
    """Scenes of the clips."""
    corners: tuple[tuple[int, int, int], ...]
    """First frame, row and column of each crop in its clip."""
    video: Tensor
    first: int = 0
    """Place of the first of these clips in the batch of all processes."""
    whole: int = 0
    """Size of that batch."""

    @property
    def size(self) -> int:
        return len(self.seeds)


@dataclass(frozen=True)
class CropBatches:
    """Random crops of world clips, held in memory, or (`clips` None) rendered for each batch on `device`."""

    clips: WorldClips | None
    sources: tuple[Bucket, ...]
    """Shapes of the clips, with their shares."""
    first_seed: int
    """Where the seeds of clips begin that are rendered for each batch."""
    seed: int
    fps: float = 8.0
    device: str = "cpu"

    def batch(self, step: int, buckets: Sequence[Bucket], sizes: Sequence[int], share: Share = WHOLE) -> ClipBatch:
        """The batch of a step: a crop shape by share, then a clip shape that holds it, then clips, then places."""
        plan = plan_batch(buckets, sizes, self.seed, step)
        own = share.of(plan.size)
        crop = plan.bucket
        fitting = [
            clip
            for clip in self.sources
            if clip.frames >= crop.frames and clip.height >= crop.height and clip.width >= crop.width
        ]
        source = Random(f"clip/{self.seed}/{step}").choices(fitting, [clip.share for clip in fitting])[0]
        if self.clips is None:
            start = self.first_seed + step * max(sizes)
            seeds = tuple(range(start, start + plan.size))[own.start : own.stop]
            video = render_clips(seeds, source, "train", self.fps, self.device)
        else:
            pool = next(bucket for bucket in self.clips.buckets if bucket.name == source.name)
            chosen = indices(replace(plan, bucket=pool), len(self.clips.seeds[pool]), self.seed)
            chosen = chosen[own.start : own.stop]
            seeds = tuple(self.clips.seeds[pool][chosen].tolist())
            video = [self.clips.video[pool][index] for index in chosen]
        corners = tuple(_corner(self.seed, step, index, source, crop) for index in own)
        pieces = [
            clip[t : t + crop.frames, y : y + crop.height, x : x + crop.width]
            for clip, (t, y, x) in zip(video, corners)
        ]
        return ClipBatch(crop.name, step, seeds, corners, torch.stack(pieces), own.start, plan.size)


def _corner(seed: int, step: int, index: int, clip: Bucket, crop: Bucket) -> tuple[int, int, int]:
    rng = Random(f"crop/{seed}/{step}/{index}")
    spare = (clip.frames - crop.frames, clip.height - crop.height, clip.width - crop.width)
    t, y, x = (rng.randint(0, room) for room in spare)
    return t, y, x


@dataclass(frozen=True)
class LatentBatch:
    """Cached latents and captions. `latents`: (B, Z, t, h, w), normalised."""

    bucket: str
    step: int
    num_frames: int
    seeds: tuple[int, ...]
    """Scenes of the clips."""
    captions: tuple[str, ...]
    """"" where the caption is left out."""
    latents: Tensor
    things: Tensor | None = None
    """Kind, colour and motion of what lies in each cell, 0 where nothing does: uint8 (B, 3, t, h, w), as
    `world.footprint.named_cells` gives them. None: not asked for."""
    everywhere: Tensor | None = None
    """Where things lie in all clips of the batch of all processes: bool (1, whole, t, h, w). The first axis keeps it
    whole where a batch is cut into parts. None: in `things` alone."""
    maps: Tensor | None = None
    """Which thing lies where, fp32 (B, MAP_CHANNELS, t, h, w), as `world.maps` draws it. None: not asked for."""
    first: int = 0
    """Place of the first of these clips in the batch of all processes."""
    whole: int = 0
    """Size of that batch."""

    @property
    def size(self) -> int:
        return len(self.seeds)


@dataclass(frozen=True)
class CaptionedLatents:
    """Batches of a latent cache with captions spoken anew each time a clip is seen."""

    cache: LatentCache
    seed: int
    caption_dropout: float
    fps: float = 8.0
    with_things: bool = False
    """Whether batches say where which things are."""
    with_maps: bool = False
    """Whether batches have maps."""
    device: str = "cpu"
    """Where what they show is drawn."""
    _covered: dict[tuple[str, int], Tensor] = field(default_factory=dict, repr=False)
    _named_cells: dict[tuple[str, int], Tensor] = field(default_factory=dict, repr=False)

    def batch(self, step: int, buckets: Sequence[Bucket], sizes: Sequence[int], share: Share = WHOLE) -> LatentBatch:
        """The batch of a step. One-frame buckets take the cache's images and the first frames of its clips."""
        plan = plan_batch(buckets, sizes, self.seed, step)
        latents, seeds = self.cache.clips(plan.bucket)
        own = share.of(plan.size)
        every = indices(plan, len(seeds), self.seed)
        chosen = every[own.start : own.stop]
        picked = tuple(seeds[chosen].tolist())
        frames = plan.bucket.frames
        captions = tuple(self._caption(seed, step, index, frames) for index, seed in zip(own, picked))
        things = everywhere = None
        if self.with_things:
            cells = torch.stack([self._cells(plan.bucket, seed) for seed in seeds[every].tolist()])
            things, everywhere = cells[own.start : own.stop], (cells[:, 0] > 0)[None]
        maps = self._maps(plan.bucket, picked) if self.with_maps else None
        latents = latents[chosen]
        return LatentBatch(
            *(plan.bucket.name, step, frames, picked, captions, latents, things, everywhere, maps),
            first=own.start,
            whole=plan.size,
        )

    def _maps(self, bucket: Bucket, seeds: tuple[int, ...]) -> Tensor:
        """(B, MAP_CHANNELS, t, h, w); what things cover is worked out once for each clip."""
        scenes = scenes_of(seeds, self.cache.split)
        new = [place for place, seed in enumerate(seeds) if (bucket.name, seed) not in self._covered]
        if new:
            size = (bucket.frames, bucket.height, bucket.width)
            covered = coverage([scenes[place] for place in new], *size, self.fps, self.device)
            self._covered.update({(bucket.name, seeds[place]): one for place, one in zip(new, covered)})
        maps = [
            draw_map(self._covered[bucket.name, seed], codes(scene, bucket.frames))
            for seed, scene in zip(seeds, scenes)
        ]
        return torch.stack(maps)

    def _cells(self, bucket: Bucket, scene_seed: int) -> Tensor:
        """Worked out once for each clip: (3, t, h, w)."""
        key = (bucket.name, scene_seed)
        if key not in self._named_cells:
            scene = scenes_of([scene_seed], self.cache.split)[0]
            self._named_cells[key] = named_cells(scene, bucket.frames, bucket.height, bucket.width, self.fps)
        return self._named_cells[key]

    def _caption(self, scene_seed: int, step: int, index: int, num_frames: int) -> str:
        rng = Random(f"caption/{self.seed}/{step}/{index}")
        if rng.random() < self.caption_dropout:
            return ""
        scene = scenes_of([scene_seed], self.cache.split)[0]
        return caption(scene, rng, num_frames)

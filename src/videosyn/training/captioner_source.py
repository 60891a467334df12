"""Captioned frames of the world, a batch being a function of (seed, step, share). Next: `captioner_step.py`.

Clips are rendered once, a few frames of each spread evenly. A batch takes some of these, or one, and says what they
show anew each time; now and then in a mirror, where no held-out combination comes of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import torch
from torch import Tensor

from videosyn.core.errors import UserError
from videosyn.dataset.batches import Share, indices, plan_batch
from videosyn.dataset.buckets import Bucket, parse_buckets
from videosyn.dataset.shards import Shard, read_shard
from videosyn.dataset.world_clips import VALIDATION_SEEDS, render_clips, scenes_of, write_clips
from videosyn.training.captioner_options import CaptionerTraining
from videosyn.training.run import counter
from videosyn.world.caption import caption
from videosyn.world.dense import dense_caption, say_dense
from videosyn.world.footprint import frame_cells
from videosyn.world.parsed import Parsed
from videosyn.world.scene import Scene, is_held_out, mirrored
from videosyn.world.vocabulary import LIGHTS, SCENES, STYLES


@dataclass(frozen=True)
class CaptionedFrames:
    """Some frames of clips and what they show. `frames`: uint8 (B, T, H, W, 3)."""

    bucket: str
    step: int
    names: tuple[str, ...]
    """Scenes of the world by seed, or clips of a dataset."""
    prompts: tuple[str, ...]
    captions: tuple[str, ...]
    frames: Tensor
    times: Tensor
    """(B, T), 0 where the clip begins to 1 where it ends."""
    cells: Tensor | None = None
    """Kind and colour of what lies in each cell, each 1 + its place in the vocabulary, 0 where nothing does: uint8
    (B, 2, T, h, w). None: not asked for."""
    places: Tensor | None = None
    """Place, light and style of each scene, by their places in the vocabulary: (B, 3). None: not asked for."""
    first: int = 0
    """Place of the first of these clips in the batch of all processes."""
    whole: int = 0
    """Size of that batch."""

    @property
    def size(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class _Place:
    """Where a clip's frames lie: the row of a shard."""

    shard: int
    row: int
    num_frames: int
    """Of the clip that they are taken from."""


@dataclass(frozen=True)
class _Seen:
    """One clip of a batch."""

    name: str
    prompt: str
    caption: str
    frames: Tensor
    times: list[float]
    cells: Tensor | None
    place: tuple[int, int, int]


class WorldFrames:
    """Fulfils `captioner_step.Clips`."""

    def __init__(
        self, options: CaptionerTraining, shards: dict[int, list[Shard]], num_frames: int, prompt: str, cell_px: int
    ) -> None:
        """shards: of the clips of each number of frames. num_frames: as many as the captioner takes of a clip.

        cell_px: side of the cells of the naming lesson.
        """
        self._cell_px = cell_px
        self.options, self.num_frames, self.prompt = options, num_frames, prompt
        self._tensors: list[dict[str, Tensor]] = []
        self._pools: dict[tuple[int, int, int], list[_Place]] = {}
        for clip_frames, some in shards.items():
            for shard in some:
                shape = (shard.bucket.height, shard.bucket.width)
                places = [_Place(len(self._tensors), row, clip_frames) for row in range(len(shard.seeds))]
                self._pools.setdefault((clip_frames, *shape), []).extend(places)
                self._pools.setdefault((1, *shape), []).extend(places)
                self._tensors.append(read_shard(shard))

    def batch(self, step: int, buckets: Sequence[Bucket], sizes: Sequence[int], share: Share) -> CaptionedFrames:
        plan = plan_batch(buckets, sizes, self.options.seed, step)
        pool = self._pools.get((plan.bucket.frames, plan.bucket.height, plan.bucket.width))
        if pool is None:
            raise UserError(f"bucket {plan.bucket.name} needs rendered clips of its shape: add one to clips")
        own = share.of(plan.size)
        chosen = indices(plan, len(pool), self.options.seed)[own.start : own.stop]
        seen = [self._see(pool[index], plan.bucket, f"{step}/{place}") for place, index in zip(own, chosen)]
        cells = [each.cells for each in seen if each.cells is not None]
        return CaptionedFrames(
            plan.bucket.name,
            step,
            tuple(each.name for each in seen),
            tuple(each.prompt for each in seen),
            tuple(each.caption for each in seen),
            torch.stack([each.frames for each in seen]),
            torch.tensor([each.times for each in seen]),
            torch.stack(cells) if cells else None,
            torch.tensor([each.place for each in seen]) if cells else None,
            own.start,
            plan.size,
        )

    def _see(self, place: _Place, bucket: Bucket, draw: str) -> _Seen:
        rng = Random(f"frames/{self.options.seed}/{draw}")
        shard = self._tensors[place.shard]
        kept = shard["video"].shape[1]
        wanted = min(1 if bucket.frames == 1 else self.num_frames, kept)
        numbers = sorted(rng.sample(range(kept), wanted))
        frames = shard["video"][place.row, numbers]
        (scene,) = scenes_of([int(shard["seeds"][place.row])], "train")
        cells = None
        if self.options.naming_weight:
            fps = self.options.fps * (kept - 1) / (place.num_frames - 1)
            cells = frame_cells(scene, kept, bucket.height, bucket.width, fps, self._cell_px)[:2, numbers]
        other = mirrored(scene)
        if rng.random() < 0.5 and not is_held_out(other):
            scene, frames = other, frames.flip(2)
            cells = cells if cells is None else cells.flip(3)
        times = [number / (kept - 1) for number in numbers] if wanted > 1 else [0.0]
        prompt, said = self._say(scene, bucket.frames, rng)
        names = (list(SCENES).index(scene.place), list(LIGHTS).index(scene.light), list(STYLES).index(scene.style))
        return _Seen(str(scene.seed), prompt, said, frames, times, cells, names)

    def _say(self, scene: Scene, num_frames: int, rng: Random) -> tuple[str, str]:
        if rng.random() < self.options.retelling_share:
            return self.options.retelling, caption(scene, rng, num_frames)
        return self.prompt, dense_caption(scene, num_frames)


def render_frames(options: CaptionerTraining) -> dict[int, list[Shard]]:
    """Renders what the cache lacks -> shards of `kept_frames` frames, by the number of frames of their clips."""
    clips = parse_buckets(options.clips)
    total = sum(bucket.share for bucket in clips)
    found = {}
    for num_frames in sorted({bucket.frames for bucket in clips}):
        own = [bucket for bucket in clips if bucket.frames == num_frames]
        count = round(options.num_clips * sum(bucket.share for bucket in own) / total)
        fps = options.fps * (options.kept_frames - 1) / (num_frames - 1)  # the same moments, fewer of them
        rendered = tuple(replace(bucket, frames=options.kept_frames) for bucket in own)
        found[num_frames] = write_clips(
            Path(options.cache) / str(num_frames),
            rendered,
            count,
            fps=fps,
            workers=options.workers,
            on_shard=counter(f"clips of {num_frames} frames"),
        )
    return found


def held_out_frames(
    options: CaptionerTraining, buckets: Sequence[Bucket], prompt: str
) -> list[tuple[CaptionedFrames, tuple[Parsed, ...]]]:
    """Clips whose combinations training never shows, whole, and what there is to say of each."""
    bucket = buckets[0]
    batches = []
    for start in range(0, options.validation_clips, 32):
        seeds = range(VALIDATION_SEEDS + start, VALIDATION_SEEDS + min(start + 32, options.validation_clips))
        frames = render_clips(seeds, bucket, "held-out", options.fps)
        said = [say_dense(scene, bucket.frames) for scene in scenes_of(seeds, "held-out")]
        captions, truths = zip(*said)
        times = torch.linspace(0, 1, bucket.frames).expand(len(seeds), -1)
        names = tuple(map(str, seeds))
        prompts = (prompt,) * len(seeds)
        batches.append((CaptionedFrames(bucket.name, 0, names, prompts, captions, frames, times), truths))
    return batches

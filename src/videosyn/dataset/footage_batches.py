"""Batches of captioned clips from files: a pure function of (seed, step, share), whoever decodes, however many do.

    windows of a bucket -> shuffled -> a step's windows -> this process's share -> pixels, or latents of a cache

`FramesFromFiles` decodes as training goes; `footage_cache.CachedLatents` reads what was encoded before; to
`FootageBatches` they are the same. Used by `training/`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random
from threading import Lock
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from videosyn.core.errors import UserError
from videosyn.dataset.batches import WHOLE, Share, indices, plan_batch
from videosyn.dataset.buckets import Bucket
from videosyn.dataset.decoders import Decoders
from videosyn.dataset.footage import Footage
from videosyn.dataset.windows import Window, Windows, wanted

MOST_STEPS_ASIDE = 64
"""How many neighbours in turn stand in for a window that cannot be read."""


@dataclass(frozen=True)
class FootageBatch:
    """Clips from files. Either `video`, uint8 (B, T, H, W, 3), or `latents` (B, Z, t, h, w), normalised."""

    bucket: str
    step: int
    num_frames: int
    names: tuple[str, ...]
    """Of the clips."""
    starts: tuple[int, ...]
    """First frame of each window in its clip."""
    captions: tuple[str, ...]
    """"" where the caption is left out."""
    fps: tuple[float, ...]
    video: Tensor | None = None
    latents: Tensor | None = None
    first: int = 0
    """Place of the first of these clips in the batch of all processes."""
    whole: int = 0
    """Size of that batch."""

    @property
    def size(self) -> int:
        return len(self.names)


class Reader(Protocol):
    """Where the pictures of windows come from."""

    def available(self, windows: Windows) -> Windows:
        """Those of the windows that this reader knows it can read."""
        ...

    def read(self, pool: Sequence[Window], chosen: Sequence[int], bucket: Bucket, across: Sequence[float]) -> Read:
        """`pool[i]` for the chosen i, or what stands in for it."""
        ...


@dataclass(frozen=True)
class Read:
    windows: tuple[Window, ...]
    video: Tensor | None = None
    latents: Tensor | None = None


class FootageBatches:
    """`batch` may be called from several threads."""

    def __init__(
        self,
        footage: Footage,
        windows: Windows,
        reader: Reader,
        seed: int,
        caption_dropout: float = 0.0,
        random_crops: bool = False,
    ) -> None:
        """random_crops: pictures are cut out anywhere along their longer side, else in its middle."""
        self.footage, self.reader, self.seed = footage, reader, seed
        self.windows = reader.available(windows)
        self.caption_dropout, self.random_crops = caption_dropout, random_crops

    def batch(self, step: int, buckets: Sequence[Bucket], sizes: Sequence[int], share: Share = WHOLE) -> FootageBatch:
        """This process's share of a step's batch. Buckets without clips must have been left out."""
        plan = plan_batch(buckets, sizes, self.seed, step)
        pool, own = self.windows.of[plan.bucket.name], share.of(plan.size)
        chosen = indices(replace(plan, first=plan.first + own.start, size=len(own)), len(pool), self.seed)
        across = [Random(f"crop/{self.seed}/{step}/{i}").random() if self.random_crops else 0.5 for i in own]
        read = self.reader.read(pool, chosen, plan.bucket, across)
        clips = [self.footage.clips[window.clip] for window in read.windows]
        captions = (
            "" if Random(f"caption/{self.seed}/{step}/{i}").random() < self.caption_dropout else clip.caption
            for i, clip in zip(own, clips)
        )
        return FootageBatch(
            plan.bucket.name,
            step,
            plan.bucket.frames,
            tuple(clip.name for clip in clips),
            tuple(window.start for window in read.windows),
            tuple(captions),
            tuple(window.fps for window in read.windows),
            read.video,
            read.latents,
            own.start,
            plan.size,
        )


class FramesFromFiles:
    """Decodes. Fulfils `Reader`. A window that cannot be read is told of, counted, and its neighbour stands in."""

    def __init__(
        self, footage: Footage, decoders: Decoders, max_damaged: int, tell: Callable[[str], None] = print
    ) -> None:
        """`max_damaged`: as many clips may turn out to be unreadable; one more is a UserError."""
        self.footage, self.decoders = footage, decoders
        self.max_damaged, self.tell = max_damaged, tell
        self.damaged: dict[Window, str] = {}
        self._lock = Lock()

    def available(self, windows: Windows) -> Windows:
        return windows

    def read(self, pool: Sequence[Window], chosen: Sequence[int], bucket: Bucket, across: Sequence[float]) -> Read:
        if all(each in self.damaged for each in pool):  # other buckets may have the same windows
            raise UserError(f"no clip of bucket {bucket.name} can be read: see the log")
        places = list(chosen)
        found: list[np.ndarray | None] = [None] * len(chosen)
        missing = list(range(len(chosen)))
        for _ in range(MOST_STEPS_ASIDE):
            for index in missing:
                while pool[places[index]] in self.damaged:
                    places[index] = (places[index] + 1) % len(pool)
            asked = [wanted(self.footage, pool[places[index]], bucket, across[index]) for index in missing]
            for index, frames in zip(missing, self.decoders.read(asked)):
                if isinstance(frames, str):
                    self._set_aside(pool[places[index]], frames, pool)
                else:
                    found[index] = frames
            missing = [index for index in missing if found[index] is None]
            if not missing:
                video = torch.from_numpy(np.stack(found))  # pyright: ignore[reportArgumentType,reportCallIssue]
                return Read(tuple(pool[place] for place in places), video)
        raise UserError(f"{MOST_STEPS_ASIDE} neighbours of a clip in bucket {bucket.name} cannot be read: see the log")

    def _set_aside(self, window: Window, reason: str, pool: Sequence[Window]) -> None:
        with self._lock:
            self._count(window, reason, pool)

    def _count(self, window: Window, reason: str, pool: Sequence[Window]) -> None:
        if window in self.damaged:
            return
        name = self.footage.clips[window.clip].name
        known = {each.clip for each in self.damaged}
        self.damaged[window] = reason
        if window.clip not in known:
            self.tell(f"left out: {name} {reason} ({len(known) + 1} so far, of at most {self.max_damaged})")
        if len(known | {window.clip}) > self.max_damaged:
            raise UserError(
                f"{len(known) + 1} clips cannot be read, the last is {name}, which {reason}: mend "
                f"{self.footage.folder} or raise max_damaged"
            )
        if all(each in self.damaged for each in pool):
            raise UserError(f"no clip of a bucket can be read, the last is {name}, which {reason}")

"""A dataset folder as a run sees it: which clips train, which are held out, in which buckets. Next: `run.py`."""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from collections.abc import Iterator

import torch
from torch import Tensor

from videosyn.core.errors import UserError
from videosyn.dataset.batches import WHOLE
from videosyn.dataset.buckets import Bucket
from videosyn.dataset.decoders import Decoders
from videosyn.dataset.footage import Footage, read_footage
from videosyn.dataset.footage_batches import FootageBatch, FootageBatches, FramesFromFiles, Reader
from videosyn.dataset.windows import Fitting, Windows, check_nothing_is_left_over, fit_windows, wanted
from videosyn.training.options import Training


@dataclasses.dataclass(frozen=True)
class FootageSource:
    """The clips of `options.data`, fitted into buckets."""

    footage: Footage
    windows: Windows
    """Of the clips that train."""
    held_out: Windows
    buckets: tuple[Bucket, ...]
    """Those that have clips."""

    def captions(self) -> list[str]:
        return sorted({clip.caption for clip in self.footage.clips})

    def every_window(self) -> Windows:
        """Trained on and held out."""
        both = {name: (*some, *self.held_out.of[name]) for name, some in self.windows.of.items()}
        return dataclasses.replace(self.windows, of=both)

    def batches(self, reader: Reader, seed: int, caption_dropout: float = 0.0) -> FootageBatches:
        return FootageBatches(self.footage, self.windows, reader, seed, caption_dropout)

    def held_out_batches(self, reader: Reader, size: int) -> Iterator[FootageBatch]:
        """The held-out windows of the first bucket that has any, with their captions."""
        found = FootageBatches(self.footage, self.held_out, reader, seed=0)
        bucket = next((each for each in self.buckets if found.windows.of[each.name]), self.buckets[0])
        count = len(found.windows.of[bucket.name])
        for step in range(-(-count // size)):
            yield found.batch(step, [bucket], [min(size, count)], WHOLE)

    def some_frames(self, decoders: Decoders, num_clips: int) -> Iterator[Tensor]:
        """uint8 (1, T, H, W, 3) of windows of the first bucket, for measuring latents."""
        bucket = self.buckets[0]
        windows = self.windows.of[bucket.name]
        for window in windows[:: max(1, len(windows) // num_clips)][:num_clips]:
            frames = decoders.read([wanted(self.footage, window, bucket)])[0]
            if not isinstance(frames, str):
                yield torch.from_numpy(frames.copy())[None]

    def frames_reader(self, decoders: Decoders, max_damaged: int) -> FramesFromFiles:
        return FramesFromFiles(self.footage, decoders, max_damaged, tell)


def footage_source(
    options: Training, buckets: tuple[Bucket, ...], validation_clips: int, with_captions: bool = True
) -> FootageSource:
    """Reads the folder and fits its clips. Raises UserError for what cannot be used, unless it may be left out."""
    footage = read_footage(options.data, with_captions)
    fitting = Fitting(options.clip_fps, options.max_windows, options.max_crop)
    windows = fit_windows(footage, buckets, fitting)
    if not options.drop_unfit and not options.dry_run:
        check_nothing_is_left_over(footage, windows)
    left_over = (*footage.refused, *windows.unfit)
    if left_over and not options.dry_run:
        tell(f"{len(left_over)} clips are left out, the first is {left_over[0][0]}, which {left_over[0][1]}")
    if windows.empty and not options.dry_run:
        tell(f"buckets without clips are left out: {', '.join(windows.empty)}")
    if len(windows.empty) == len(buckets):
        raise UserError(f"none of the {len(footage.clips)} clips of {options.data} fits any bucket: change the buckets")
    apart = _held_out(footage, windows, validation_clips)
    return FootageSource(
        footage,
        _only(windows, lambda clip: clip not in apart),
        _only(windows, lambda clip: clip in apart),
        tuple(bucket for bucket in buckets if windows.of[bucket.name]),
    )


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _held_out(footage: Footage, windows: Windows, most: int) -> set[int]:
    """Clips that do not train: up to `most` and a tenth, chosen by their names, none a bucket's last."""
    left = {name: len({window.clip for window in some}) for name, some in windows.of.items()}
    of_clip: dict[int, set[str]] = {}
    for name, some in windows.of.items():
        for window in some:
            of_clip.setdefault(window.clip, set()).add(name)
    order = sorted(of_clip, key=lambda clip: hashlib.blake2b(footage.clips[clip].name.encode()).digest())
    apart: set[int] = set()
    for clip in order:
        if len(apart) >= min(most, len(order) // 10):
            break
        if all(left[name] > 1 for name in of_clip[clip]):
            apart.add(clip)
            for name in of_clip[clip]:
                left[name] -= 1
    return apart


def _only(windows: Windows, keep) -> Windows:
    of = {name: tuple(each for each in some if keep(each.clip)) for name, some in windows.of.items()}
    return dataclasses.replace(windows, of=of)

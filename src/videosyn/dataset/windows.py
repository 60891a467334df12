"""Which pieces of which clips a bucket trains on. Torch-free. Next: `footage_batches.py`.

A clip belongs to every bucket that it fits: it has the frames, it need not be enlarged, and cutting it to the bucket's
shape loses little. Among buckets of about one size it goes to the one that loses least. There it gives one or more
*windows*, as many frames as the bucket has, side by side. A picture is a clip of one frame.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

from videosyn.core.errors import UserError
from videosyn.dataset.buckets import Bucket
from videosyn.dataset.decode import Wanted
from videosyn.dataset.footage import Footage, FootageClip


@dataclass(frozen=True)
class Fitting:
    """How clips are fitted into buckets."""

    fps: float = 0.0
    """Frames a second that are taken from a clip; clips of fewer give their own. 0: all frames of every clip."""
    max_windows: int = 4
    """Most windows of one clip in one bucket."""
    max_crop: float = 0.3
    """Largest part of the picture's area that may be cut off."""

    def __post_init__(self) -> None:
        if self.fps < 0 or self.max_windows < 1 or not 0 <= self.max_crop < 1:
            raise UserError(
                "fps must not be negative, max_windows at least 1, max_crop from 0 to below 1, got "
                f"{self.fps:g}, {self.max_windows}, {self.max_crop:g}"
            )


@dataclass(frozen=True)
class Window:
    """A piece of the clip `clip` (its place in the footage) from frame `start` on, counted at `fps`."""

    clip: int
    start: int
    fps: float


@dataclass(frozen=True)
class Windows:
    """What every bucket trains on, by its name, and which clips fit none."""

    of: dict[str, tuple[Window, ...]]
    unfit: tuple[tuple[str, str], ...]
    """Names, and why."""

    @property
    def empty(self) -> list[str]:
        return [name for name, windows in self.of.items() if not windows]


def fit_windows(footage: Footage, buckets: Sequence[Bucket], fitting: Fitting) -> Windows:
    """Fits all clips; nothing is dropped in silence: `unfit` and `empty` say what is left over."""
    found: dict[str, list[Window]] = {bucket.name: [] for bucket in buckets}
    unfit = []
    for number, clip in enumerate(footage.clips):
        taken = _buckets_of(clip, buckets, fitting)
        for bucket in taken:
            found[bucket.name] += _windows(number, clip, bucket, fitting)
        if not taken:
            unfit.append((clip.name, _why_not(clip, buckets, fitting)))
    return Windows({name: tuple(windows) for name, windows in found.items()}, tuple(unfit))


def check_nothing_is_left_over(footage: Footage, windows: Windows) -> None:
    """A UserError, on one line, for clips that were refused or fit no bucket, and for buckets without clips."""
    way_out = "see it all with --dry-run; change the buckets, or leave them out with --drop-unfit"
    left_over = (*footage.refused, *windows.unfit)
    if left_over:
        name, why = left_over[0]
        raise UserError(
            f"{len(left_over)} of {len(footage.clips) + len(footage.refused)} clips of {footage.folder} cannot be "
            f"trained on, the first is {name}, which {why}: {way_out}"
        )
    if windows.empty:
        raise UserError(f"no clip fits bucket {', '.join(windows.empty)}: {way_out}")


def wanted(footage: Footage, window: Window, bucket: Bucket, across: float = 0.5) -> Wanted:
    """What to decode for a window."""
    clip = footage.clips[window.clip]
    return Wanted(
        clip.place,
        window.start / window.fps,
        1 / window.fps,
        bucket.frames,
        bucket.height,
        bucket.width,
        across,
        0.5 / clip.fps,
    )


def window_id(footage: Footage, window: Window, bucket_name: str) -> int:
    """A number of 63 bits that names a window by what it shows: a file that was replaced under its name, or another
    dataset's of that name, is another clip.
    """
    clip = footage.clips[window.clip]
    size = f"{clip.num_bytes}/{clip.num_frames}x{clip.height}x{clip.width}"
    text = f"{clip.name}/{size}/{window.start}/{window.fps:.6g}/{bucket_name}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1


def _buckets_of(clip: FootageClip, buckets: Sequence[Bucket], fitting: Fitting) -> list[Bucket]:
    best: dict[tuple[int, int], Bucket] = {}
    for bucket in buckets:
        if _refusal(clip, bucket, fitting):
            continue
        alike = (bucket.frames, round(2 * math.log2(bucket.height * bucket.width)))
        if alike not in best or _lost(clip, bucket) < _lost(clip, best[alike]):
            best[alike] = bucket
    return list(best.values())


def _windows(number: int, clip: FootageClip, bucket: Bucket, fitting: Fitting) -> list[Window]:
    fps, num_frames = _sampled(clip, fitting)
    count = min(fitting.max_windows, num_frames // bucket.frames)
    spare = num_frames - count * bucket.frames  # left between the windows, in equal parts
    return [Window(number, place * bucket.frames + spare * (place + 1) // (count + 1), fps) for place in range(count)]


def _sampled(clip: FootageClip, fitting: Fitting) -> tuple[float, int]:
    """Frames a second that are taken, and how many that gives."""
    if not fitting.fps or fitting.fps >= clip.fps:
        return clip.fps, clip.num_frames
    return fitting.fps, int((clip.num_frames - 1) / clip.fps * fitting.fps + 1e-6) + 1


def _refusal(clip: FootageClip, bucket: Bucket, fitting: Fitting) -> str:
    """Why a clip does not fit; empty: it does."""
    fps, num_frames = _sampled(clip, fitting)
    if num_frames < bucket.frames:
        return f"has {num_frames} frames at {fps:g} a second, {bucket.name} wants {bucket.frames}"
    if clip.height < bucket.height or clip.width < bucket.width:
        return f"is {clip.height}x{clip.width}, {bucket.name} would enlarge it"
    if _lost(clip, bucket) > fitting.max_crop:
        return f"is {clip.height}x{clip.width}, {bucket.name} would cut off {_lost(clip, bucket):.0%}"
    return ""


def _why_not(clip: FootageClip, buckets: Sequence[Bucket], fitting: Fitting) -> str:
    """What the bucket says that comes nearest: the smallest that takes the most frames, then the least crop."""

    def distance(bucket: Bucket) -> tuple[bool, bool, float]:
        _, num_frames = _sampled(clip, fitting)
        small = clip.height < bucket.height or clip.width < bucket.width
        return num_frames < bucket.frames, small, _lost(clip, bucket)

    return _refusal(clip, min(buckets, key=distance), fitting)


def _lost(clip: FootageClip, bucket: Bucket) -> float:
    """The part of a picture's area that is cut off."""
    clip_ratio, bucket_ratio = clip.width / clip.height, bucket.width / bucket.height
    return 1 - min(clip_ratio, bucket_ratio) / max(clip_ratio, bucket_ratio)

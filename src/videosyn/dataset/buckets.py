"""Shapes that are trained together, and which of them a step gets. Torch-free. Next: `batches.py`.

A bucket is written `17x96x96:62`: frames x height x width, and its share of the batches (in any unit).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random

from videosyn.core.errors import UserError
from videosyn.core.shapes import check_num_frames

CYCLE = 100
"""Batches in which every bucket gets exactly its share, rounded; the order within a cycle is shuffled."""


@dataclass(frozen=True)
class Bucket:
    """One shape (frames, height and width in pixels) and its share of the batches."""

    frames: int
    height: int
    width: int
    share: float = 1.0

    def __post_init__(self) -> None:
        check_num_frames(self.frames)
        if self.height < 1 or self.width < 1:
            raise UserError(f"a bucket needs a height and a width above 0, got {self.height}x{self.width}")
        if self.share < 0:
            raise UserError(f"the share of bucket {self.name} must not be negative, got {self.share}")

    @property
    def name(self) -> str:
        return f"{self.frames}x{self.height}x{self.width}"

    @property
    def volume(self) -> int:
        """Pixels of one clip."""
        return self.frames * self.height * self.width


def parse_bucket(text: str) -> Bucket:
    """`"17x96x96:62"` or `"17x96x96"` (share 1) -> Bucket; a UserError for anything else."""
    match = re.fullmatch(r"(\d+)x(\d+)x(\d+)(?::(\d*\.?\d+))?", text.strip())
    if not match:
        raise UserError(f"a bucket is FRAMESxHEIGHTxWIDTH:SHARE, got {text!r}: write for example 17x96x96:62")
    frames, height, width, share = match.groups()
    return Bucket(int(frames), int(height), int(width), float(share) if share else 1.0)


def parse_buckets(texts: Sequence[str]) -> tuple[Bucket, ...]:
    """Several buckets, each shape once; a UserError when a shape comes twice or all shares are 0."""
    buckets = tuple(parse_bucket(text) for text in texts)
    names = [bucket.name for bucket in buckets]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"bucket {twice[0]} is given twice: add up its shares")
    if not sum(bucket.share for bucket in buckets) > 0:
        raise UserError(f"at least one bucket needs a share above 0, got {', '.join(texts) or 'no bucket'}")
    return buckets


def parse_mix(texts: Sequence[str]) -> tuple[Bucket, ...]:
    """The same for buckets that make batches; a UserError too for a share so small that no batch would come of it."""
    buckets = parse_buckets(texts)
    counts = counts_by_share([bucket.share for bucket in buckets], CYCLE)
    total = sum(bucket.share for bucket in buckets)
    for bucket, count in zip(buckets, counts):
        if bucket.share and not count:
            raise UserError(
                f"bucket {bucket.name} has {bucket.share / total:.2%} of the batches, none in {CYCLE}, and would never "
                f"be trained: raise its share to {1 / CYCLE:.0%}, or leave it out"
            )
    return buckets


def counts_by_share(shares: Sequence[float], total: int) -> list[int]:
    """`total` split by share into whole numbers: largest remainders get the rest, ties go to the first."""
    exact = [share * total / sum(shares) for share in shares]
    counts = [int(value) for value in exact]
    by_remainder = sorted(range(len(shares)), key=lambda index: counts[index] - exact[index])
    for index in by_remainder[: total - sum(counts)]:
        counts[index] += 1
    return counts


@lru_cache(maxsize=8)
def _cycle_order(shares: tuple[float, ...], seed: int, cycle: int) -> tuple[int, ...]:
    order = [index for index, count in enumerate(counts_by_share(shares, CYCLE)) for _ in range(count)]
    Random(f"cycle/{seed}/{cycle}").shuffle(order)
    return tuple(order)


def bucket_of_step(shares: tuple[float, ...], seed: int, step: int) -> tuple[int, int]:
    """-> (which bucket step gets, how many steps before it had the same bucket). A pure function of its arguments."""
    cycle, place = divmod(step, CYCLE)
    order = _cycle_order(shares, seed, cycle)
    chosen = order[place]
    return chosen, cycle * order.count(chosen) + order[:place].count(chosen)

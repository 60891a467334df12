"""A folder of safetensors shards that several processes fill and that a killed run fills on. Next: `latent_cache.py`.

A shard is one file, written to a temporary name and renamed, so a file that exists is complete. What a shard holds is
a function of its place in the plan alone: continuing, or asking for more clips later, changes no shard that exists.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from videosyn.core.errors import UserError
from videosyn.core.files import atomic_file, writing_to
from videosyn.core.tensor_file import save_tensors
from videosyn.dataset.buckets import Bucket
from videosyn.dataset.decoders import die_with_parent

MANIFEST = "manifest.json"
SHARD_SIZE = 128
"""Clips in a shard."""
SEEDS_PER_BUCKET = 10_000_000
"""Each bucket draws its scenes from a range of seeds of its own, so buckets never repeat each other's scenes."""


@dataclass(frozen=True)
class Shard:
    """Clips `seeds` of one bucket, in the file `path`."""

    bucket: Bucket
    seeds: tuple[int, ...]
    path: Path


def plan_shards(
    folder: str | os.PathLike, buckets: tuple[Bucket, ...], counts: list[int], shard_size: int, first_seed: int
) -> list[Shard]:
    """The shards that hold `counts[i]` clips of `buckets[i]`, `shard_size` to a shard; the last one may be shorter."""
    shards = []
    for place, (bucket, count) in enumerate(zip(buckets, counts)):
        if count > SEEDS_PER_BUCKET:
            raise UserError(f"bucket {bucket.name} can hold {SEEDS_PER_BUCKET} clips, got {count}: ask for fewer")
        start = first_seed + place * SEEDS_PER_BUCKET
        for low in range(0, count, shard_size):
            high = min(low + shard_size, count)
            path = Path(folder) / f"{bucket.name}-{low:08d}-{high:08d}.safetensors"
            shards.append(Shard(bucket, tuple(range(start + low, start + high)), path))
    return shards


def write_shard(shard: Shard, tensors: dict[str, Tensor]) -> None:
    """Writes the tensors and the clips' seeds."""
    seeds = torch.tensor(shard.seeds, dtype=torch.int64)
    write_tensors(shard.path, {**{key: value.contiguous() for key, value in tensors.items()}, "seeds": seeds})


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """All of them or nothing. A UserError where the disk refuses them."""
    try:
        with atomic_file(path) as hidden:
            save_tensors(tensors, hidden)
    except (OSError, SafetensorError) as error:
        why = " ".join(str(error).split())
        raise UserError(f"{path} cannot be written ({why}): free some space, and the same command goes on") from error


def read_shard(shard: Shard) -> dict[str, Tensor]:
    """The tensors of a shard, `seeds` among them. A UserError when the file holds other clips than the plan says."""
    try:
        tensors = load_file(shard.path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{shard.path} is damaged: delete it, and the same command makes it again") from error
    if tuple(tensors["seeds"].tolist()) != shard.seeds:
        raise UserError(f"{shard.path} holds other clips than asked for: delete its folder and build it again")
    return tensors


def check_manifest(folder: str | os.PathLike, manifest: dict[str, Any]) -> None:
    """Writes `manifest` (JSON values) into a new folder; in an old one it must be the same, else a UserError."""
    folder = Path(folder)
    path = folder / MANIFEST
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        with writing_to(folder), atomic_file(path) as hidden:  # several processes may write it at once
            hidden.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        return
    try:
        found = dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} is damaged: delete its folder, and the same command makes it again") from error
    wrong = [key for key in {*found, *manifest} if found.get(key) != manifest.get(key)]
    if wrong:
        key = sorted(wrong)[0]
        raise UserError(
            f"{folder} was made with {key} = {found.get(key)!r}, not {manifest.get(key)!r}: "
            "give another folder or delete this one"
        )


def fill(
    shards: list[Shard],
    make: Callable[[Shard], None],
    setup: Callable[..., None] | None = None,
    setup_args: tuple = (),
    workers: int = 0,
    is_done: Callable[[Shard], bool] = lambda shard: shard.path.exists(),
) -> Iterator[Shard]:
    """Makes the shards that are not done yet, by default those that do not exist, yielding each one as it is done.

    `make` writes one shard; `setup(*setup_args)` runs once before. With workers > 0 both run in that many processes of
    one thread each (so both must be importable functions); with 0 they run here. Raises UserError where one is killed.
    """
    missing = [shard for shard in shards if not is_done(shard)]
    if not missing:
        return
    if workers == 0:
        if setup is not None:
            setup(*setup_args)
        for shard in missing:
            make(shard)
            yield shard
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(missing)), context, _start_worker, (setup, setup_args))
    try:
        made = {pool.submit(make, shard): shard for shard in missing}
        for future in as_completed(made):
            future.result()
            yield made[future]
    except BrokenProcessPool as error:
        raise UserError(
            f"a process that fills {missing[0].path.parent} was killed, perhaps for want of memory: the same command "
            "goes on, with fewer workers"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker(setup: Callable[..., None] | None, setup_args: tuple) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a traceback; shards are whole or not there
    die_with_parent()
    torch.set_num_threads(1)
    if setup is not None:
        setup(*setup_args)

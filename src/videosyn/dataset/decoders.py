"""Processes that decode windows, so that a training step does not wait. Next: `footage_batches.py`."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING

from videosyn.dataset.decode import DamagedClip, Wanted, read_window

if TYPE_CHECKING:
    import numpy as np


class Decoders:
    """`read` may be called from several threads. A decoder that crashes costs one clip and a new set of processes.

    Whatever was under way when one crashed is read again in a process of its own, so that the blame is exact.
    """

    def __init__(self, workers: int) -> None:
        """`workers` 0: decodes in the calling thread."""
        self._workers = workers
        self._pool = self._start(workers) if workers else None
        self._changing = threading.Lock()

    def read(self, wanted: Sequence[Wanted]) -> list[np.ndarray | str]:
        """-> for each uint8 (T, H, W, 3), or the reason why there is none."""
        pool = self._pool
        if pool is None:
            return [_read(each) for each in wanted]
        futures = [_submit(pool, each) for each in wanted]
        found = [_result(future) for future in futures]
        suspects = [place for place, each in enumerate(found) if each is None]
        if suspects:
            self._replace(pool)
            for place, each in zip(suspects, self._read_apart([wanted[place] for place in suspects])):
                found[place] = each
        return found  # pyright: ignore[reportReturnType]  # no None is left

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def _read_apart(self, wanted: Sequence[Wanted]) -> Iterator[np.ndarray | str]:
        """One at a time, in a process where nothing else runs."""
        alone = self._start(1)
        try:
            for each in wanted:
                found = _result(_submit(alone, each))
                if found is None:
                    alone.shutdown(wait=False)
                    alone = self._start(1)
                yield "crashes the decoder" if found is None else found
        finally:
            alone.shutdown(wait=False)

    def _replace(self, broken: ProcessPoolExecutor) -> None:
        with self._changing:
            if self._pool is broken:  # else another thread was first
                broken.shutdown(wait=False, cancel_futures=True)
                self._pool = self._start(self._workers)

    def _start(self, workers: int) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(workers, context, initializer=_begin)


def _submit(pool: ProcessPoolExecutor, wanted: Wanted) -> Future | None:
    """None where the pool has broken, or another thread has put it away for that."""
    try:
        return pool.submit(_read, wanted)
    except RuntimeError:
        return None


def _result(future: Future | None) -> np.ndarray | str | None:
    try:
        return None if future is None else future.result()
    except (BrokenProcessPool, CancelledError):
        return None


def _read(wanted: Wanted) -> np.ndarray | str:
    try:
        return read_window(wanted)
    except DamagedClip as error:
        return str(error)


def _begin() -> None:
    """Ctrl-C and SIGTERM to the whole group are the trainer's to answer; decoders end when it closes them, or dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    die_with_parent()


def die_with_parent() -> None:
    """In a process of a pool: it must not wait for work for ever where the one that started it was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_follow, args=(parent.sentinel,), daemon=True).start()


def _follow(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)

"""Processes that decode windows, so that a training step does not wait. Next: `footage_batches.py`."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING

from videosyn.dataset.decode import DamagedClip, Wanted, read_window

if TYPE_CHECKING:
    import numpy as np


class Decoders:
    """`read` may be called from several threads. A decoder that crashes costs one clip and a new set of processes."""

    def __init__(self, workers: int) -> None:
        """`workers` 0: decodes in the calling thread."""
        self._workers = workers
        self._pool = self._start() if workers else None
        self._changing = threading.Lock()

    def read(self, wanted: Sequence[Wanted]) -> list[np.ndarray | str]:
        """-> for each uint8 (T, H, W, 3), or the reason why there is none."""
        pool = self._pool
        if pool is None:
            return [_read(each) for each in wanted]
        try:
            return list(pool.map(_read, wanted))
        except BrokenProcessPool:
            self._replace(pool)
            return [self._read_apart(each) for each in wanted]

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def _read_apart(self, wanted: Wanted) -> np.ndarray | str:
        """One at a time after a crash, so that the clip that caused it is known."""
        pool = self._pool
        assert pool is not None
        try:
            return pool.submit(_read, wanted).result()
        except BrokenProcessPool:
            self._replace(pool)
            return "crashes the decoder"

    def _replace(self, broken: ProcessPoolExecutor) -> None:
        with self._changing:
            if self._pool is broken:  # else another thread was first
                broken.shutdown(wait=False, cancel_futures=True)
                self._pool = self._start()

    def _start(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(self._workers, context, initializer=_begin)


def _read(wanted: Wanted) -> np.ndarray | str:
    try:
        return read_window(wanted)
    except DamagedClip as error:
        return str(error)


def _begin() -> None:
    """Ctrl-C and SIGTERM to the whole group are the trainer's to answer; decoders end when it closes them, or dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_follow, args=(parent.sentinel,), daemon=True).start()


def _follow(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)

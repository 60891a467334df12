"""Films measured on all cores, a process each: the judge is many small steps, which threads cannot share.

Next: `tables.py`.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait

import numpy as np
import torch

from videosyn.core.errors import UserError
from videosyn.evaluation.domains.steadiness import Steadiness, measure
from videosyn.world.parsed import Parsed


class Measuring:
    """A context in which films are measured by so many processes; by 1, in the calling one."""

    def __init__(self, workers: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(workers, context, initializer=_begin) if workers > 1 else None

    def __enter__(self) -> Measuring:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def __call__(self, films: Sequence[np.ndarray], asked: Sequence[Parsed]) -> list[Steadiness]:
        """Films, uint8 (T, H, W, 3) each, and what their prompts name -> their figures, in order.

        A UserError where a process dies, for lack of memory most likely.
        """
        if self._pool is None:
            return [measure(film, each) for film, each in zip(films, asked, strict=True)]
        try:
            return list(self._pool.map(measure, films, asked))
        except BrokenProcessPool as error:
            raise UserError("a process that measures films died, of too little memory perhaps: --workers 1") from error


def _begin() -> None:
    """One thread; Ctrl-C is the parent's to answer, with which a process ends."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_follow, args=(parent.sentinel,), daemon=True).start()


def _follow(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)

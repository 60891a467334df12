"""Makes the next batches in background threads while the step computes. Next: `loop.py`."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Batch = TypeVar("Batch")


class Prefetch(Generic[Batch]):
    """`make(step)` called `depth` steps ahead by `threads` threads; batches come out in the order of steps."""

    def __init__(self, make: Callable[[int], Batch], first_step: int, depth: int = 2, threads: int = 1) -> None:
        self._make = make
        self._thread = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="batches")
        self._next = first_step
        self._ahead: list[Future[Batch]] = []
        self._depth = depth
        self._fill()

    def take(self) -> Batch:
        """The next batch; raises here what making it raised."""
        batch = self._ahead.pop(0).result()
        self._fill()
        return batch

    def close(self) -> None:
        """Drops what was made ahead and ends the threads."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _fill(self) -> None:
        while len(self._ahead) < self._depth:
            self._ahead.append(self._thread.submit(self._make, self._next))
            self._next += 1

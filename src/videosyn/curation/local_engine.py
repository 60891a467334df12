"""The default engine: this machine's cores and an SQLite ledger inside the dataset's folder. Next: `queue_engine.py`.

The parent owns the ledger; N slots, a thread and a child process each, work on whatever is ready, later stages first.
Killed at any moment, the next run with the same arguments goes on where this one stopped.
"""

from __future__ import annotations

import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from videosyn.core.errors import UserError
from videosyn.curation.config import CurationConfig
from videosyn.curation.finish import absolute, describe, finish, place_for, raise_if_stuck, summary
from videosyn.curation.ledger import Ledger
from videosyn.curation.pipeline import FINISH, PIPELINE, Step
from videosyn.curation.results import Progress, Summary
from videosyn.curation.slots import Slot, SlotConfig, cores, slots_of_stages
from videosyn.curation.tasks import Plan
from videosyn.curation.work import Work

WORK = ".curation"
LEDGER = "ledger.sqlite"
FOREVER_S = 1e9
"""A local run's lease: no other process works on this ledger."""
LOOK_S = 0.25


def run_local(
    config: CurationConfig,
    sources: Sequence[str],
    dataset: Path,
    workers: int = 0,
    progress: Callable[[Progress], None] | None = None,
    pipeline: Sequence[Step] = PIPELINE,
    at_end: Sequence[str] = FINISH,
    backoff_s: float = 1.0,
) -> Summary:
    """Curates `sources` (paths or fsspec URLs) into the folder `dataset`, or goes on with a run that stopped.

    `workers`: child processes, 0: one a core. `sources` may be empty to go on. Raises UserError where the folder holds
    something else, a stage cannot start (weights missing), or a stage over all clips failed for good.
    """
    begin = time.monotonic()
    place_for(dataset, WORK)
    if (dataset / WORK / "queue.json").exists():
        raise UserError(f"{dataset} is for a run of the queue engine: choose another folder")
    with _alone(dataset / WORK / "lock"):
        plan = describe(pipeline, config, str(dataset.absolute() / WORK))
        ledger = Ledger(str(dataset / WORK / LEDGER))
        try:
            ledger.begin(plan, [absolute(source) for source in sources])
            ledger.release(everyone=True)
            _Run(ledger, plan, workers or cores(), backoff_s, progress).until_finished()
            raise_if_stuck(ledger, plan, dataset)
            finish(ledger, dataset, Work(plan.work), at_end)
            return summary(ledger.result(), time.monotonic() - begin)
        finally:
            ledger.database.close()


class _Run:
    """The slots' threads, and who tells them to end."""

    def __init__(
        self,
        ledger: Ledger,
        plan: Plan,
        workers: int,
        backoff_s: float,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self._ledger, self._plan, self._progress = ledger, plan, progress
        self._changed = threading.Condition()
        self._over = threading.Event()
        self._problem: BaseException | None = None
        self._allowed = slots_of_stages(plan, workers, cores())
        name = secrets.token_hex(4)
        threads = max(1, cores() // workers)
        log = Path(plan.work, "logs")
        self._slots = [
            Slot(ledger, plan, f"{name}-{i}", SlotConfig(FOREVER_S, backoff_s, threads, log / f"{i}.log"))
            for i in range(workers)
        ]

    def until_finished(self) -> None:
        threads = [threading.Thread(target=self._serve, args=(i,), daemon=True) for i in range(len(self._slots))]
        for thread in threads:
            thread.start()
        try:
            self._watch()
        finally:  # also on Ctrl-C
            self._over.set()
            with self._changed:
                self._changed.notify_all()
            if self._problem is not None or not self._ledger.is_finished():
                for slot in self._slots:
                    slot.stop()
            for thread in threads:
                thread.join()
        if self._problem is not None:
            raise self._problem

    def _watch(self) -> None:
        """Shows progress until the run is over; never spends more than a tenth of its time on counting."""
        next_look = 0.0
        while not self._over.wait(LOOK_S):
            if self._progress is not None and time.monotonic() >= next_look:
                begin = time.monotonic()
                self._progress(self._ledger.progress())
                next_look = time.monotonic() + 10 * (time.monotonic() - begin)
        if self._progress is not None and self._problem is None:
            self._progress(self._ledger.progress())

    def _serve(self, number: int) -> None:
        slot = self._slots[number]
        mine = [name for name in reversed(self._plan.names()) if number < self._allowed[name]]
        try:
            while not self._over.is_set():
                added = slot.work(mine)
                if added is None:
                    self._wait_for_more()
                elif added:
                    with self._changed:
                        self._changed.notify_all()
        except BaseException as problem:  # the main thread raises it
            self._problem = self._problem or problem
            self._over.set()
        finally:
            slot.close()

    def _wait_for_more(self) -> None:
        if self._ledger.open_barriers(self._plan):
            with self._changed:
                self._changed.notify_all()
        elif self._ledger.is_finished():
            self._over.set()
        else:
            with self._changed:
                self._changed.wait(timeout=LOOK_S)


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """One run at a time in a dataset's folder. The system frees the lock however a run ends."""
    connection = sqlite3.connect(lock, timeout=0.5, isolation_level=None)
    try:
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        connection.close()
        folder = lock.parent.parent
        raise UserError(f"another run works in {folder} ({error}): wait for it, or stop it") from error
    try:
        yield
    finally:
        connection.close()

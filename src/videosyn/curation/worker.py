"""`videosyn worker`: takes up hints for some stages of one dataset and does what the ledger says. Stop it at will.

One dramatiq worker a stage, with as many threads as that stage may have slots here; each thread is a `Slot` with a
child process. A heartbeat keeps the leases, a sweep finds what no hint tells of. Killed, its leases end by themselves
and other workers take over; stopped, it gives back what it held at once.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import dramatiq
from dramatiq.worker import Worker as HintReader
from sqlalchemy.exc import SQLAlchemyError

from videosyn.core.errors import UserError
from videosyn.curation.broker import ACTOR, HintBroker, Hints, check_broker, queue_name
from videosyn.curation.database import first_line, is_away
from videosyn.curation.finish import describe
from videosyn.curation.ledger import Ledger
from videosyn.curation.pipeline import PIPELINE, Step, choose
from videosyn.curation.slots import Slot, SlotConfig, cores, most_at_once
from videosyn.curation.tasks import Plan, Task
from videosyn.curation.weights import check_machine

LEASE_S = 60.0
SWEEP_S = 5.0
LONGEST_S = 300.0
"""After this a thread gives its hint back, so that RabbitMQ never waits long for an acknowledgement."""


def run_worker(
    broker: str,
    ledger: str,
    stages: Sequence[str] = ("all",),
    concurrency: Mapping[str, int] | None = None,
    say: Callable[[str], None] = print,
    pipeline: Sequence[Step] = PIPELINE,
    lease_s: float = LEASE_S,
    backoff_s: float = 1.0,
) -> None:
    """Works until the dataset is finished, Ctrl-C or SIGTERM.

    `concurrency`: stage, or "all" for each -> child processes; where not given, this machine's cores are shared among
    the stages, as their memory and GPUs allow. `say` takes lines for the terminal. Raises UserError where broker or
    ledger cannot be reached, a stage is unknown, cannot start or lacks a package, or this videosyn's stages are other
    versions than the run's.
    """
    check_broker(broker)
    book = Ledger(ledger)
    try:
        with _sigterm_as_ctrl_c():
            plan = _own_plan(_wait_for_plan(book, say), pipeline)
            names = choose(plan.names(), stages)
            choose(plan.names(), list(concurrency or {}))
            check_machine(plan.config, names)
            run = _Work(book, plan, Hints(broker, book.dataset_id()), SlotConfig(lease_s, backoff_s))
            readers = [
                run.reader(broker, name, number) for name, number in _slots(plan, names, concurrency or {}).items()
            ]
            say(f"working on {', '.join(names)}; Ctrl-C stops")
            run.until_over(readers, names)
    except KeyboardInterrupt:
        pass
    finally:
        book.database.close()


class _Work:
    """What the threads of one worker share."""

    def __init__(self, book: Ledger, plan: Plan, hints: Hints, config: SlotConfig) -> None:
        self._book, self._plan, self._hints, self._config = book, plan, hints, config
        self._name = f"{socket.gethostname()[:40]}-{os.getpid()}-{secrets.token_hex(4)}"
        self._mine = threading.local()
        self._slots: list[Slot] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._problem: BaseException | None = None

    def reader(self, broker: str, stage: str, threads: int) -> HintReader:
        """dramatiq's consumer of one stage's queue, with its own threads."""
        connection = HintBroker(broker)
        queue = queue_name(self._book.dataset_id(), stage)
        dramatiq.actor(broker=connection, actor_name=ACTOR, queue_name=queue)(self._take_up)
        return HintReader(connection, queues={queue}, worker_threads=threads, worker_timeout=200)

    def until_over(self, readers: Sequence[HintReader], stages: Sequence[str]) -> None:
        heart = threading.Thread(target=self._beat, daemon=True)
        heart.start()
        try:
            for reader in readers:
                reader.start()
            self._sweep(stages)
        except KeyboardInterrupt:
            pass
        finally:
            self._over.set()
            for slot in self._slots:
                slot.stop()
            stopping = [threading.Thread(target=reader.stop, args=(20_000,)) for reader in readers]
            for thread in stopping:
                thread.start()
            for thread in stopping:
                thread.join()
            for slot in self._slots:
                slot.close()
            for reader in readers:
                reader.broker.close()
            heart.join()
            with contextlib.suppress(SQLAlchemyError):
                if self._book.is_finished():
                    self._hints.remove_unread(self._plan.names())
            self._hints.close()
        if self._problem is not None:
            raise self._problem

    def _take_up(self, stage: str, unit: str) -> None:
        """A hint: works on its stage while there is work; the unit that it names may long be done."""
        begin = time.monotonic()
        while not self._over.is_set():
            try:
                added = self._slot().work((stage,))
            except UserError as problem:  # the stage cannot start or write here
                self._problem = self._problem or problem
                self._over.set()
                return
            except SQLAlchemyError as error:  # dramatiq brings the hint again, later and later
                logging.getLogger(__name__).warning("the ledger is away: %s", first_line(error))
                raise
            if added is None:
                return
            self._hints.send(added)
            if time.monotonic() - begin > LONGEST_S:
                self._hints.send([Task(stage, unit)])
                return

    def _slot(self) -> Slot:
        """The calling thread's."""
        if not hasattr(self._mine, "slot"):
            with self._lock:
                self._mine.slot = Slot(self._book, self._plan, f"{self._name}-{len(self._slots)}", self._config)
                self._slots.append(self._mine.slot)
        return self._mine.slot

    def _beat(self) -> None:
        """The heartbeat. A database that is away is retried; leases that end meanwhile are others' to take."""
        while not self._over.wait(self._config.lease_s / 4):
            with contextlib.suppress(SQLAlchemyError):
                self._book.extend([slot.owner for slot in self._slots if slot.at_work], self._config.lease_s)

    def _sweep(self, stages: Sequence[str]) -> None:
        """Until the dataset is finished: opens barriers and hints at what this worker's stages have to do. A database
        that is away is waited for."""
        while not self._over.is_set():
            try:
                if self._book.is_finished():
                    return
                self._hints.send(self._book.open_barriers(self._plan))
                ready = self._book.open_stages()
                self._hints.top_up({stage: ready[stage] for stage in stages if stage in ready})
            except SQLAlchemyError as error:
                if not is_away(error):
                    raise
                logging.getLogger(__name__).warning("the ledger is away: %s", first_line(error))
            self._over.wait(min(SWEEP_S, self._config.lease_s / 2))


def _wait_for_plan(book: Ledger, say: Callable[[str], None]) -> Plan:
    told = False
    while (plan := book.plan()) is None:
        if not told:
            say(f"{book.database.shown} holds no dataset yet: waiting for `videosyn curate --engine queue`")
            told = True
        time.sleep(1.0)
    return plan


def _own_plan(plan: Plan, pipeline: Sequence[Step]) -> Plan:
    """The run's plan with this installation's code; what is imported is never what a database says."""
    own = describe(pipeline, plan.config, plan.work)
    here, there = ({stage.name: stage.version for stage in each.stages} for each in (own, plan))
    for name in [*there, *here]:
        if here.get(name) != there.get(name):
            raise UserError(
                f"stage {name} is version {here.get(name, 'none')} here and {there.get(name, 'none')} in the run: "
                "install the same videosyn everywhere"
            )
    return own


def _slots(plan: Plan, names: Sequence[str], concurrency: Mapping[str, int]) -> dict[str, int]:
    """Stage -> threads."""
    for name, number in concurrency.items():
        if number < 1:
            raise UserError(f"a stage's concurrency is at least 1, got {name}={number}: leave the stage out instead")
        if name != "all" and name not in names:
            raise UserError(
                f"concurrency {name}={number} is of a stage that is not among --stages {','.join(names)}: "
                "add it there, or leave it out"
            )
    share = max(1, cores() // len(names))
    usual = {name: min(share, most_at_once(plan.stage(name).resources, cores())) for name in names}
    return {name: concurrency.get(name, concurrency.get("all", usual[name])) for name in names}


@contextlib.contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    """Service managers stop with SIGTERM; outside the main thread nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

"""A slot: claims tasks from the ledger, has its child process do them, hands the outcomes back. Both engines use it.

Small units are claimed many at once, about a quarter of a second's work, so that the ledger is not the bottleneck.
Next: `local_engine.py`, `queue_engine.py`.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from videosyn.core.memory import available_cpu_bytes
from videosyn.curation.isolation import Child, ChildLost, ChildSetup, StageFailed
from videosyn.curation.ledger import Claim, Ledger
from videosyn.curation.stages import Resources
from videosyn.curation.tasks import Outcome, Plan, Task

BATCH_S = 0.25
"""Work that a slot claims at once, and after which it hands in what it has."""
MAX_BATCH = 64
HANDLING_S = 0.001
"""A unit's way to the child and back."""


@dataclass(frozen=True)
class SlotConfig:
    lease_s: float = 60.0
    """How long a claim lasts without a heartbeat."""
    backoff_s: float = 1.0
    """Wait after a first failed attempt; doubled after the next."""
    threads: int = 1
    log: Path | None = None


class Slot:
    """One worker: a thread's use of the ledger, with one child process."""

    def __init__(self, ledger: Ledger, plan: Plan, owner: str, config: SlotConfig) -> None:
        self.owner = owner
        self.at_work = False
        """Whether it may hold claims. Those of a slot that could not give them back end with their lease."""
        self._ledger, self._plan, self._config = ledger, plan, config
        self._child = Child(ChildSetup(plan.stages, plan.config, plan.work, config.threads, config.log))
        self._unit_s: dict[str, float] = {}
        self._stopping = threading.Event()

    def work(self, stages: Iterable[str]) -> list[Task] | None:
        """Does a batch of the first of `stages` that has any; returns the tasks that are new, None if there was none.

        Raises StageUnusable where a stage cannot start or write; its tasks go back without an attempt.
        """
        self.at_work = True
        try:
            for stage in stages:
                if self._stopping.is_set():
                    return None
                limit = self._batch(stage)
                if claims := self._ledger.claim(self._plan, stage, self.owner, limit, self._config.lease_s):
                    return self._do(claims)
            return None
        finally:
            self.at_work = False

    def stop(self) -> None:
        """From any thread: ends the unit under way, which goes back without an attempt."""
        self._stopping.set()
        self._child.stop()

    def close(self) -> None:
        self._child.end()

    def _batch(self, stage: str) -> int:
        unit_s = self._unit_s.get(stage, BATCH_S)
        return max(1, min(MAX_BATCH, int(BATCH_S / (unit_s + HANDLING_S))))

    def _do(self, claims: list[Claim]) -> list[Task]:
        added: list[Task] = []
        outcomes: list[Outcome] = []
        begin = handed_in = time.monotonic()
        try:
            for claim in claims:
                outcome = self._one(claim)
                if self._stopping.is_set() and (outcome is None or outcome.error):
                    break
                assert outcome is not None
                outcomes.append(outcome)
                now = time.monotonic()
                if now - handed_in > BATCH_S:
                    added += self._hand_in(outcomes)
                    outcomes, handed_in = [], now
                if now - begin > 4 * BATCH_S or self._stopping.is_set():  # slower than thought: the rest goes back
                    break
        finally:
            try:
                added += self._hand_in(outcomes)
            finally:
                self._ledger.release(self.owner)
        return added

    def _one(self, claim: Claim) -> Outcome | None:
        """None: the slot was stopped."""
        stage = self._plan.stage(claim.task.stage)
        span = int(claim.task.unit.rsplit("/", 1)[1]) if stage.over == "span" else None
        given = claim.given if span is None else (claim.given, span)
        try:
            value, seconds = self._child.run(stage.name, given, stage.resources.time_limit_s)
        except ChildLost as lost:
            return None if self._stopping.is_set() else Outcome(claim.task, error=str(lost))
        except StageFailed as failed:
            return Outcome(claim.task, error=str(failed))
        known = self._unit_s.get(stage.name, seconds)  # without the child's start and the stage's setup
        self._unit_s[stage.name] = 0.7 * known + 0.3 * seconds
        return Outcome(claim.task, value, seconds)

    def _hand_in(self, outcomes: list[Outcome]) -> list[Task]:
        return self._ledger.complete(self._plan, self.owner, outcomes, self._config.backoff_s)


def most_at_once(resources: Resources, cpus: int, memory_bytes: int | None = None) -> int:
    """How many workers of a stage this machine carries, at least 1: by cores, memory and, if it wants one, GPUs."""
    if memory_bytes is None:
        memory_bytes = available_cpu_bytes() or 1 << 60
    limits = [int(cpus / max(resources.cpus, 0.01)), memory_bytes // max(1, resources.memory_bytes)]
    if resources.gpu:
        limits.append(1)
    return max(1, min(limits))


def slots_of_stages(plan: Plan, slots: int, cpus: int) -> Mapping[str, int]:
    """Stage -> how many of `slots` may work on it: the first so many, so that few of them load a large model."""
    return {stage.name: min(slots, most_at_once(stage.resources, cpus)) for stage in plan.stages}


def cores() -> int:
    """That this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1

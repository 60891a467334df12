"""How outcomes change the ledger's tables, inside one transaction. Next: `isolation.py`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace

import sqlalchemy as sa

from videosyn.core.config import to_dict
from videosyn.curation.database import Database, clips, sources, tasks
from videosyn.curation.readings import clip_from, clip_text, source_from
from videosyn.curation.records import Clip, Source
from videosyn.curation.stages import rejected
from videosyn.curation.tasks import ALL, Outcome, Plan, Task
from videosyn.curation.work import Work

DONE = sa.update(tasks).where(
    tasks.c.stage == sa.bindparam("of_stage"), tasks.c.unit == sa.bindparam("of_unit"), tasks.c.state == "open"
)


class Flow:
    """One transaction's changes. `added` collects the tasks that it makes claimable."""

    def __init__(self, database: Database, connection: sa.Connection, plan: Plan) -> None:
        self._database, self._connection, self._plan = database, connection, plan
        self.added: list[Task] = []

    def add(self, new: Sequence[Task], state: str = "open") -> None:
        """Inserts tasks that are not there yet."""
        blank = {"state": state, "available_at": 0.0, "owner": "", "attempts": 0, "seconds": 0.0, "reason": ""}
        rows = [
            {"stage": task.stage, "unit": task.unit, "source": task.source, **blank, "version": self._version(task)}
            for task in new
        ]
        self._database.insert_new(self._connection, tasks, rows)
        self.added += new

    def lock_sources(self, ids: Iterable[str]) -> None:
        """Other transactions that ask for these sources wait for this one's end: the last span done sees the others."""
        query = sa.select(sources.c.path).where(sources.c.id.in_(set(ids))).order_by(sources.c.path)
        self._connection.execute(query.with_for_update()).all()

    def store(self, outcomes: Sequence[Outcome]) -> None:
        """Ends the tasks of these outcomes, all of one stage, stores their results and adds what follows."""
        if not outcomes:
            return
        rows = [{"of_stage": each.task.stage, "of_unit": each.task.unit, "seconds": each.seconds} for each in outcomes]
        self._connection.execute(DONE.values(state="done", owner="", reason=""), rows)
        stage = self._plan.stage(outcomes[0].task.stage)
        if stage.over == "path":
            self._store_sources(outcomes)
        elif stage.over == "span":
            self._join_scanned({each.task.source for each in outcomes}, stage.name)
        elif stage.over == "clip":
            self._store_clips(stage.name, [(each.task.unit, each.value) for each in outcomes])
        elif stage == self._plan.following(self._plan.span_stage().name):
            self._insert_clips(stage.name, [clip for each in outcomes for clip in each.value])
        else:
            for each in outcomes:
                self._store_group(stage.name, each)

    def fail(self, outcome: Outcome, attempts: int, dead: bool, again_at: float) -> None:
        """Counts an attempt. A dead task's clips are rejected with its reason; what else its source has stays."""
        task = outcome.task
        of_stage = tasks.c.stage == task.stage
        changed = {"attempts": attempts, "reason": outcome.error, "owner": "", "available_at": again_at}
        changed["state"] = "dead" if dead else "open"
        self._connection.execute(sa.update(tasks).where(of_stage, tasks.c.unit == task.unit).values(changed))
        if not dead:
            return
        over = self._plan.stage(task.stage).over
        if over == "span":  # later spans are of no use now; earlier ones say whether they too fail, in whatever order
            later = of_stage & (tasks.c.source == task.source) & (tasks.c.unit > task.unit) & (tasks.c.state == "open")
            self._connection.execute(sa.update(tasks).where(later).values(state="cancelled", owner=""))
        elif over in ("clip", "source"):
            of_task = clips.c.unit == task.unit if over == "clip" else clips.c.source == task.source
            query = sa.select(clips.c.unit, clips.c.record).where(of_task, clips.c.rejected_by == "")
            reason = f"set aside after {attempts} attempts: {outcome.error}"
            for row in self._connection.execute(query).all():
                self._update([(row.unit, rejected(clip_from(row.record), task.stage, reason), row.record)])

    def _store_sources(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            source, num_spans = outcome.value
            row = sa.update(sources).where(sources.c.path == outcome.task.unit)
            self._connection.execute(row.values(id=source.id, record=json.dumps(to_dict(source))))
            same = self._connection.execute(sa.select(sources).where(sources.c.id == source.id)).all()
            if len(same) > 1:
                Work(self._plan.work).write_source(first_source(same))
            self.add(self._plan.of_spans(source, num_spans))

    def _join_scanned(self, source_ids: set[str], stage: str) -> None:
        left = sa.select(tasks.c.unit).where(tasks.c.stage == stage, tasks.c.state != "done").limit(1)
        for source_id in sorted(source_ids):
            if self._connection.execute(left.where(tasks.c.source == source_id)).first() is None:
                self.add(self._plan.of_scanned(source_id))

    def _insert_clips(self, stage: str, found: Sequence[Clip]) -> None:
        rows = [{"unit": clip.id, "source": clip.source, **_columns(clip)} for clip in found]
        self._database.insert_new(self._connection, clips, rows)
        self.add(self._plan.of_clips(stage, [(clip.id, clip) for clip in found]))

    def _store_clips(self, stage: str, changed: Sequence[tuple[str, Clip]]) -> None:
        self._update([(unit, clip, "") for unit, clip in changed])
        self.add(self._plan.of_clips(stage, changed))

    def _store_group(self, stage: str, outcome: Outcome) -> None:
        """Stores what the group stage changed; of a clip it rejects the record before is kept (`dead_letters.py`)."""
        query = sa.select(clips.c.id, clips.c.unit, clips.c.record)
        if outcome.task.unit != ALL:
            query = query.where(clips.c.source == outcome.task.source)
        stored = {row.id: row for row in self._connection.execute(query)}
        found = [(stored[clip.id], clip) for clip in outcome.value]
        self._update(
            [
                (row.unit, clip, row.record if clip.rejected_by else "")
                for row, clip in found
                if clip_text(clip) != row.record
            ]
        )
        self.add(self._plan.of_clips(stage, [(row.unit, clip) for row, clip in found]))

    def _update(self, changed: Sequence[tuple[str, Clip, str]]) -> None:
        """(unit, clip, its record before) each."""
        if changed:
            one = sa.update(clips).where(clips.c.unit == sa.bindparam("of_unit"))
            rows = [{"of_unit": unit, **_columns(clip), "before": before} for unit, clip, before in changed]
            self._connection.execute(one, rows)

    def _version(self, task: Task) -> str:
        return self._plan.stage(task.stage).version


def restored(record: str) -> Clip:
    """A clip as it was, for a stage that has another try at it."""
    return replace(clip_from(record), rejected_by="", reason="")


def first_source(rows: Iterable[sa.Row]) -> Source:
    """Of the paths with the same content, the one that counts: the first in order."""
    return source_from(min(rows, key=lambda row: row.path).record)


def _columns(clip: Clip) -> dict[str, str]:
    return {"id": clip.id, "rejected_by": clip.rejected_by, "record": clip_text(clip)}

"""Tasks that failed too often: `Ledger.dead()` lists them, `requeue` gives them another try.

A re-queued task begins with no attempts, its clips live again, and a stage over the whole dataset that was done runs
again when they reach it, so that the result is that of a run in which the task had never failed. Afterwards the run's
own command goes on from there (`local`), or its workers do at once (`queue`).
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from videosyn.curation.database import clips, tasks
from videosyn.curation.flow import restored
from videosyn.curation.ledger import Ledger
from videosyn.curation.readings import clip_text
from videosyn.curation.tasks import Plan


def requeue(ledger: Ledger, paths: Sequence[str] = ()) -> int:
    """Opens the dead tasks of these sources again, of all for none given; returns how many tasks that are."""
    plan = ledger.plan()
    if plan is None:
        return 0
    chosen = {(dead.stage, dead.unit) for dead in ledger.dead() if not paths or dead.path in paths}

    def action(connection: sa.Connection) -> int:
        again = [
            row
            for row in connection.execute(sa.select(tasks).where(tasks.c.state.in_(("dead", "cancelled"))))
            if (row.stage, row.unit) in chosen or _is_later_span(plan, row, chosen)
        ]
        for row in again:
            this = (tasks.c.stage == row.stage) & (tasks.c.unit == row.unit)
            state = "waiting" if plan.stage(row.stage).over == "dataset" else "open"
            fresh = {"state": state, "attempts": 0, "available_at": 0.0, "reason": ""}
            connection.execute(sa.update(tasks).where(this).values(fresh))
            _revive(connection, plan, row)
        for barrier in plan.barriers():
            if {row.stage for row in again} & set(plan.before(barrier.stage)):
                _close_again(connection, barrier.stage)
        return len(again)

    return ledger.database.retrying(action)


def _is_later_span(plan: Plan, row: sa.Row, chosen: set[tuple[str, str]]) -> bool:
    return row.stage == plan.span_stage().name and any(
        stage == row.stage and unit.rsplit("/", 1)[0] == row.source for stage, unit in chosen
    )


def _revive(connection: sa.Connection, plan: Plan, task: sa.Row) -> None:
    """The clips that the dead task rejected are as they were before."""
    over = plan.stage(task.stage).over
    if over in ("clip", "source"):
        of_task = clips.c.unit == task.unit if over == "clip" else clips.c.source == task.source
        _restore(connection, of_task & (clips.c.rejected_by == task.stage))


def _close_again(connection: sa.Connection, barrier: str) -> None:
    """A stage over the whole dataset that is done waits again, and its clips are as it found them."""
    done = (tasks.c.stage == barrier) & (tasks.c.state == "done")
    if connection.execute(sa.update(tasks).where(done).values(state="waiting", attempts=0, available_at=0.0)).rowcount:
        _restore(connection, clips.c.rejected_by == barrier)


def _restore(connection: sa.Connection, which: sa.ColumnElement[bool]) -> None:
    for row in connection.execute(sa.select(clips.c.unit, clips.c.before).where(which)).all():
        values = {"record": clip_text(restored(row.before)), "rejected_by": "", "before": ""}
        connection.execute(sa.update(clips).where(clips.c.unit == row.unit).values(values))

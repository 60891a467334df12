"""The ledger: the truth about a run. Workers claim tasks from it and hand their outcomes back to it, nothing else.

A claim is a lease: an UPDATE that makes the task another's only when the lease has ended. An outcome and the tasks
that follow from it are one transaction, keyed by stage, unit and version, so that a killed worker loses nothing and a
task done twice changes nothing. Only crashes, time limits and errors count as attempts; being killed does not.
Next: `isolation.py` (where stage code runs), `slots.py` (who claims).
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa

from videosyn.core.config import to_dict
from videosyn.core.errors import UserError
from videosyn.curation.database import FORMAT, Database, clips, dataset, sources, tasks
from videosyn.curation.flow import Flow, first_source
from videosyn.curation.readings import Readings, clip_from
from videosyn.curation.records import Clip, Source
from videosyn.curation.tasks import ALL, Outcome, Plan, Task

MAX_ATTEMPTS = 3
"""After so many crashes, time limits or errors a task is dead."""


@dataclass(frozen=True)
class Claim:
    """A task in a worker's hands, with what the stage needs."""

    task: Task
    attempts: int
    given: str | Source | Clip | tuple[Clip, ...]
    """A path, the source (of a span, or whose spans are to be joined), living clips, or the clip."""


class Ledger(Readings):
    """One dataset's tasks and results. `where`: a file (SQLite, in one process at a time) or a postgresql:// URL."""

    def __init__(self, where: str) -> None:
        super().__init__(Database(where))

    def begin(self, plan: Plan, paths: Sequence[str], may_move: bool = True) -> None:
        """Stores a new dataset and its first tasks, or continues the stored one.

        `paths` may be empty to continue. `may_move`: what its stages left in the stored work folder is now in the
        plan's. Raises UserError where the ledger holds another dataset, naming the first difference, where its work
        folder is another and may not be, where a new dataset would have no sources, and for a file name that no table
        can hold.
        """
        paths = sorted(set(paths))
        for path in paths:
            if path.encode(errors="replace").decode() != path:
                raise UserError(f"a source's name must be UTF-8, got {path!r}: rename it")
        stages = [to_dict(replace(stage, code="")) for stage in plan.stages]  # code is never run from a database
        config = to_dict(plan.config)

        def action(connection: sa.Connection) -> None:
            row = connection.execute(sa.select(dataset)).one_or_none()
            if row is not None:
                difference = _difference(row, config, stages) or self._other_sources(connection, paths)
                if difference:
                    other = "choose another output folder"
                    if not self.database.is_sqlite:
                        other += " and a database of its own, which `createdb NAME` makes"
                    raise UserError(
                        f"{self.database.shown} holds another dataset: {difference}; go back to that, or {other}"
                    )
                if row.work != plan.work and not may_move:
                    raise UserError(
                        f"this run's stages left their files in {row.work}, not in {plan.work}: "
                        f"go on with the same --output and --work as before, or give --work {row.work}"
                    )
                changed = {"config": json.dumps(config), "stages": json.dumps(stages), "work": plan.work}
                connection.execute(sa.update(dataset).values(changed))
                return
            if not paths:
                raise UserError("no source given: name video files, folders, globs or URLs")
            new = {"one": 1, "id": secrets.token_hex(8), "format": FORMAT, "config": json.dumps(config)}
            new |= {"stages": json.dumps(stages), "work": plan.work}
            self.database.insert_new(connection, dataset, [new])
            self.database.insert_new(connection, sources, [{"path": path} for path in paths])
            flow = Flow(self.database, connection, plan)
            flow.add(plan.of_paths(paths))
            flow.add(plan.barriers(), state="waiting")

        self.database.retrying(action)

    def claim(self, plan: Plan, stage: str, owner: str, limit: int = 1, lease_s: float = 60.0) -> list[Claim]:
        """At most `limit` tasks of a stage that nobody holds, `owner`'s for `lease_s` from now."""

        def action(connection: sa.Connection) -> list[Claim]:
            now = self.database.now(connection)
            wanted = (tasks.c.state == "open") & (tasks.c.stage == stage) & (tasks.c.available_at <= now)
            query = sa.select(tasks.c.unit, tasks.c.source, tasks.c.attempts).where(wanted)
            query = query.order_by(tasks.c.available_at).limit(limit).with_for_update(skip_locked=True)
            rows = connection.execute(query).all()
            if not rows:
                return []
            mine = (tasks.c.stage == stage) & tasks.c.unit.in_([row.unit for row in rows])
            connection.execute(sa.update(tasks).where(mine).values(owner=owner, available_at=now + lease_s))
            given = self._given(connection, plan, stage, rows)
            return [Claim(Task(stage, row.unit, row.source), row.attempts, given[row.unit]) for row in rows]

        return self.database.retrying(action)

    def extend(self, owners: Sequence[str], lease_s: float) -> None:
        """The heartbeat: what `owners` hold stays theirs for `lease_s` from now."""

        def action(connection: sa.Connection) -> None:
            held = tasks.c.owner.in_(owners) & (tasks.c.state == "open")
            until = self.database.now(connection) + lease_s
            connection.execute(sa.update(tasks).where(held).values(available_at=until))

        self.database.retrying(action)

    def complete(self, plan: Plan, owner: str, outcomes: Sequence[Outcome], backoff_s: float = 1.0) -> list[Task]:
        """Stores what came of claimed tasks of one stage, and what follows; returns the tasks that are new.

        Outcomes whose lease another worker has taken over since are not stored: that worker's will be the same.
        After an error a task waits `backoff_s`, then twice as long.
        """

        def action(connection: sa.Connection) -> list[Task]:
            flow = Flow(self.database, connection, plan)
            stage = outcomes[0].task.stage
            if plan.stage(stage).over == "span":
                flow.lock_sources(outcome.task.source for outcome in outcomes)
            held = (tasks.c.stage == stage) & (tasks.c.owner == owner) & (tasks.c.state == "open")
            held &= tasks.c.unit.in_([outcome.task.unit for outcome in outcomes])
            query = sa.select(tasks.c.unit, tasks.c.attempts).where(held).with_for_update()
            attempts = {row.unit: row.attempts for row in connection.execute(query)}
            ours = [outcome for outcome in outcomes if outcome.task.unit in attempts]
            flow.store([outcome for outcome in ours if not outcome.error])
            now = self.database.now(connection)
            for outcome in ours:
                if outcome.error:
                    tried = attempts[outcome.task.unit] + 1
                    flow.fail(outcome, tried, tried >= MAX_ATTEMPTS, now + backoff_s * 2 ** (tried - 1))
            return flow.added

        return self.database.retrying(action) if outcomes else []

    def release(self, owner: str = "", everyone: bool = False) -> None:
        """Gives back what `owner` holds, without an attempt; `everyone`: after a kill, when no other process works."""

        def action(connection: sa.Connection) -> None:
            held = (tasks.c.state == "open") & (tasks.c.owner != "" if everyone else tasks.c.owner == owner)
            connection.execute(sa.update(tasks).where(held).values(owner="", available_at=0.0))

        self.database.retrying(action)

    def open_barriers(self, plan: Plan) -> list[Task]:
        """Opens the stages over the whole dataset whose earlier tasks have all ended; returns their tasks."""

        def action(connection: sa.Connection) -> list[Task]:
            opened = []
            for task in plan.barriers():
                earlier = tasks.alias()
                busy = earlier.c.state.in_(("open", "waiting")) & earlier.c.stage.in_(plan.before(task.stage))
                waiting = (tasks.c.stage == task.stage) & (tasks.c.state == "waiting")
                opening = sa.update(tasks).where(waiting, ~sa.exists().where(busy)).values(state="open")
                if connection.execute(opening).rowcount:
                    opened.append(task)
            return opened

        return self.database.retrying(action)

    def open_stages(self) -> dict[str, int]:
        """Stage -> tasks that somebody can claim now; stages with none are left out."""

        def action(connection: sa.Connection) -> dict[str, int]:
            ready = (tasks.c.state == "open") & (tasks.c.available_at <= self.database.now(connection))
            query = sa.select(tasks.c.stage, sa.func.count().label("ready")).where(ready).group_by(tasks.c.stage)
            return {row.stage: row.ready for row in connection.execute(query)}

        return self.database.retrying(action)

    def num_held(self) -> int:
        """Tasks in some worker's hands."""

        def action(connection: sa.Connection) -> int:
            held = (tasks.c.state == "open") & (tasks.c.owner != "")
            held &= tasks.c.available_at > self.database.now(connection)
            return connection.scalar(sa.select(sa.func.count()).select_from(tasks).where(held)) or 0

        return self.database.retrying(action)

    def is_finished(self) -> bool:
        """Whether no task is left to do: all are done, dead or cancelled."""

        def action(connection: sa.Connection) -> bool:
            return connection.execute(_UNFINISHED).first() is None

        return self.database.retrying(action)

    def _given(
        self, connection: sa.Connection, plan: Plan, stage: str, rows: Sequence[sa.Row]
    ) -> dict[str, str | Source | Clip | tuple[Clip, ...]]:
        """Unit -> what the stage is to work on."""
        over = plan.stage(stage).over
        if over == "path":
            return {row.unit: row.unit for row in rows}
        if over == "clip":
            query = sa.select(clips.c.unit, clips.c.record).where(clips.c.unit.in_([row.unit for row in rows]))
            return {row.unit: clip_from(row.record) for row in connection.execute(query)}
        if over == "span" or plan.before(stage)[-1] == plan.span_stage().name:
            ids = {row.source for row in rows}
            found = connection.execute(sa.select(sources).where(sources.c.id.in_(ids))).all()
            first = {name: first_source(row for row in found if row.id == name) for name in ids}
            return {row.unit: first[row.source] for row in rows}
        living = sa.select(clips.c.record).where(clips.c.rejected_by == "")
        groups = {row.unit: living if row.unit == ALL else living.where(clips.c.source == row.source) for row in rows}
        return {unit: _in_order(connection.scalars(query)) for unit, query in groups.items()}

    def _other_sources(self, connection: sa.Connection, paths: Sequence[str]) -> str:
        known = set(connection.scalars(sa.select(sources.c.path)))
        if not paths or known == set(paths):
            return ""
        new, gone = sorted(set(paths) - known), sorted(known - set(paths))
        return f"{new[0]} is not among its sources" if new else f"its source {gone[0]} is not given"


_UNFINISHED = sa.select(tasks.c.unit).where(tasks.c.state.in_(("open", "waiting"))).limit(1)


def _in_order(records: Iterable[str]) -> tuple[Clip, ...]:
    found = [clip_from(record) for record in records]
    return tuple(sorted(found, key=lambda clip: (clip.source, clip.start_frame, clip.end_frame, clip.id)))


def _difference(row: sa.Row, config: dict, stages: list[dict]) -> str:
    """The first thing in which a stored dataset is not the given one; empty: nothing that changes results."""
    if row.format != FORMAT:
        return f"it was made by another videosyn, ledger format {row.format} instead of {FORMAT}"
    old, new = _leaves(json.loads(row.config)), _leaves(config)
    for key in sorted(set(old) | set(new)):
        free = key == "device" or (key == "write.shards" and new.get(key))  # shards are made at the end
        if old.get(key) != new.get(key) and not free:
            return f"its {key} is {old.get(key)!r}, now it is {new.get(key)!r}"
    versions = [{stage["name"]: stage["version"] for stage in each} for each in (json.loads(row.stages), stages)]
    for name in [*versions[0], *versions[1]]:
        before, now = (each.get(name) for each in versions)
        if before != now:
            return f"its stage {name} has version {before or 'none'}, now it is {now or 'none'}"
    return ""


def _leaves(config: dict, prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in config.items():
        flat |= _leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat

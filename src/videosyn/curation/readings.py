"""What a ledger answers: clips, sources, timings, the dead, how far a run is. Next: `ledger.py`, which changes it."""

from __future__ import annotations

import json
from collections.abc import Sequence

import sqlalchemy as sa

from videosyn.core.config import from_dict
from videosyn.curation.config import CurationConfig
from videosyn.curation.database import Database, clips, dataset, sources, tasks
from videosyn.curation.records import Clip, Frame, Source
from videosyn.curation.results import Progress, Result, SetAside, StageCount, Timing
from videosyn.curation.stages import Resources
from videosyn.curation.tasks import Plan, StageInfo

_NAMED = sa.select(sources.c.id, sources.c.path).where(sources.c.id != "")


class Readings:
    """The reading half of a ledger."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def _read(self, *queries: sa.Select) -> list[Sequence[sa.Row]]:
        """The rows of each query, of one moment."""
        return self.database.retrying(lambda connection: [connection.execute(query).all() for query in queries])

    def dataset_id(self) -> str:
        """16 hex digits that name the dataset; empty: the ledger holds none yet."""
        (rows,) = self._read(sa.select(dataset.c.id))
        return rows[0].id if rows else ""

    def plan(self) -> Plan | None:
        """The stored stages and config; None: the ledger holds no dataset yet."""
        (rows,) = self._read(sa.select(dataset))
        if not rows:
            return None
        row = rows[0]
        stages = [
            StageInfo(**{**info, "resources": from_dict(Resources, info["resources"])})
            for info in json.loads(row.stages)
        ]
        return Plan(tuple(stages), from_dict(CurationConfig, json.loads(row.config), where="ledger"), str(row.work))

    def clips(self) -> tuple[Clip, ...]:
        """Kept and rejected, sorted by source id, start and end."""
        (rows,) = self._read(sa.select(clips.c.record))
        found = [clip_from(row.record) for row in rows]
        return tuple(sorted(found, key=lambda clip: (clip.source, clip.start_frame, clip.end_frame, clip.id)))

    def sources(self) -> tuple[Source, ...]:
        """What the probe took for a video, sorted by path; of paths with the same content the first."""
        (rows,) = self._read(sa.select(sources).where(sources.c.id != ""))
        first: dict[str, Source] = {}
        for row in sorted(rows, key=lambda row: row.path):
            first.setdefault(row.id, source_from(row.record))
        return tuple(first.values())

    def paths(self) -> tuple[str, ...]:
        """Every source that was given, sorted."""
        (rows,) = self._read(sa.select(sources.c.path))
        return tuple(sorted(row.path for row in rows))

    def dead(self) -> tuple[SetAside, ...]:
        """Tasks that failed too often, sorted by path, stage and unit; of a source's spans the first."""
        rows, named = self._read(sa.select(tasks).where(tasks.c.state == "dead"), _NAMED)
        path_of: dict[str, str] = {}
        for row in named:
            path_of[row.id] = min(row.path, path_of.get(row.id, row.path))
        dead: dict[tuple[str, str], SetAside] = {}
        for row in sorted(rows, key=lambda row: row.unit):
            is_span = row.unit.startswith(f"{row.source}/")
            path = str(path_of.get(row.source, row.source))
            found = SetAside(path, row.stage, row.unit, row.reason, row.attempts)
            dead.setdefault((row.stage, row.source if is_span else row.unit), found)
        return tuple(sorted(dead.values(), key=lambda task: (task.path, task.stage, task.unit)))

    def set_aside(self) -> tuple[SetAside, ...]:
        """The dead, and the paths whose content another path has too."""
        (rows,) = self._read(_NAMED)
        plan = self.plan()
        probe = plan.names()[0] if plan else ""
        first: dict[str, str] = {}
        same = []
        for row in sorted(rows, key=lambda row: row.path):
            if row.path != first.setdefault(row.id, row.path):
                same.append(SetAside(row.path, probe, row.path, f"same content as {first[row.id]}", 0))
        return tuple(sorted((*self.dead(), *same), key=lambda task: (task.path, task.stage, task.unit)))

    def timings(self) -> tuple[Timing, ...]:
        """What each stage cost so far, in the pipeline's order."""
        plan = self.plan()
        total = sa.func.sum(tasks.c.seconds).label("total_s")
        query = sa.select(tasks.c.stage, sa.func.count().label("units"), total).where(tasks.c.state == "done")
        (found,) = self._read(query.group_by(tasks.c.stage))
        rows = {row.stage: row for row in found}
        names = plan.names() if plan else ()
        return tuple(Timing(name, rows[name].units, float(rows[name].total_s)) for name in names if name in rows)

    def progress(self, note: str = "") -> Progress:
        """How far each stage is."""
        plan = self.plan()
        by_state = sa.select(tasks.c.stage, tasks.c.state, sa.func.count().label("units"))
        by_stage = sa.select(clips.c.rejected_by, sa.func.count().label("clips")).group_by(clips.c.rejected_by)
        rows, fates = self._read(by_state.group_by(tasks.c.stage, tasks.c.state), by_stage)
        rejected = sum(row.clips for row in fates if row.rejected_by)
        kept = sum(row.clips for row in fates if not row.rejected_by)
        units = {(row.stage, row.state): row.units for row in rows}
        stages = {
            name: StageCount(
                done=units.get((name, "done"), 0),
                open=units.get((name, "open"), 0) + units.get((name, "waiting"), 0),
                dead=units.get((name, "dead"), 0),
            )
            for name in (plan.names() if plan else ())
        }
        return Progress(stages, kept, rejected, sum(count.dead for count in stages.values()), note)

    def result(self) -> Result:
        """Everything, for the writers of tables and reports."""
        plan = self.plan()
        assert plan is not None, "only a run that began has a result"
        versions = {stage.name: stage.version for stage in plan.stages}
        return Result(self.sources(), self.clips(), self.set_aside(), self.timings(), versions, plan.config)


def clip_text(clip: Clip) -> str:
    """A clip as the ledger stores it. Done for every clip and stage, so without `core.config`'s checks."""
    frames = [frame.__dict__ for frame in clip.frames]
    return json.dumps({**clip.__dict__, "frames": frames}, sort_keys=True)


def clip_from(record: str) -> Clip:
    fields = json.loads(record)
    return Clip(**{**fields, "frames": tuple(Frame(**frame) for frame in fields["frames"])})


def source_from(record: str) -> Source:
    return from_dict(Source, json.loads(record), where="ledger")

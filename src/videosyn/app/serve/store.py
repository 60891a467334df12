"""Jobs in an SQLite file, the truth about what was accepted and what became of it. Torch-free. Next: `service.py`.

A job is queued, then running, then succeeded, failed or cancelled; a film that was removed for its age or for room
leaves its job expired. A worker claims jobs under a name of its own, its lease. What it writes counts only as long as
the job is running under that lease: a worker that was given up, or whose job was cancelled, changes nothing. So each
job finishes once, whoever is killed when.
"""

from __future__ import annotations

import json
import math
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MOST_ATTEMPTS = 3
"""Times that a job may lose its worker before it counts as the cause."""
ACTIVE = ("queued", "running")
FINISHED = ("succeeded", "failed", "cancelled", "expired")
RECENT = 20
"""Finished jobs of which the mean time is taken."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  state TEXT NOT NULL,
  request TEXT NOT NULL,
  shape TEXT NOT NULL,
  idempotency_key TEXT UNIQUE,
  asked TEXT NOT NULL,
  sources TEXT NOT NULL,
  created REAL NOT NULL,
  started REAL,
  finished REAL,
  lease TEXT,
  attempts INTEGER NOT NULL DEFAULT 0,
  steps_done INTEGER NOT NULL DEFAULT 0,
  steps_total INTEGER NOT NULL DEFAULT 0,
  busy_s REAL,
  bytes INTEGER NOT NULL DEFAULT 0,
  film TEXT,
  error TEXT,
  notes TEXT NOT NULL DEFAULT '[]'
);
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state, number);
CREATE TABLE IF NOT EXISTS uploads (
  id TEXT PRIMARY KEY,
  kind TEXT NOT NULL,
  height INTEGER NOT NULL,
  width INTEGER NOT NULL,
  num_frames INTEGER NOT NULL,
  fps REAL NOT NULL,
  bytes INTEGER NOT NULL,
  created REAL NOT NULL
);
"""


class QueueFull(Exception):
    """As many jobs wait as may."""


class KeyReused(Exception):
    """An idempotency key came with another request before."""


@dataclass(frozen=True)
class Job:
    """One row. Times are seconds since 1970."""

    number: int
    id: str
    state: str
    request: dict[str, Any]
    """Complete: every setting has its value."""
    shape: str
    """Jobs of equal shapes may be made together; empty: alone."""
    created: float
    started: float | None
    finished: float | None
    attempts: int
    steps_done: int
    steps_total: int
    busy_s: float | None
    """How long it took its worker; of a batch, its share."""
    bytes: int
    film: dict[str, Any] | None
    """num_frames, height, width and fps of the film, once there is one."""
    error: str | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Upload:
    """A picture (num_frames 1, fps 0) or a clip that decodes. `kind`: picture or clip."""

    id: str
    kind: str
    height: int
    width: int
    num_frames: int
    fps: float
    bytes: int
    created: float


def new_id() -> str:
    """128 random bits as hex: an id that cannot be guessed."""
    return uuid.uuid4().hex


class JobStore:
    """One connection, for one thread at a time. Several processes may each have their own on the same file."""

    def __init__(self, path: Path, durable: bool = True, clock: Callable[[], float] = time.time) -> None:
        """durable: what is written is on the disk before a call returns, so that even a power cut keeps it."""
        self._clock = clock
        self._db = sqlite3.connect(path, isolation_level=None, timeout=30, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def add(
        self,
        request: Mapping[str, Any],
        shape: str,
        most_waiting: int,
        key: str | None = None,
        asked: str = "",
        sources: Sequence[str] = (),
    ) -> tuple[Job, bool]:
        """Accepts a job; (job, True), or (the job of the same key, False).

        asked: the client's own words, which tell whether a key comes with the same request again. sources: ids of the
        uploads and films it uses, which are kept until it is finished. Raises QueueFull and KeyReused.
        """
        with self._transaction():
            known = self._db.execute("SELECT * FROM jobs WHERE idempotency_key = ?", (key,)).fetchone() if key else None
            if known is not None:
                if known["asked"] != asked:
                    raise KeyReused
                return _job(known), False
            if self.count("queued") >= most_waiting:
                raise QueueFull
            self._db.execute(
                "INSERT INTO jobs (id, state, request, shape, idempotency_key, asked, sources, created) "
                "VALUES (?, 'queued', ?, ?, ?, ?, ?, ?)",
                (job_id := new_id(), json.dumps(request), shape, key, asked, " ".join(sources), self._clock()),
            )
        return self._get(job_id), True

    def get(self, job_id: str) -> Job | None:
        row = self._db.execute("SELECT * FROM jobs WHERE id = ?", (job_id,)).fetchone()
        return None if row is None else _job(row)

    def _get(self, job_id: str) -> Job:
        job = self.get(job_id)
        assert job is not None, job_id
        return job

    def latest(self, most: int, before: int | None = None, states: Sequence[str] = ()) -> list[Job]:
        """The newest jobs first; `before`: only those with a smaller number; `states`: only in one of these."""
        marks = ", ".join("?" * len(states))
        where = f"AND state IN ({marks})" if states else ""
        rows = self._db.execute(
            f"SELECT * FROM jobs WHERE number < ? {where} ORDER BY number DESC LIMIT ?",
            (2**62 if before is None else before, *states, most),
        )
        return [_job(row) for row in rows]

    def count(self, state: str) -> int:
        return self._db.execute("SELECT COUNT(*) FROM jobs WHERE state = ?", (state,)).fetchone()[0]

    def counts(self) -> dict[str, int]:
        """Jobs by state."""
        return dict(self._db.execute("SELECT state, COUNT(*) FROM jobs GROUP BY state").fetchall())

    def position(self, job: Job) -> int:
        """How many jobs wait before a queued one."""
        query = "SELECT COUNT(*) FROM jobs WHERE state = 'queued' AND number < ?"
        return self._db.execute(query, (job.number,)).fetchone()[0]

    def mean_busy_s(self) -> float | None:
        """What a job took of late, in seconds; None before the first."""
        query = (
            "SELECT AVG(busy_s) FROM (SELECT busy_s FROM jobs WHERE state IN ('succeeded', 'expired') "
            "ORDER BY number DESC LIMIT ?)"
        )
        return self._db.execute(query, (RECENT,)).fetchone()[0]

    def claim(self, lease: str, most: int, sharers: int = 1) -> list[Job]:
        """The oldest queued job, and up to most - 1 others of its shape in their order; they are running then.

        A job whose worker ended under it is made alone: whichever of its batch was to blame, the others are not.
        sharers: workers on this queue. None takes more than its share of what waits, so that none is left idle.
        """
        if not self.count("queued"):
            return []
        with self._transaction():
            first = self._db.execute("SELECT * FROM jobs WHERE state = 'queued' ORDER BY number LIMIT 1").fetchone()
            if first is None:
                return []
            rows = [first]
            if first["shape"] and not first["attempts"]:
                query = (
                    "SELECT * FROM jobs WHERE state = 'queued' AND shape = ? AND attempts = 0 ORDER BY number LIMIT ?"
                )
                share = math.ceil(self.count("queued") / sharers)
                rows = self._db.execute(query, (first["shape"], min(most, share))).fetchall()
            ids, now = [row["id"] for row in rows], self._clock()
            for job_id in ids:
                self._db.execute(
                    "UPDATE jobs SET state = 'running', lease = ?, started = ?, attempts = attempts + 1, "
                    "steps_done = 0, steps_total = 0 WHERE id = ?",
                    (lease, now, job_id),
                )
        return [self._get(job_id) for job_id in ids]

    def progress(self, lease: str, job_ids: Sequence[str], done: int, total: int) -> None:
        with self._transaction():
            for job_id in job_ids:
                self._db.execute(
                    "UPDATE jobs SET steps_done = ?, steps_total = ? WHERE id = ? AND lease = ? AND state = 'running'",
                    (done, total, job_id, lease),
                )

    def wanted(self, lease: str, job_ids: Sequence[str]) -> set[str]:
        """Which of these are still running under the lease: not cancelled, not given to another worker."""
        marks = ", ".join("?" * len(job_ids))
        query = f"SELECT id FROM jobs WHERE lease = ? AND state = 'running' AND id IN ({marks})"
        return {row["id"] for row in self._db.execute(query, (lease, *job_ids))}

    def succeed(
        self,
        lease: str,
        job_id: str,
        film: Mapping[str, Any],
        num_bytes: int,
        busy_s: float,
        notes: Sequence[str] = (),
        place: Callable[[], None] = lambda: None,
    ) -> bool:
        """Marks a job as done; False where it no longer was this lease's. `place` puts its film where it belongs, and
        is called only if the job still wants it."""
        with self._transaction():
            if job_id not in self.wanted(lease, [job_id]):
                return False
            place()
            self._db.execute(
                "UPDATE jobs SET state = 'succeeded', finished = ?, film = ?, bytes = ?, busy_s = ?, notes = ?, "
                "steps_done = steps_total WHERE id = ?",
                (self._clock(), json.dumps(film), num_bytes, busy_s, json.dumps(list(notes)), job_id),
            )
        return True

    def fail(self, lease: str, job_id: str, error: str) -> bool:
        """`error`: one line for the client."""
        changed = self._db.execute(
            "UPDATE jobs SET state = 'failed', finished = ?, error = ? WHERE id = ? AND lease = ? "
            "AND state = 'running'",
            (self._clock(), error, job_id, lease),
        )
        return changed.rowcount == 1

    def cancel(self, job_id: str) -> bool:
        """Cancels a queued or running job, at once for its client; its worker stops at its next step."""
        changed = self._db.execute(
            "UPDATE jobs SET state = 'cancelled', finished = ?, lease = NULL WHERE id = ? "
            "AND state IN ('queued', 'running')",
            (self._clock(), job_id),
        )
        return changed.rowcount == 1

    def remove(self, job_id: str) -> bool:
        """Forgets a finished job."""
        changed = self._db.execute("DELETE FROM jobs WHERE id = ? AND state NOT IN ('queued', 'running')", (job_id,))
        return changed.rowcount == 1

    def give_back(self, lease: str | None = None) -> int:
        """Jobs that a lost worker was running wait again, in their old place; all running jobs where lease is None.

        One that lost MOST_ATTEMPTS workers fails. Returns how many wait again.
        """
        whose, values = ("AND lease = ?", (lease,)) if lease is not None else ("", ())
        with self._transaction():
            self._db.execute(
                "UPDATE jobs SET state = 'failed', finished = ?, lease = NULL, error = ? "
                f"WHERE state = 'running' AND attempts >= ? {whose}",
                (self._clock(), f"its worker process ended {MOST_ATTEMPTS} times", MOST_ATTEMPTS, *values),
            )
            changed = self._db.execute(
                "UPDATE jobs SET state = 'queued', lease = NULL, started = NULL, steps_done = 0, steps_total = 0 "
                f"WHERE state = 'running' {whose}",
                values,
            )
        return changed.rowcount

    def forgive(self) -> None:
        """Running jobs are not blamed for a service that ends: their attempt does not count."""
        self._db.execute("UPDATE jobs SET attempts = attempts - 1 WHERE state = 'running'")

    def expire(self, keep_s: float, keep_bytes: int) -> list[str]:
        """Ids of the films to remove, now expired: those older than keep_s, then the oldest until the others take no
        more than keep_bytes. Films that waiting jobs go on from stay."""
        used = self.used_sources()
        rows = self._db.execute(
            "SELECT id, finished, bytes FROM jobs WHERE state = 'succeeded' ORDER BY finished DESC, number DESC"
        ).fetchall()
        oldest, total, gone = self._clock() - keep_s, 0, []
        for row in rows:
            total += row["bytes"]
            if (row["finished"] < oldest or total > keep_bytes) and row["id"] not in used:
                gone.append(row["id"])
        with self._transaction():
            for job_id in gone:
                self._db.execute("UPDATE jobs SET state = 'expired' WHERE id = ? AND state = 'succeeded'", (job_id,))
        return gone

    def forget(self, keep_s: float) -> None:
        """Drops the records of jobs that finished, without a film, longer ago than this."""
        query = "DELETE FROM jobs WHERE state IN ('failed', 'cancelled', 'expired') AND finished < ?"
        self._db.execute(query, (self._clock() - keep_s,))

    def used_sources(self) -> set[str]:
        """Ids of uploads and films that unfinished jobs use."""
        rows = self._db.execute("SELECT sources FROM jobs WHERE state IN ('queued', 'running') AND sources <> ''")
        return {source for row in rows for source in row["sources"].split()}

    def add_upload(self, upload: Upload) -> None:
        self._db.execute("INSERT INTO uploads VALUES (?, ?, ?, ?, ?, ?, ?, ?)", tuple(vars(upload).values()))

    def upload(self, upload_id: str) -> Upload | None:
        row = self._db.execute("SELECT * FROM uploads WHERE id = ?", (upload_id,)).fetchone()
        return None if row is None else Upload(**row)

    def upload_bytes(self) -> int:
        """Of all uploads together."""
        return self._db.execute("SELECT COALESCE(SUM(bytes), 0) FROM uploads").fetchone()[0]

    def upload_ids(self) -> set[str]:
        return {row["id"] for row in self._db.execute("SELECT id FROM uploads")}

    def expire_uploads(self, keep_s: float) -> list[str]:
        """Forgets uploads that no unfinished job uses and that are older; returns their ids."""
        used = self.used_sources()
        rows = self._db.execute("SELECT id FROM uploads WHERE created < ?", (self._clock() - keep_s,)).fetchall()
        gone = [row["id"] for row in rows if row["id"] not in used]
        with self._transaction():
            for upload_id in gone:
                self._db.execute("DELETE FROM uploads WHERE id = ?", (upload_id,))
        return gone


def _job(row: sqlite3.Row) -> Job:
    return Job(
        row["number"],
        row["id"],
        row["state"],
        json.loads(row["request"]),
        row["shape"],
        row["created"],
        row["started"],
        row["finished"],
        row["attempts"],
        row["steps_done"],
        row["steps_total"],
        row["busy_s"],
        row["bytes"],
        json.loads(row["film"]) if row["film"] else None,
        row["error"],
        tuple(json.loads(row["notes"])),
    )

"""The ledger's tables and its connection: SQLite in a file, or PostgreSQL for many machines. Next: `ledger.py`."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.event import listens_for
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoFreeConnection
from sqlalchemy.pool import StaticPool

from videosyn.core.errors import UserError

Value = TypeVar("Value")

FORMAT = 1
"""Of the tables below; a ledger of another format is not read."""

metadata = sa.MetaData()

dataset = sa.Table(
    "dataset",
    metadata,
    sa.Column("one", sa.Integer, primary_key=True),  # always 1: a ledger holds one dataset
    sa.Column("id", sa.String(16), nullable=False),
    sa.Column("format", sa.Integer, nullable=False),
    sa.Column("config", sa.Text, nullable=False),
    sa.Column("stages", sa.Text, nullable=False),
    sa.Column("work", sa.Text, nullable=False),
)

sources = sa.Table(
    "sources",
    metadata,
    sa.Column("path", sa.Text, primary_key=True),
    sa.Column("id", sa.String(16), nullable=False, server_default="", index=True),  # empty: not probed
    sa.Column("record", sa.Text, nullable=False, server_default=""),
)

tasks = sa.Table(
    "tasks",
    metadata,
    sa.Column("stage", sa.String(40), primary_key=True),
    sa.Column("unit", sa.Text, primary_key=True),
    sa.Column("version", sa.String(80), primary_key=True),
    sa.Column("source", sa.Text, nullable=False, index=True),
    sa.Column("state", sa.String(9), nullable=False),  # waiting, open, done, dead, cancelled
    sa.Column("available_at", sa.Float, nullable=False),  # unix time: when an open task may be claimed (again)
    sa.Column("owner", sa.String(80), nullable=False),  # who holds the lease until then; empty: nobody
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Index("tasks_claimable", "state", "stage", "available_at"),
    sa.Index("tasks_owner", "owner"),
)

clips = sa.Table(
    "clips",
    metadata,
    sa.Column("unit", sa.String(16), primary_key=True),  # the clip's first id
    sa.Column("id", sa.String(16), nullable=False, index=True),  # as re-clipping may have changed it
    sa.Column("source", sa.String(16), nullable=False, index=True),
    sa.Column("rejected_by", sa.String(40), nullable=False, index=True),
    sa.Column("record", sa.Text, nullable=False),
    sa.Column("before", sa.Text, nullable=False, server_default=""),  # the record that a group stage rejected
)


class Database:
    """Transactions on either kind of database; `where` is a file's path or a postgresql:// URL."""

    def __init__(self, where: str) -> None:
        self.shown = without_password(where)
        self.is_sqlite = "://" not in where
        self._lock = threading.RLock() if self.is_sqlite else nullcontext()
        self._engine = _sqlite(where) if self.is_sqlite else _postgresql(where)
        try:
            with self.transaction() as connection:
                if not self.is_sqlite:  # two workers that start at once must not both create the tables
                    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(FORMAT)))
                metadata.create_all(connection)
        except SQLAlchemyError as error:
            raise UserError(f"cannot open the ledger {self.shown}: {first_line(error)}") from error

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """All of the block or nothing; on SQLite one at a time, in this and all other processes."""
        with self._lock, self._engine.begin() as connection:
            yield connection

    def retrying(self, action: Callable[[sa.Connection], Value], patience_s: float = 60.0) -> Value:
        """`action` in a transaction; again after a deadlock, a lock or a lost connection, until patience ends.

        Raises UserError where the disk of a ledger in a file is full.
        """
        deadline, pause_s = time.monotonic() + patience_s, 0.05
        while True:
            try:
                with self.transaction() as connection:
                    return action(connection)
            except DBAPIError as error:
                if getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                    raise UserError(
                        f"cannot write the ledger {self.shown}: {first_line(error)}; make room, and the same command "
                        "goes on"
                    ) from error
                if not is_away(error) or time.monotonic() > deadline:
                    raise
                time.sleep(pause_s)
                pause_s = min(2.0, 2 * pause_s)

    def now(self, connection: sa.Connection) -> float:
        """Unix time by the one clock that all workers share: the database's."""
        if self.is_sqlite:
            return time.time()
        return float(connection.scalar(sa.select(sa.extract("epoch", sa.func.clock_timestamp()))) or 0.0)

    def insert_new(self, connection: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
        """Inserts the rows whose primary key is not there yet."""
        if rows:
            dialect = sqlite if self.is_sqlite else postgresql
            connection.execute(dialect.insert(table).on_conflict_do_nothing(), rows)

    def close(self) -> None:
        self._engine.dispose()


def _sqlite(path: str) -> sa.Engine:
    """One connection for all threads (the lock above orders them), in WAL mode: a killed process loses nothing."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    arguments = {"check_same_thread": False, "timeout": 60.0, "isolation_level": None}
    engine = sa.create_engine(sa.URL.create("sqlite", database=path), connect_args=arguments, poolclass=StaticPool)

    @listens_for(engine, "connect")
    def _configure(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")

    @listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _postgresql(url: str) -> sa.Engine:
    scheme, rest = url.split("://", 1)
    if scheme.split("+")[0] not in ("postgresql", "postgres"):
        raise UserError(f"a ledger is a file or a postgresql:// URL, got {without_password(url)}")
    try:
        return sa.create_engine(f"postgresql+psycopg://{rest}", pool_pre_ping=True, pool_size=5, max_overflow=20)
    except (SQLAlchemyError, ValueError) as error:
        raise UserError(f"the ledger's URL {without_password(url)} cannot be read: {first_line(error)}") from error


def is_away(error: SQLAlchemyError) -> bool:
    """Whether it says that the database is out of reach or busy, not that a statement is wrong."""
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    return lost or isinstance(error, OperationalError | NoFreeConnection)


def first_line(error: Exception) -> str:
    """What the database said, without the statement and the parameters."""
    cause = getattr(error, "orig", None) or error
    return (str(cause).strip().splitlines() or [type(error).__name__])[0]


def without_password(url: str) -> str:
    """For messages: the URL, its password as `***`."""
    if "://" not in url or "@" not in url:
        return url
    scheme, rest = url.split("://", 1)
    account, place = rest.rsplit("@", 1)
    return f"{scheme}://{account.split(':', 1)[0]}{':***' if ':' in account else ''}@{place}"

"""Many machines: RabbitMQ carries hints, PostgreSQL holds the ledger, `videosyn worker` does the work.

What runs here only watches: it stores the dataset's tasks, opens barriers, sends lost hints again, shows progress, and
writes the tables at the end. It may be stopped and started at any moment; the workers go on. Next: `worker.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from videosyn.core.config import read_json, write_json
from videosyn.core.errors import UserError
from videosyn.core.files import atomic_file
from videosyn.curation.broker import Hints, check_broker
from videosyn.curation.config import CurationConfig
from videosyn.curation.database import first_line, is_away, without_password
from videosyn.curation.finish import absolute, describe, finish, place_for, raise_if_stuck, summary
from videosyn.curation.ledger import Ledger
from videosyn.curation.pipeline import FINISH, PIPELINE, Step
from videosyn.curation.results import Progress, Summary
from videosyn.curation.tasks import Plan
from videosyn.curation.work import Work, is_url

MARK = "queue.json"
"""In DATASET/.curation: which dataset of a PostgreSQL ledger this folder is for, and its --work if elsewhere."""
LOOK_S = 0.5
SWEEP_S = 2.0


def run_queue(
    config: CurationConfig,
    sources: Sequence[str],
    dataset: Path,
    broker: str,
    ledger: str,
    work: str = "",
    progress: Callable[[Progress], None] | None = None,
    pipeline: Sequence[Step] = PIPELINE,
    at_end: Sequence[str] = FINISH,
) -> Summary:
    """Curates `sources` into the folder `dataset` with whatever workers there are, or goes on with a run that stopped.

    `broker` and `ledger`: amqp:// and postgresql:// URLs. `work`: where stages leave files, a folder that all workers
    see or an fsspec URL; empty: DATASET/.curation. Raises UserError as `run_local` does, and where broker or ledger
    cannot be reached, or the run that it is to go on with has its work elsewhere.
    """
    begin = time.monotonic()
    if not is_url(ledger):
        raise UserError(f"workers on many machines share a PostgreSQL ledger, got {ledger}: give a postgresql:// URL")
    check_broker(broker)
    place_for(dataset, ".curation")
    place = absolute(work).rstrip("/") if work else str(dataset.absolute() / ".curation")
    plan = describe(pipeline, config, place)
    mark = dataset / ".curation" / MARK
    book = Ledger(ledger)
    try:
        may_move = not work and _has_work(mark, book)  # the whole folder was moved
        book.begin(plan, [absolute(source) for source in sources], may_move)
        _mark(mark, book, ledger, work)
        _watch(book, plan, Hints(broker, book.dataset_id()), progress, _how_to_help(broker, ledger))
        raise_if_stuck(book, plan)
        finish(book, dataset, Work(plan.work), at_end)
        return summary(book.result(), time.monotonic() - begin)
    finally:
        book.database.close()


def _watch(
    book: Ledger, plan: Plan, hints: Hints, progress: Callable[[Progress], None] | None, how_to_help: str
) -> None:
    """Until no task is left: opens barriers, hints at what nobody has taken up, shows how far it is.

    Raises UserError where the ledger stays away.
    """
    next_sweep = next_look = 0.0
    try:
        while not book.is_finished():
            hints.send(book.open_barriers(plan))
            if time.monotonic() >= next_sweep:
                hints.top_up(book.open_stages())
                next_sweep = time.monotonic() + SWEEP_S
            if progress is not None and time.monotonic() >= next_look:
                begin = time.monotonic()
                progress(book.progress("" if book.num_held() else how_to_help))
                next_look = time.monotonic() + 10 * (time.monotonic() - begin)
            time.sleep(LOOK_S)
        if progress is not None:
            progress(book.progress())
        hints.remove_unread(plan.names())
    except SQLAlchemyError as error:
        if not is_away(error):
            raise
        raise UserError(
            f"the ledger is away ({first_line(error)}): when it is back, the same command goes on"
        ) from error
    finally:
        hints.close()


def _has_work(path: Path, book: Ledger) -> bool:
    """Whether the output folder also is the work folder of the ledger's dataset."""
    mark = read_json(path) if path.exists() else {}
    return mark.get("dataset") == book.dataset_id() and not mark.get("work")


def _mark(path: Path, book: Ledger, ledger: str, work: str) -> None:
    """Notes in the output folder which dataset it is for. Raises UserError where it is another."""
    name = book.dataset_id()
    if path.exists():
        if (known := read_json(path).get("dataset")) != name:
            raise UserError(
                f"{path.parent.parent} is for dataset {known} of ledger {read_json(path).get('ledger')}, "
                f"{book.database.shown} holds {name}: choose another folder, or give that ledger"
            )
    elif (path.parent / "ledger.sqlite").exists():
        raise UserError(f"{path.parent.parent} is for a run of the local engine: choose another folder")
    else:
        with atomic_file(path) as hidden:
            write_json({"dataset": name, "ledger": without_password(ledger), "work": work}, hidden)


def _how_to_help(broker: str, ledger: str) -> str:
    return (
        f"no worker is at work: videosyn worker --stages all --broker {without_password(broker)} "
        f"--ledger {without_password(ledger)}"
    )

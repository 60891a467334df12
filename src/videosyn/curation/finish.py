"""How a run begins and ends, whichever engine: is the output folder ours, did a stage fail for good, tables, report."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from videosyn.core.errors import UserError
from videosyn.curation.config import CurationConfig
from videosyn.curation.isolation import Child, ChildSetup
from videosyn.curation.ledger import Ledger
from videosyn.curation.pipeline import FINISH, Step, named, switched_on
from videosyn.curation.results import Result, Summary
from videosyn.curation.tables import with_captions
from videosyn.curation.tasks import ALL, Plan, check_order
from videosyn.curation.work import Work, is_full, is_url


def place_for(dataset: Path, own: str) -> None:
    """Makes the output folder and `own` inside it. Raises UserError where it holds files of another origin."""
    try:
        inside = sorted(os.listdir(dataset)) if dataset.exists() else []
        if inside and own not in inside:
            raise UserError(f"{dataset} holds files of another origin ({inside[0]}): choose a new or empty folder")
        (dataset / own).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {dataset}: {error.strerror or error}; choose another folder") from error
    if not os.access(dataset / own, os.W_OK | os.X_OK):
        raise UserError(f"cannot write to {dataset}: choose another folder")


def describe(pipeline: Sequence[Step], config: CurationConfig, work: str) -> Plan:
    """The stages that are on, as they describe themselves; their code is imported in a child process only."""
    check_order(pipeline)
    child = Child(ChildSetup(switched_on(pipeline, config), config, work))
    try:
        return Plan(child.describe(), config, work)
    finally:
        child.end()


def absolute(source: str) -> str:
    """A local path that means the same in every process; URLs stay."""
    return source if is_url(source) else os.path.abspath(source)


def raise_if_stuck(ledger: Ledger, plan: Plan, dataset: Path | None = None) -> None:
    """Raises UserError where a stage over the whole dataset is dead: nothing after it can be done. `dataset`: the
    folder that the ledger lies in, None: it is a database.
    """
    whole = {task.stage for task in plan.barriers()}
    for dead in ledger.dead():
        if dead.stage in whole and dead.unit == ALL:
            raise UserError(
                f"stage {dead.stage} failed {dead.attempts} times: {dead.reason}; mend that, then "
                f"`{_requeue(ledger, dataset)}` and the same command again go on from here"
            )


def finish(ledger: Ledger, dataset: Path, work: Work, codes: Sequence[str] = FINISH) -> None:
    """Writes tables and report from what the ledger holds and what `videosyn caption` has added to the table since;
    doing it again changes nothing. Raises UserError where a disk is full.
    """
    try:
        result = with_captions(ledger.result(), dataset)
        for code in codes:
            named(code)(result, dataset, work)
    except OSError as error:
        if not is_full(error):
            raise
        why = error.strerror or error
        raise UserError(f"cannot write {dataset}: {why}; make room, and the same command goes on") from error


def _requeue(ledger: Ledger, dataset: Path | None) -> str:
    place = ("--ledger", ledger.database.shown) if dataset is None else (str(dataset),)
    return shlex.join(("videosyn", "curate", "dead-letters", *place, "--requeue"))


def summary(result: Result, wall_s: float) -> Summary:
    rejected = Counter(clip.rejected_by for clip in result.rejected)
    in_order = {stage: rejected[stage] for stage in result.versions if rejected[stage]}
    return Summary(len(result.sources), len(result.kept), in_order, result.set_aside, wall_s)

"""The end of a run that cannot end: one line, and a command that helps."""

import errno
from types import SimpleNamespace

import pytest
import small_stages

from videosyn.core.errors import UserError
from videosyn.curation.config import CurationConfig
from videosyn.curation.dead_letters import requeue
from videosyn.curation.finish import raise_if_stuck
from videosyn.curation.ledger import Ledger
from videosyn.curation.local_engine import run_local
from videosyn.curation.results import SetAside
from videosyn.curation.tasks import ALL, Task


def _full(error: OSError):
    def write(result, dataset, work) -> None:
        raise error

    return write


def test_a_full_disk_at_the_end_is_one_line_and_the_same_command_goes_on(tmp_path, monkeypatch):
    sources = small_stages.write_sources(tmp_path / "sources", [{}])

    def run() -> None:
        run_local(
            CurationConfig(), sources, tmp_path / "out", 1, None, small_stages.PIPELINE, small_stages.FINISH, 0.01
        )

    full = OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "out/.metadata.parquet"))
    with monkeypatch.context() as patch:
        patch.setattr(small_stages, "write_table", _full(full))
        with pytest.raises(UserError, match=r"^cannot write .*/out: No space left on device; make room, and the same"):
            run()
        patch.setattr(small_stages, "write_table", _full(PermissionError(errno.EACCES, "Permission denied")))
        with pytest.raises(PermissionError):
            run()
    run()
    assert (tmp_path / "out/result.txt").exists()


def test_a_dead_stage_over_the_whole_dataset_names_the_command_that_opens_it(tmp_path, monkeypatch):
    monkeypatch.setattr("videosyn.curation.ledger.MAX_ATTEMPTS", 1)
    sources = small_stages.write_sources(tmp_path / "sources", [{"clips": 6, "poison": {"dedup": "raise"}}])
    folder = tmp_path / "my set"
    with pytest.raises(UserError) as caught:
        run_local(CurationConfig(), sources, folder, 1, None, small_stages.PIPELINE, small_stages.FINISH, 0.01)
    assert f"`videosyn curate dead-letters '{folder}' --requeue` and the same command again" in str(caught.value)
    ledger = Ledger(str(folder / ".curation/ledger.sqlite"))
    assert requeue(ledger) == 1
    ledger.database.close()


def test_with_a_database_the_command_names_that():
    dead = SetAside(path="", stage="dedup", unit=ALL, reason="x", attempts=3)
    ledger = SimpleNamespace(dead=lambda: [dead], database=SimpleNamespace(shown="postgresql://h/d"))
    plan = SimpleNamespace(barriers=lambda: [Task("dedup", ALL)])
    with pytest.raises(UserError, match=r"`videosyn curate dead-letters --ledger postgresql://h/d --requeue` and"):
        raise_if_stuck(ledger, plan)

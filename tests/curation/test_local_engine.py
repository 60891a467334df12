"""The local engine: one result however many workers, poison contained, killed runs go on."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
import small_stages
from small_stages import FINISH, PIPELINE, write_sources

from videosyn.app import cli
from videosyn.core.errors import UserError
from videosyn.curation.config import CurationConfig, DedupConfig, TextConfig
from videosyn.curation.dead_letters import requeue
from videosyn.curation.ledger import Ledger
from videosyn.curation.local_engine import run_local
from videosyn.curation.results import Progress, Summary

SOURCES = [{"spans": 3, "clips": 4}, {"spans": 2, "clips": 5}, {"spans": 1, "clips": 3}]


def _run(
    sources: list[str], dataset: Path, workers: int = 2, config: CurationConfig | None = None, **options
) -> Summary:
    options = {"pipeline": PIPELINE, "at_end": FINISH, "backoff_s": 0.01} | options
    return run_local(config or CurationConfig(), sources, dataset, workers, **options)


def _result(dataset: Path) -> str:
    return (dataset / "result.txt").read_text()


def _files(dataset: Path) -> list[str]:
    return sorted(path.name for path in (dataset / ".curation" / "clips").iterdir())


def test_the_result_does_not_depend_on_the_number_of_workers(tmp_path):
    sources = write_sources(tmp_path / "sources", SOURCES)
    seen: list[Progress] = []
    one = _run(sources, tmp_path / "one", workers=1, progress=seen.append)
    many = _run(list(reversed(sources)), tmp_path / "many", workers=3)
    assert _result(tmp_path / "one") == _result(tmp_path / "many")
    assert _files(tmp_path / "one") == _files(tmp_path / "many")
    assert one.num_kept == many.num_kept == len(_files(tmp_path / "one"))
    assert one.rejected == many.rejected
    assert list(one.rejected) == ["source_dedup", "aesthetics", "dedup"]
    assert seen[-1].kept == one.num_kept
    assert all(count.open == 0 for count in seen[-1].stages.values())


def test_a_finished_run_done_again_changes_nothing_and_works_nothing(tmp_path):
    sources = write_sources(tmp_path / "sources", SOURCES[2:])
    _run(sources, tmp_path / "out")
    before, files = _result(tmp_path / "out"), _times(tmp_path / "out")
    _run([], tmp_path / "out")
    assert _result(tmp_path / "out") == before
    assert _times(tmp_path / "out") == files


def _times(dataset: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (dataset / ".curation" / "clips").iterdir()}


def test_a_stage_that_is_off_is_left_out(tmp_path):
    summary = _run(
        write_sources(tmp_path / "sources", SOURCES), tmp_path / "out", config=CurationConfig(dedup=DedupConfig(False))
    )
    assert list(summary.rejected) == ["aesthetics"]


@pytest.mark.parametrize("poison", ["crash", "hang", "raise", "memory", "mistake"])
def test_a_poisonous_source_is_set_aside_and_the_others_are_not_touched(tmp_path, poison, monkeypatch):
    monkeypatch.setattr("videosyn.curation.ledger.MAX_ATTEMPTS", 1 if poison == "hang" else 3)
    good = _run(write_sources(tmp_path / "good", SOURCES[:1]), tmp_path / "alone")
    sources = write_sources(tmp_path / "sources", [*SOURCES[:1], {"spans": 2, "clips": 2, "poison": {"shots": poison}}])
    summary = _run(sources, tmp_path / "out")
    (aside,) = summary.set_aside
    assert aside.path == sources[1]
    assert aside.stage == "shots"
    assert aside.unit.endswith("/00000")
    assert aside.attempts == (1 if poison == "hang" else 3)
    assert summary.num_kept == good.num_kept
    assert summary.rejected == good.rejected


def test_a_poisonous_clip_costs_that_clip(tmp_path):
    spec = {"spans": 1, "clips": 4}
    good = _run(write_sources(tmp_path / "good", [spec]), tmp_path / "alone")
    bad = _run(write_sources(tmp_path / "bad", [spec | {"poison": {"captions": "crash"}}]), tmp_path / "out")
    assert [aside.stage for aside in bad.set_aside] == ["captions"] * bad.rejected["captions"]
    assert bad.num_kept + bad.rejected["captions"] == sum(good.rejected.values()) + good.num_kept - (
        sum(bad.rejected.values()) - bad.rejected["captions"]
    )
    assert "set aside after 3 attempts: its process ended with exit code 9" in _result(tmp_path / "out")


def test_a_crash_that_does_not_happen_again_leaves_no_trace(tmp_path):
    sources = write_sources(tmp_path / "sources", [{"spans": 2, "clips": 3, "poison": {"motion": "once"}}])
    summary = _run(sources, tmp_path / "out")
    assert (tmp_path / "out/.curation/taken-motion").exists()
    assert summary.set_aside == ()


def test_files_that_are_no_video_are_told_of_and_the_run_goes_on(tmp_path):
    sources = write_sources(tmp_path / "sources", [SOURCES[2], "no video", "", "no video"])
    summary = _run(sources, tmp_path / "out")
    assert [(Path(aside.path).name, aside.reason) for aside in summary.set_aside] == [
        ("01.json", "01.json is no video"),
        ("02.json", "02.json is no video"),
        ("03.json", "03.json is no video"),
    ]
    assert summary.num_sources == 1


def test_dead_letters_of_a_source_are_named_by_any_of_its_paths(tmp_path, monkeypatch, capsys):
    write_sources(tmp_path / "sources", ["no video", "nor this"])
    _run([str(tmp_path / "sources" / name) for name in ("00.json", "01.json")], tmp_path / "out")
    monkeypatch.chdir(tmp_path)
    words = ["curate", "dead-letters", "out", "--sources"]
    assert cli.run([*words, "sources/01.json"]) == 0
    first, last = capsys.readouterr().out.splitlines()
    assert first == f"{tmp_path}/sources/01.json: 01.json is no video (stage probe)"
    assert last == "1 tasks failed for good; --requeue tries them again"
    assert cli.run([*words, "sources/02.json", "--requeue"]) == 2
    assert "sources/02.json is no source of this curation" in capsys.readouterr().err
    assert cli.run([*words, "sources/01.json", "--requeue"]) == 0
    assert capsys.readouterr().out.startswith("1 tasks wait again")


def test_a_copy_of_a_source_is_told_of_and_not_worked_on(tmp_path):
    sources = write_sources(tmp_path / "sources", [SOURCES[2]])
    copy = tmp_path / "sources" / "copy.json"
    copy.write_bytes(Path(sources[0]).read_bytes())
    alone = _run(sources, tmp_path / "alone")
    summary = _run([*sources, str(copy)], tmp_path / "out")
    assert [aside.reason for aside in summary.set_aside] == [f"same content as {sources[0]}"]
    assert summary.num_kept == alone.num_kept


def test_missing_weights_stop_the_run_in_one_line_and_blame_no_source(tmp_path, monkeypatch):
    sources = write_sources(tmp_path / "sources", SOURCES)
    monkeypatch.setenv("SMALL_STAGE_WITHOUT_WEIGHTS", "aesthetics")
    with pytest.raises(UserError, match=r"^stage aesthetics cannot start: its weights are missing: name them$"):
        _run(sources, tmp_path / "out")
    monkeypatch.delenv("SMALL_STAGE_WITHOUT_WEIGHTS")
    assert _run(sources, tmp_path / "out").set_aside == ()


def test_a_folder_with_other_things_in_it_is_refused(tmp_path):
    sources = write_sources(tmp_path / "sources", SOURCES[2:])
    with pytest.raises(UserError, match="holds files of another origin"):
        _run(sources, tmp_path / "sources")
    _run(sources, tmp_path / "out")
    with pytest.raises(UserError, match=r"another dataset: its text\.max_area_px is 20000, now it is 7"):
        _run(sources, tmp_path / "out", config=CurationConfig(text=TextConfig(max_area_px=7)))
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write to"):
        _run(sources, tmp_path / "file" / "out")


def test_two_runs_at_once_in_one_folder_are_refused(tmp_path):
    sources = write_sources(tmp_path / "sources", [{"work_s": 30.0}])
    first = _start(sources, tmp_path / "out")
    try:
        _wait_until(lambda: (tmp_path / "out/.curation/ledger.sqlite").exists())
        with pytest.raises(UserError, match="another run works in"):
            _run(sources, tmp_path / "out")
    finally:
        first.kill()
        first.wait()


def test_ctrl_c_ends_the_run_soon_and_the_next_goes_on(tmp_path):
    sources = write_sources(tmp_path / "sources", [SOURCES[2] | {"work_s": 0.05}, {"work_s": 0.3}])
    first = _start(sources, tmp_path / "out")
    _wait_until(lambda: (tmp_path / "out/.curation/sources").exists())
    first.send_signal(signal.SIGINT)
    assert first.wait(timeout=5) != 0
    assert not (tmp_path / "out/result.txt").exists()
    assert _run(sources, tmp_path / "out").set_aside == ()


def test_killed_at_random_moments_the_result_is_that_of_an_undisturbed_run(tmp_path):
    specs = [spec | {"work_s": 0.01} for spec in SOURCES] + [{"spans": 1, "poison": {"shots": "raise"}}]
    sources = write_sources(tmp_path / "sources", specs)
    _run(sources, tmp_path / "undisturbed")
    random, kills, done = Random(1), 0, 0
    while kills < 7:
        run = _start(sources, tmp_path / "killed")
        done += random.randint(1, 12)
        while run.poll() is None and num_done(tmp_path / "killed") < done:
            time.sleep(0.005)
        if run.poll() is not None:
            break
        time.sleep(random.uniform(0.0, 0.05))
        run.kill()
        run.wait()
        kills += 1
        done = num_done(tmp_path / "killed")
    _run(sources, tmp_path / "killed")
    assert kills >= 4
    assert _result(tmp_path / "killed") == _result(tmp_path / "undisturbed")
    assert _files(tmp_path / "killed") == _files(tmp_path / "undisturbed")


def test_a_dead_task_queued_again_gives_the_result_of_a_run_without_its_failure(tmp_path, monkeypatch):
    poisons = [{"motion": "crash"}, {"shots": "raise"}, {"probe": "raise"}, {"source_dedup": "raise"}]
    folder = tmp_path / "sources"
    sources = write_sources(folder, [*SOURCES, *({"clips": 4, "poison": poison} for poison in poisons)])
    monkeypatch.setenv("SMALL_STAGE_ANTIDOTE", str(tmp_path / "antidote"))
    _run(sources, tmp_path / "out")
    ledger = Ledger(str(tmp_path / "out/.curation/ledger.sqlite"))
    dead = ledger.dead()
    assert {aside.stage for aside in dead} == {"motion", "shots", "probe", "source_dedup"}
    assert requeue(ledger, ["/nobody"]) == 0
    assert requeue(ledger) == len(dead)
    ledger.database.close()
    (tmp_path / "antidote").touch()
    assert _run([], tmp_path / "out").set_aside == ()
    _run(sources, tmp_path / "healthy")
    assert _result(tmp_path / "out") == _result(tmp_path / "healthy")


def num_done(dataset: Path) -> int:
    """Tasks that the ledger holds as done, read from outside."""
    try:
        with closing(sqlite3.connect(f"file:{dataset}/.curation/ledger.sqlite?mode=ro", uri=True)) as connection:
            return connection.execute("SELECT count(*) FROM tasks WHERE state = 'done'").fetchone()[0]
    except sqlite3.OperationalError:  # not there yet
        return 0


def _start(sources: list[str], dataset: Path) -> subprocess.Popen:
    """The run in a process of its own."""
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import small_stages\n"
        "from pathlib import Path\n"
        "from videosyn.curation.config import CurationConfig\n"
        "from videosyn.curation.local_engine import run_local\n"
        "run_local(CurationConfig(), sys.argv[3:], Path(sys.argv[2]), 2, None, small_stages.PIPELINE, "
        "small_stages.FINISH, 0.01)\n"
    )
    folder = Path(small_stages.__file__).parent
    return subprocess.Popen(
        [sys.executable, "-c", script, str(folder), str(dataset), *sources],
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def _wait_until(condition) -> None:
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert condition()

"""A stage's crash, hang or error costs its child process, never the caller."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import small_stages

from videosyn.curation.config import CurationConfig
from videosyn.curation.isolation import Child, ChildLost, ChildSetup, StageFailed, StageUnusable
from videosyn.curation.pipeline import PIPELINE


@pytest.fixture
def make_child(tmp_path):
    children = []

    def make() -> Child:
        children.append(
            Child(ChildSetup(small_stages.PIPELINE, CurationConfig(), str(tmp_path / "work"), log=tmp_path / "log"))
        )
        return children[-1]

    yield make
    for child in children:
        child.end()


def _source(tmp_path: Path, poison: str = "") -> str:
    (path,) = small_stages.write_sources(tmp_path / "sources", [{"spans": 2, "poison": {"probe": poison}}])
    return path


def test_a_child_says_what_its_stages_are_and_runs_them(make_child, tmp_path):
    child = make_child()
    assert [info.name for info in child.describe()] == [step.name for step in small_stages.PIPELINE]
    (source, num_spans), seconds = child.run("probe", _source(tmp_path), limit_s=5.0)
    assert source.num_frames == 1000
    assert num_spans == 2
    assert 0 < seconds < 5


@pytest.mark.parametrize(
    ("poison", "error", "words"),
    [
        ("crash", ChildLost, "exit code 9"),
        ("hang", ChildLost, "longer than its limit of 1 s"),
        ("raise", StageFailed, "ValueError: probe does not like this"),
        ("memory", StageFailed, "MemoryError"),
        ("mistake", StageFailed, "^this is no video$"),
    ],
)
def test_after_any_poison_the_same_child_object_works_on(make_child, tmp_path, poison, error, words):
    child = make_child()
    with pytest.raises(error, match=words):
        child.run("probe", _source(tmp_path / "bad", poison), limit_s=1.0)
    assert child.run("probe", _source(tmp_path / "good"), limit_s=30.0)[0][1] == 2


def test_a_stage_whose_weights_are_missing_is_not_blamed_on_the_unit(make_child, tmp_path, monkeypatch):
    monkeypatch.setenv("SMALL_STAGE_WITHOUT_WEIGHTS", "probe")
    with pytest.raises(StageUnusable, match="stage probe cannot start: its weights are missing"):
        make_child().run("probe", _source(tmp_path), limit_s=5.0)


def test_a_full_disk_is_not_blamed_on_the_unit(make_child, tmp_path):
    words = "stage probe cannot write: .*No space left on device: 'x.npz'; make room, and the same command goes on$"
    with pytest.raises(StageUnusable, match=words):
        make_child().run("probe", _source(tmp_path, "full"), limit_s=5.0)


def test_the_log_holds_the_traceback(make_child, tmp_path):
    with pytest.raises(StageFailed):
        make_child().run("probe", _source(tmp_path, "raise"), limit_s=5.0)
    assert "Traceback" in (tmp_path / "log").read_text()


def test_nothing_of_a_remote_source_stays_when_the_child_ends(tmp_path, monkeypatch):
    temporary, footage = tmp_path / "tmp", tmp_path / "a.mp4"
    temporary.mkdir()
    footage.write_bytes(b"no video")
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setenv("TMPDIR", str(temporary))
    child = Child(ChildSetup(PIPELINE, CurationConfig(), str(tmp_path / "work")))
    with pytest.raises(StageFailed, match="is no video that can be read"):
        child.run("probe", f"file://{footage}", limit_s=60.0)
    assert list(temporary.rglob("a.mp4"))
    child.end()
    assert list(temporary.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_child_in_the_middle_of_a_unit_ends_when_its_parent_is_killed(tmp_path):
    source = _source(tmp_path, "hang")
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import small_stages, threading, time\n"
        "from videosyn.curation.config import CurationConfig\n"
        "from videosyn.curation.isolation import Child, ChildSetup\n"
        "child = Child(ChildSetup(small_stages.PIPELINE, CurationConfig(), sys.argv[2]))\n"
        "child.describe()\n"
        "threading.Thread(target=child.run, args=('probe', sys.argv[3], 60.0), daemon=True).start()\n"
        "time.sleep(0.3); print(child._process.pid, flush=True); time.sleep(60)\n"
    )
    folder = Path(small_stages.__file__).parent
    words = [sys.executable, "-c", script, str(folder), str(tmp_path / "work"), source]
    parent = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert _runs(child)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while _runs(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(child)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rsplit(")", 1)[1].split()[0] != "Z"

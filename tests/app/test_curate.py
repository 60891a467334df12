"""`videosyn curate`: words and YAML become one config; every mistake is one line and exit code 2."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from videosyn.app import curate
from videosyn.app.cli import run
from videosyn.core.config import to_dict
from videosyn.curation.config import CurationConfig
from videosyn.curation.results import SetAside, Summary

CONFIG = Path(__file__).parents[2] / "configs" / "curate.yaml"


@pytest.fixture
def footage(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "footage").mkdir()
    (tmp_path / "footage" / "a.mp4").write_bytes(b"not looked at")
    return tmp_path / "footage"


@pytest.fixture
def engine(monkeypatch):
    """Stands in for the local engine; returns the calls that reach it."""
    from videosyn.curation import local_engine

    calls = []

    def run_local(*given):
        calls.append(given)
        return Summary(3, 5, {"motion": 2}, (SetAside("/footage/b.mp4", "probe", "/footage/b.mp4", "is empty", 3),), 1)

    monkeypatch.setattr(local_engine, "run_local", run_local)
    return calls


def test_flags_override_the_file_which_overrides_defaults(footage, engine, tmp_path):
    (tmp_path / "c.yaml").write_text("motion: {min_score: 0.01, peak: 0.4}\nworkers: 3\noutput: other\n")
    words = ["curate", "footage", "--config", "c.yaml", "--motion.peak", "0.6", "-o", "made", "--shards"]
    assert run([*words, "--text.no-enabled"]) == 0
    (config, sources, output, workers, _) = engine[0]
    assert (config.motion.min_score, config.motion.peak, config.motion.threshold) == (0.01, 0.6, 12.0)
    assert (config.text.enabled, config.dedup.enabled, config.write.shards) == (False, True, True)
    assert (sources, output, workers) == ([str(footage / "a.mp4")], Path("made"), 3)
    assert type(config) is CurationConfig


def test_the_end_is_a_table_and_the_path_of_the_report(footage, engine, capsys):
    assert run(["curate", "footage", "-o", "made"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0].split() == ["clips", "found", "7", "in", "3", "sources"]
    assert "rejected by motion" in out
    assert "/footage/b.mp4: is empty (stage probe)" in out
    assert out.splitlines()[-1] == os.path.join("made", "report.html")


def test_the_shipped_file_holds_every_field_with_its_default(footage, engine):
    assert yaml.safe_load(CONFIG.read_text(encoding="utf-8")) == to_dict(CurationConfig())
    lines = CONFIG.read_text(encoding="utf-8").splitlines()
    assert all(
        part.name == "device" or any(line.startswith(f"{part.name}:") for line in lines)
        for part in fields(CurationConfig)
    )
    assert run(["curate", "footage", "--config", str(CONFIG)]) == 0
    assert engine[0][0] == CurationConfig()


def test_an_interrupted_run_says_how_to_go_on(footage, engine, capsys, monkeypatch):
    from videosyn.curation import local_engine

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(local_engine, "run_local", interrupted)
    assert run(["curate", "footage", "-o", "made"]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == (
        "videosyn: stopped; the same command goes on from here, nothing is lost"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "sources are needed: videosyn curate FOLDER -o DATASET"),
        (["absent"], "no source found: absent does not exist"),
        (["footage/*.avi"], "no source found"),
        (["empty"], "no source found in empty"),
        (["s3nope://bucket/x"], "cannot list s3nope://bucket/x"),
        (["footage", "-o", "footage/a.mp4"], "is a file: choose a new folder"),
        (["footage", "-o", "footage"], "holds files of another origin (a.mp4)"),
        (["footage", "-o", "footage/a.mp4/x"], "cannot write to footage/a.mp4/x"),
        (["footage", "--config", "absent.yaml"], "cannot read absent.yaml"),
        (["footage", "--config"], "--config needs a file"),
        (["footage", "--config=bad.yaml"], "bad.yaml: unknown key 'shotz' for CurateOptions"),
        (["footage", "--config=wrong.yaml"], "wrong.yaml: motion: unknown key 'treshold' for MotionConfig"),
        (["footage", "--shotz.threshold", "3"], "--shotz.threshold"),
        (["footage", "--shots.detector", "neural"], "neural"),
        (["footage", "--shots.min-seconds", "0"], "shots.min_seconds must be above 0"),
        (["footage", "--write.crf", "90"], "write.crf must lie in 0 to 51, got 90: use 51"),
        (["footage", "--workers", "-1"], "workers must not be negative"),
        (["footage", "--engine", "queue"], "the queue engine needs --broker"),
        (["footage", "--engine", "queue", "--broker", "amqp://127.0.0.1:1"], "the queue engine needs --ledger"),
        (["footage", "--broker", "amqp://127.0.0.1"], "--broker is for the queue engine"),
        (["footage", "--captions.captioner", "/none"], "captions.captioner: no folder /none"),
        (["footage", "--captions.captioner", "nano", "--device", "cuda:99"], "device 'cuda:99' is not here"),
        (["footage", "--aesthetics.head", "h.pth"], "aesthetics.head and aesthetics.clip_model need each other"),
        (
            ["footage", "--captions.captioner", "nano", "--captions.num-frames", "6"],
            "captions.num_frames must be at most shots.frames_per_clip 3, got 6: use --captions.num-frames 3, or",
        ),
        (["footage", "--aesthetics.min-score", "5"], "aesthetics.min_score 5.0 acts on nothing here: name an aesth"),
        (
            ["footage", "--dedup.max-cosine", "0.8"],
            "dedup.max_cosine 0.8 acts on nothing here: name a dedup.clip_model",
        ),
        (
            ["footage", "--captions.captioner", "sidecar", "--captions.prompt", "What?"],
            "captions.prompt 'What?' acts on nothing here: name a captions.captioner that is a model",
        ),
        (["dead-letters"], "say which curation"),
        (["dead-letters", "footage"], "footage holds no curation of the local engine"),
    ],
)
def test_a_mistake_is_one_line_code_2_and_nothing_written(footage, tmp_path, capsys, words, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.yaml").write_text("shotz: {threshold: 3}\n")
    (tmp_path / "wrong.yaml").write_text("motion: {treshold: 3}\n")
    before = sorted(tmp_path.rglob("*"))
    assert run(["curate", *words]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.endswith(" sources")]
    assert len(lines) == 1
    assert lines[0].startswith("videosyn: ")
    assert message in lines[0]
    assert sorted(tmp_path.rglob("*")) == before


def test_the_work_folder_among_the_footage_is_no_footage(footage, monkeypatch):
    from videosyn.curation import queue_engine

    calls = []
    monkeypatch.setattr(queue_engine, "run_queue", lambda *given, **_: calls.append(given) or Summary(1, 0, {}, (), 1))
    words = ["curate", "footage", "--engine", "queue", "--broker", "amqp://h", "--ledger", "postgresql://h/x"]
    (footage / "work" / "clips").mkdir(parents=True)
    (footage / "work" / "clips" / "0.mp4").write_bytes(b"a clip")
    assert run([*words, "--work", "footage/work"]) == 0
    assert calls[0][1] == [str(footage / "a.mp4")]


def test_an_unreachable_broker_is_one_line_without_its_password(footage, capsys):
    pytest.importorskip("pika")
    words = ["--engine", "queue", "--broker", "amqp://me:secret@127.0.0.1:1", "--ledger", "postgresql://127.0.0.1:1/x"]
    assert run(["curate", "footage", "-o", "made", *words]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "no RabbitMQ answers at amqp://me:***@127.0.0.1:1" in error
    assert not Path("made").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "the queue engine needs --broker"),
        (["--broker", "amqp://h", "--ledger", "postgresql://h/x", "--concurrency", "text=0"], "got 'text=0'"),
        (
            ["--broker", "amqp://h", "--ledger", "postgresql://h/x", "--stages", ""],
            "--stages must name a stage, or all",
        ),
    ],
)
def test_a_worker_says_what_it_lacks(capsys, words, message):
    assert run(["worker", *words]) == 2
    assert message in capsys.readouterr().err


def test_an_installation_without_the_extra_says_which(footage, capsys, monkeypatch):
    monkeypatch.setattr(curate, "find_spec", lambda name: None if name == "scenedetect" else name)
    assert run(["curate", "footage"]) == 2
    assert "pip install 'videosyn[curate]'" in capsys.readouterr().err


def test_help_imports_nothing_heavy(tmp_path):
    code = """
import sys
from videosyn.app.cli import run
for words in (["curate", "--help"], ["worker", "--help"], ["curate", "dead-letters", "--help"]):
    try:
        run(words)
    except SystemExit as stop:
        assert stop.code == 0
assert run(["curate", "absent"]) == 2
heavy = ("torch", "av", "numpy", "cv2", "pyarrow", "sqlalchemy", "dramatiq", "transformers", "rapidocr", "fsspec")
print([name for name in heavy if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"

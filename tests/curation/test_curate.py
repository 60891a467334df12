"""The whole of curation on tiny footage: what is kept, what goes and why, and what a second or a killed run does."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from videosyn.app.cli import run
from videosyn.core.video_file import read_video, write_video
from videosyn.world.render import render
from videosyn.world.scene import sample_scene

FPS = 12.0
SHOT = 30
"""Frames: 2.5 s."""


def shot(seed, frames=SHOT, **kind):
    """A moving world scene, uint8 (T, 192, 320, 3)."""
    scene = sample_scene(seed, **kind)
    small = render([scene], frames, 96, 160, FPS, torch.device("cpu"))[0].numpy()
    return small.repeat(2, 1).repeat(2, 2)


def subtitled(frames, text="NOT A TEXT THAT ANYONE WROTE"):
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size=20)
    written = []
    for frame in frames:
        image = Image.fromarray(frame)
        ImageDraw.Draw(image).text(
            (160, 172), text, fill="white", font=font, anchor="mm", stroke_width=2, stroke_fill="black"
        )
        written.append(np.asarray(image))
    return np.stack(written)


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    """Two shots with caption and licence; the second again, smaller and darker; static; subtitled; broken."""
    folder = tmp_path_factory.mktemp("footage")
    first, second, third, fourth = (shot(seed) for seed in (8, 21, 33, 28))
    write_video(folder / "a_two_shots.mp4", np.concatenate([first, second]), FPS)
    write_video(folder / "b_again.mp4", np.concatenate([third, (second[:24] * 0.9).astype(np.uint8)])[:, ::2, ::2], FPS)
    write_video(folder / "c_static.mp4", np.repeat(shot(40, 1), SHOT, 0), FPS)
    write_video(folder / "d_subtitle.mp4", subtitled(fourth), FPS)
    content = (folder / "a_two_shots.mp4").read_bytes()
    (folder / "e_truncated.mp4").write_bytes(content[: len(content) * 3 // 4])
    (folder / "f_text.mp4").write_text("no video at all")
    (folder / "g_empty.mp4").write_bytes(b"")
    (folder / "a_two_shots.txt").write_text("Two things are seen, one after the other.")
    (folder / "a_two_shots.mp4.license").write_text("CC0-1.0")
    return folder


def words(footage, output):
    return ["curate", str(footage), "-o", str(output), "--workers", "1", "--captions.captioner", "sidecar"]


@pytest.fixture(scope="module")
def dataset(footage, tmp_path_factory):
    """The dataset of an undisturbed run."""
    output = tmp_path_factory.mktemp("made") / "dataset"
    assert run(words(footage, output)) == 0
    return output


def rows(dataset, name="metadata"):
    return pq.read_table(dataset / f"{name}.parquet").to_pylist()


def tables(dataset):
    return [(dataset / f"{name}.parquet").read_bytes() for name in ("metadata", "rejected")]


def test_every_clip_is_kept_or_goes_for_its_own_reason(dataset):
    kept = [(Path(row["source_path"]).name, row["start_frame"], row["num_frames"]) for row in rows(dataset)]
    assert kept == [("a_two_shots.mp4", 0, SHOT), ("a_two_shots.mp4", SHOT, SHOT), ("b_again.mp4", 0, SHOT)]
    gone = {}
    for row in rows(dataset, "rejected"):
        gone.setdefault(Path(row["source_path"]).name, []).append(row["rejected_by"])
    assert gone.pop("e_truncated.mp4")[0] == "dedup"  # as far as it decodes it shows what a_two_shots shows
    assert gone == {
        "b_again.mp4": ["dedup"],
        "c_static.mp4": ["motion"],
        "d_subtitle.mp4": ["text"],
        "f_text.mp4": ["probe"],
        "g_empty.mp4": ["probe"],
    }


def test_files_hold_the_frames_that_the_table_says(dataset, footage):
    source, _ = read_video(footage / "a_two_shots.mp4")
    for row in rows(dataset)[:2]:
        frames, fps = read_video(dataset / row["file_name"])
        expected = source[row["start_frame"] : row["start_frame"] + row["num_frames"]]
        assert frames.shape == expected.shape == (row["num_frames"], row["height"], row["width"], 3)
        assert fps == row["fps"] == FPS
        assert np.abs(frames.astype(int) - expected).mean() < 3
    assert {path.name for path in (dataset / "clips").iterdir()} == {
        Path(row["file_name"]).name for row in rows(dataset)
    }


def test_captions_and_licences_lie_beside_the_sources(dataset):
    first, second, third = rows(dataset)
    assert first["text"] == second["text"] == "Two things are seen, one after the other."
    assert third["text"] == ""
    assert (first["licence"], third["licence"]) == ("CC0-1.0", "")


def test_every_source_is_in_the_report(dataset, footage):
    text = (dataset / "report.html").read_text(encoding="utf-8")
    assert "truncated: " in text
    for name in ("e_truncated.mp4", "f_text.mp4", "g_empty.mp4"):
        assert name in text


def test_a_second_run_does_nothing_anew(dataset, footage, capsys):
    before = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in dataset.glob("clips/*")}
    bytes_before, done_before = tables(dataset), done(dataset)
    assert run(words(footage, dataset)) == 0
    assert "going on where it stopped" in capsys.readouterr().err
    assert {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in dataset.glob("clips/*")} == before
    assert (tables(dataset), done(dataset)) == (bytes_before, done_before)


def test_shards_of_a_finished_dataset_need_no_work_but_their_own(dataset, footage, tmp_path):
    shutil.copytree(dataset, tmp_path / "dataset")
    before = done(tmp_path / "dataset")
    assert run([*words(footage, tmp_path / "dataset"), "--shards"]) == 0
    assert done(tmp_path / "dataset") == before
    assert pq.read_table(tmp_path / "dataset" / "shards" / "00000.parquet").to_pylist() == rows(dataset)
    assert tables(tmp_path / "dataset") == tables(dataset)


def test_captions_of_videosyn_caption_are_there_after_the_next_run(tmp_path, tiny_captioner_folder):
    folder, output = tmp_path / "films", tmp_path / "dataset"
    folder.mkdir()
    write_video(folder / "a.mp4", shot(8), FPS)
    curate = ["curate", str(folder), "-o", str(output), "--workers", "1", "--text.no-enabled", "--write.shards"]
    assert run(curate) == 0
    assert rows(output)[0]["text"] == ""
    assert run(["caption", str(output), "--captioner", str(tiny_captioner_folder), "--device", "cpu"]) == 0
    (said,) = rows(output)
    assert (bool(said["text"]), said["captioner"]) == (True, "tiny-captioner")
    assert run(curate) == 0
    assert rows(output) == [said]
    assert pq.read_table(output / "shards" / "00000.parquet").to_pylist() == [said]
    assert said["text"].split()[0] in (output / "report.html").read_text(encoding="utf-8")


def test_a_run_killed_twice_ends_as_if_it_had_not_been(dataset, footage, tmp_path):
    output = tmp_path / "dataset"
    for num_done in (3, 12):
        process = subprocess.Popen(
            [sys.executable, "-m", "videosyn", *words(footage, output)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while process.poll() is None and len(done(output)) < num_done:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "the run ended before it could be killed"
    assert not (output / "metadata.parquet").exists()
    assert run(words(footage, output)) == 0
    assert tables(output) == tables(dataset)
    assert {path.name: path.read_bytes() for path in output.glob("clips/*")} == {
        path.name: path.read_bytes() for path in dataset.glob("clips/*")
    }


def test_workers_of_a_queue_make_the_same_dataset(dataset, footage, tmp_path, broker, postgresql):
    places = ["--broker", broker, "--ledger", postgresql]
    queue = [*words(footage, tmp_path / "dataset"), "--engine", "queue", "--work", str(tmp_path / "shared"), *places]
    queue.remove("--workers")
    queue.remove("1")
    workers = [
        subprocess.Popen([sys.executable, "-m", "videosyn", "worker", *places, "--stages", *stages])
        for stages in (["probe,shots,clips,source_dedup", "aesthetics"], ["motion,text,dedup,captions,write"])
    ]
    try:
        assert run(queue) == 0
        assert [worker.wait(timeout=60) for worker in workers] == [0, 0]
    finally:
        for worker in workers:
            worker.kill()
    assert tables(tmp_path / "dataset") == tables(dataset)
    assert {path.name: path.read_bytes() for path in (tmp_path / "dataset").glob("clips/*")} == {
        path.name: path.read_bytes() for path in dataset.glob("clips/*")
    }


def done(output):
    """What the ledger has as done: (stage, unit, seconds it took)."""
    ledger = output / ".curation" / "ledger.sqlite"
    if not ledger.exists():
        return []
    connection = sqlite3.connect(f"file:{ledger}?mode=ro", uri=True, timeout=30)
    try:
        return sorted(connection.execute("SELECT stage, unit, seconds FROM tasks WHERE state = 'done'"))
    except sqlite3.OperationalError:  # not made yet
        return []
    finally:
        connection.close()


def test_another_config_or_other_sources_are_another_dataset(dataset, footage, capsys):
    assert run([*words(footage, dataset), "--motion.min-score", "0.1"]) == 2
    assert "holds another dataset: its motion.min_score is 0.002, now it is 0.1" in capsys.readouterr().err
    assert run(words(footage / "a_two_shots.mp4", dataset)) == 2
    assert "b_again.mp4 is not given" in capsys.readouterr().err


def test_dead_letters_are_listed_and_tried_again(dataset, capsys):
    assert run(["curate", "dead-letters", str(dataset)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" (stage ")[1] for line in lines[:-1]] == ["probe)", "probe)"]
    assert lines[-1] == "2 tasks failed for good; --requeue tries them again"

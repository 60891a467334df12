"""`videosyn world`: a dataset folder whose captions and truth belong to its clips, or nothing at all."""

from __future__ import annotations

import json

import pytest

from videosyn.app.cli import run
from videosyn.core.video_file import read_video
from videosyn.world.parser import mismatches, parse
from videosyn.world.scene import sample_scene


def test_a_folder_of_clips_with_captions_that_agree_with_their_scenes(tmp_path):
    folder = tmp_path / "world"
    assert run(["world", "-o", str(folder), "--clips", "3", "--seed", "5", "--frames", "5", "--split", "held-out"]) == 0
    rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    assert [row["file_name"] for row in rows] == ["00000005.mp4", "00000006.mp4", "00000007.mp4"]
    for row in rows:
        scene = sample_scene(row["scene"]["seed"], split="held-out")
        assert row["scene"]["light"] == scene.light
        assert mismatches(parse(row["caption"]), scene) == []
        frames, fps = read_video(folder / row["file_name"])
        assert frames.shape == (5, 96, 96, 3)
        assert fps == 8


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--clips", "0"], "clips must be at least 1, got 0"),
        (["--height", "33"], "height and width must be even"),
        (["--fps", "0"], "fps must lie above 0"),
        (["--fps", "0.0001"], "mp4 needs at least 0.001 fps"),
        (["--height", "1000000", "--width", "1000000"], "out of memory: 17 frames of 1000000x1000000 do not fit"),
        (["--height", "2000000000", "--width", "2000000000"], "out of memory: 17 frames of"),
        (["-o", "x" * 260], "name is too long"),
    ],
)
def test_bad_input_gets_one_line_and_leaves_nothing(tmp_path, capsys, flags, message):
    assert run(["world", "-o", str(tmp_path / "world"), *flags]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_left_alone(tmp_path, capsys):
    (tmp_path / "world").mkdir()
    assert run(["world", "-o", str(tmp_path / "world")]) == 2
    assert "exists already" in capsys.readouterr().err

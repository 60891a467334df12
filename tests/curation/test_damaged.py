"""A hundred damaged files: none stops the run, and each is in the tables with what became of it."""

from __future__ import annotations

import random
from fractions import Fraction

import av
import numpy as np
import pyarrow.parquet as pq
import pytest

from videosyn.app.cli import run

SIZE = (64, 96)
FPS = 12


def film(path, num_frames=30, options=None, size=SIZE, sound=False, times=None, seed=0):
    """A grating that moves, its phase and colour drawn from the seed; no two seeds look alike."""
    rng = np.random.default_rng(seed)
    texture = rng.integers(0, 256, (8, 8, 3)).repeat(max(1, size[0] // 4), 0).repeat(max(1, size[1] // 4), 1)
    with av.open(str(path), "w", options=options or {}) as output:
        codec = "libvpx" if path.suffix == ".webm" else "libx264"
        stream = output.add_stream(codec, rate=FPS)
        stream.height, stream.width, stream.pix_fmt = size[0], size[1], "yuv420p" if min(size) > 1 else "yuv444p"
        stream.codec_context.time_base = Fraction(1, 1000)
        if sound:
            voice = output.add_stream("aac", rate=8000)
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
            samples.rate = 8000
            output.mux(voice.encode(samples))
            output.mux(voice.encode(None))
        for index in range(num_frames):
            pixels = np.roll(texture, 3 * index, 1)[: size[0], : size[1]].astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame.pts = index * 1000 // FPS if times is None else times[index]
            frame.time_base = Fraction(1, 1000)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def rotated(path, seed):
    """Writes a quarter turn into the file's track header, where every player looks for it."""
    content = bytearray(film(path, seed=seed).read_bytes())
    one = (1 << 16).to_bytes(4, "big")
    upright = one + bytes(12) + one + bytes(12) + (1 << 30).to_bytes(4, "big")
    quarter = (
        bytes(4)
        + one
        + bytes(4)
        + (-(1 << 16)).to_bytes(4, "big", signed=True)
        + bytes(16)
        + (1 << 30).to_bytes(4, "big")
    )
    place = content.rindex(upright)
    content[place : place + 36] = quarter
    path.write_bytes(content)


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    folder = tmp_path_factory.mktemp("damaged")
    rng = random.Random(0)
    for number in range(30):
        suffix = (".mp4", ".mkv", ".webm")[number % 3]
        path = film(folder / f"truncated_{number:02d}{suffix}", seed=number)
        content = path.read_bytes()
        path.write_bytes(content[: rng.randrange(1, len(content))])
    for number, suffix in enumerate((".mp4", ".mkv", ".webm")):
        path = film(folder / f"half{number}{suffix}", 60, {"movflags": "faststart"}, seed=90 + number)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) * 11 // 20])
    for number in range(40):
        suffix = (".mp4", ".mkv", ".webm", ".ts")[number % 4]
        path = film(folder / f"flipped_{number:02d}{suffix}", seed=100 + number)
        content = bytearray(path.read_bytes())
        for _ in range(1 + number):
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(content)
    for number in range(5):
        (folder / f"empty_{number}.mp4").write_bytes(b"")
        (folder / f"words_{number}.mp4").write_text(f"no video, only words {number}\n" * 40)
        film(folder / f"dot_{number}.mkv", num_frames=3 + number, size=(1, 1))
        film(folder / f"live_{number}.webm", options={"live": "1"}, seed=200 + number)  # tells no duration
        rotated(folder / f"rotated_{number}.mp4", 300 + number)
        path = film(folder / f"sound_{number}.mp4", sound=True, seed=400 + number)
        content = bytearray(path.read_bytes())
        place = content.index(b"mp4a")
        content[place : place + 40] = rng.randbytes(40)
        path.write_bytes(content)
        times = [0, *np.cumsum(np.random.default_rng(number).integers(20, 160, 29)).tolist()]
        film(folder / f"uneven_{number}.mkv", times=times, seed=500 + number)
    return folder


def test_a_hundred_damaged_files_stop_nothing_and_each_is_accounted_for(footage, tmp_path):
    paths = sorted(map(str, footage.iterdir()))
    assert len(paths) >= 100
    words = ["curate", str(footage), "-o", str(tmp_path / "dataset"), "--workers", "1", "--text.no-enabled"]
    assert run([*words, "--shots.min-seconds", "0.5", "--dedup.no-enabled", "--aesthetics.no-enabled"]) == 0
    rows = {
        name: pq.read_table(tmp_path / "dataset" / f"{name}.parquet").to_pylist() for name in ("metadata", "rejected")
    }
    seen = {row["source_path"] for row in rows["metadata"] + rows["rejected"]}
    assert sorted(seen) == paths
    assert all(row["reason"] for row in rows["rejected"])
    kept = {row["source_path"].rsplit("/", 1)[1].split("_")[0] for row in rows["metadata"]}
    assert {"live", "rotated", "sound", "uneven"} <= kept
    why = {row["source_path"].rsplit("/", 1)[1].split("_")[0]: row["rejected_by"] for row in rows["rejected"]}
    assert {why[kind] for kind in ("empty", "words", "dot")} == {"probe"}
    turned = [row for row in rows["metadata"] if "rotated_" in row["source_path"]]
    assert {(row["width"], row["height"]) for row in turned} == {SIZE}
    halved = [row for row in rows["metadata"] if "/half" in row["source_path"]]
    assert len(halved) == 3
    assert all("truncated: " in row["source_warning"] for row in halved)
    for row in rows["metadata"]:
        with av.open(str(tmp_path / "dataset" / row["file_name"])) as container:
            assert sum(1 for _ in container.decode(video=0)) == row["num_frames"]

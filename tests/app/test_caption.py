"""`videosyn caption`: files and datasets, stopped and gone on with."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from videosyn.app.cli import run
from videosyn.core.video_file import write_video

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def model(tiny_captioner_folder) -> str:
    return str(tiny_captioner_folder)


def write_films(folder: Path, count: int, suffix: str = ".mp4") -> list[Path]:
    folder.mkdir(exist_ok=True)
    paths = [folder / f"film{number}{suffix}" for number in range(count)]
    for number, path in enumerate(paths):
        write_video(path, np.random.default_rng(number).integers(0, 256, (5, 32, 48, 3), dtype=np.uint8), 8)
    return paths


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def caption(*words: str | Path, model: str) -> int:
    return run(["caption", *map(str, words), "--captioner", model, "--device", "cpu", "--dtype", "fp32"])


def test_each_file_is_captioned_and_printed(tmp_path: Path, model, capsys):
    paths = [*write_films(tmp_path, 2), *write_films(tmp_path, 1, ".webp")]
    assert caption(tmp_path, model=model) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in printed] == [str(path) for path in sorted(paths)]


def test_json_lines_are_gone_on_with(tmp_path: Path, model):
    films, out = write_films(tmp_path / "films", 3), tmp_path / "captions.jsonl"
    assert caption(*films, "-o", out, "--batch-size", "2", model=model) == 0
    whole = out.read_bytes()
    rows = lines(out)
    assert [row["file_name"] for row in rows] == [str(film) for film in films]
    assert {row["captioner"] for row in rows} == {"tiny-captioner"}
    assert {row["num_frames"] for row in rows} == {5}
    begin = whole.splitlines(keepends=True)
    out.write_bytes(begin[0] + begin[1][:20])  # as a kill may leave it
    assert caption(*films, "-o", out, model=model) == 0
    assert out.read_bytes() == whole
    out.write_bytes(whole[:-1])  # whole but for its end
    assert caption(*films, "-o", out, model=model) == 0
    assert out.read_bytes() == whole
    films[0].unlink()  # what is done is not read again
    assert caption(films[1], films[2], "-o", out, model=model) == 0
    assert out.read_bytes() == whole


def test_to_overwrite_is_to_replace_the_rows_of_named_files_and_no_others(tmp_path: Path, model, capsys):
    films, out = write_films(tmp_path / "films", 3), tmp_path / "captions.jsonl"
    assert caption(*films, "-o", out, model=model) == 0
    assert capsys.readouterr().out == f"{out}: 3 captioned, 0 were there\n"
    whole = out.read_bytes()
    rows = [{**row, "text": "said before", "captioner": "someone"} for row in lines(out)]
    out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert caption(films[1], "-o", out, "--overwrite", model=model) == 0
    assert [row["file_name"] for row in lines(out)] == [str(film) for film in films]
    assert [row["captioner"] for row in lines(out)] == ["someone", "tiny-captioner", "someone"]
    assert out.read_bytes().splitlines()[1] == whole.splitlines()[1]
    capsys.readouterr()
    assert caption(films[0], films[0], "-o", out, model=model) == 0
    assert capsys.readouterr().out == f"{out}: 0 captioned, 1 were there\n"


def test_a_stop_loses_no_older_caption(tmp_path: Path, monkeypatch):
    from videosyn.app import caption as module

    films, out = write_films(tmp_path / "films", 4), tmp_path / "captions.jsonl"
    rows = [{"file_name": str(film), "text": "said before", "captioner": "x", "num_frames": 5} for film in films]
    out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setattr(module, "open_captioner", lambda *_: Slow())
    with pytest.raises(KeyboardInterrupt):
        module.run(module.CaptionConfig(tuple(films), output=out, overwrite=True))
    assert [row["text"] for row in lines(out)] == ["something", "something", "said before", "said before"]


@pytest.mark.parametrize("suffix", [".mp4", ".webp", ".png"])
def test_names_that_are_no_utf8_are_captioned_printed_and_gone_on_with(tmp_path: Path, model, capsys, suffix):
    import os

    (film,), out = write_films(tmp_path / "films", 1, suffix if suffix != ".png" else ".mp4"), tmp_path / "c.jsonl"
    if suffix == ".png":
        from PIL import Image

        film = film.with_suffix(".png")
        Image.new("RGB", (48, 32)).save(film)
    odd = tmp_path / os.fsdecode(b"caf\xe9" + suffix.encode())
    film.rename(odd)
    assert caption(odd, model=model) == 0
    assert f"caf\\udce9{suffix}: " in capsys.readouterr().out
    assert caption(odd, "-o", out, model=model) == 0
    assert lines(out)[0]["file_name"] == str(odd)
    assert caption(odd, "-o", out, model=model) == 0
    assert "0 captioned, 1 were there" in capsys.readouterr().out


def test_flags_that_would_act_on_nothing_are_refused(tmp_path: Path, model, capsys):
    (film,) = write_films(tmp_path, 1)
    assert caption(film, "--max-tokens", "9", model=model) == 2
    assert "max-tokens is for vision language models" in capsys.readouterr().err
    assert caption(film, "--every-frame", "--batch-size", "2", model=model) == 2
    assert "leave the batch-size out" in capsys.readouterr().err


def test_every_frame_can_be_watched(tmp_path: Path, model):
    from videosyn.captioner.clip_captioner import MemoryCaptioner
    from videosyn.core.video_file import read_video

    (film,), out = write_films(tmp_path, 1), tmp_path / "captions.jsonl"
    assert caption(film, "-o", out, "--every-frame", model=model) == 0
    captioner = MemoryCaptioner(model, device="cpu", dtype="fp32")
    frames = read_video(film)[0]
    assert lines(out)[0]["text"] == captioner.caption_whole(iter(frames), len(frames))


def write_dataset(folder: Path, texts: list[str]) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    films = write_films(folder, len(texts))
    columns = {"file_name": [film.name for film in films], "text": texts, "motion": [0.5] * len(texts)}
    pq.write_table(pa.table(columns), folder / "metadata.parquet")
    return folder


def rows_of(folder: Path) -> list[dict]:
    import pyarrow.parquet as pq

    return pq.read_table(folder / "metadata.parquet").to_pylist()


def test_a_datasets_clips_without_a_caption_get_one(tmp_path: Path, model):
    pytest.importorskip("pyarrow")
    folder = write_dataset(tmp_path / "set", ["", "a dog runs", ""])
    assert caption(folder, model=model) == 0
    rows = rows_of(folder)
    assert rows[1]["text"] == "a dog runs"
    assert [row["captioner"] for row in rows] == ["tiny-captioner", None, "tiny-captioner"]
    assert [row["motion"] for row in rows] == [0.5] * 3
    assert not (folder / ".captions.jsonl").exists()
    assert caption(folder, "--overwrite", model=model) == 0
    assert {row["captioner"] for row in rows_of(folder)} == {"tiny-captioner"}


def test_a_dataset_that_was_stopped_is_gone_on_with(tmp_path: Path, model):
    pytest.importorskip("pyarrow")
    folder = write_dataset(tmp_path / "set", ["", "", ""])
    row = {"file_name": "film0.mp4", "text": "said before", "captioner": "someone", "num_frames": 5}
    (folder / ".captions.jsonl").write_text(json.dumps(row) + "\n")
    assert caption(folder, model=model) == 0
    assert rows_of(folder)[0]["text"] == "said before"
    assert [row["captioner"] for row in rows_of(folder)] == ["someone", "tiny-captioner", "tiny-captioner"]


def test_to_overwrite_is_to_leave_what_a_stopped_run_of_another_captioner_said(tmp_path: Path, model):
    pytest.importorskip("pyarrow")
    folder = write_dataset(tmp_path / "set", ["", ""])
    rows = [
        {"file_name": f"film{number}.mp4", "text": "said before", "captioner": who, "num_frames": 5}
        for number, who in enumerate(("someone", "tiny-captioner"))
    ]
    (folder / ".captions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert caption(folder, "--overwrite", model=model) == 0
    assert [row["captioner"] for row in rows_of(folder)] == ["tiny-captioner"] * 2
    assert [row["text"] == "said before" for row in rows_of(folder)] == [False, True]


def test_a_table_that_is_cut_off_and_a_full_disk_are_one_line(tmp_path: Path, model, capsys):
    pytest.importorskip("pyarrow")
    folder = write_dataset(tmp_path / "set", [""])
    (folder / ".captions.jsonl").symlink_to("/dev/full")
    assert caption(folder, model=model) == 2
    assert "free some space, or name another folder, and give the same command" in capsys.readouterr().err
    table = folder / "metadata.parquet"
    table.write_bytes(table.read_bytes()[:-20])
    assert caption(folder, model=model) == 2
    assert f"cannot read {table}" in capsys.readouterr().err


def test_a_datasets_captions_have_no_other_output(tmp_path: Path, model, capsys):
    pytest.importorskip("pyarrow")
    folder = write_dataset(tmp_path / "set", [""])
    assert caption(folder, "-o", tmp_path / "captions.jsonl", model=model) == 2
    assert "leave the output out" in capsys.readouterr().err


class Slow:
    """As a vision language model: clip by clip, and stopped at the third."""

    name, num_frames, look_px = "slow", 2, 64

    def __init__(self) -> None:
        self.said = 0

    def caption(self, clips, prompt=None, times=None):
        if self.said == 2:
            raise KeyboardInterrupt
        self.said += len(clips)
        return ["something"] * len(clips)


def test_what_a_stopped_run_has_said_is_written_and_what_it_would_look_at_is_left(tmp_path: Path, monkeypatch):
    from videosyn.app import caption as module

    films, out, seen = write_films(tmp_path / "films", 12), tmp_path / "captions.jsonl", []
    look_at = module.look_at
    monkeypatch.setattr(module, "look_at", lambda path, *how: seen.append(path) or look_at(path, *how))
    monkeypatch.setattr(module, "open_captioner", lambda *_: Slow())
    with pytest.raises(KeyboardInterrupt):
        module.run(module.CaptionConfig(tuple(films), output=out))
    assert [row["file_name"] for row in lines(out)] == [str(film) for film in films[:2]]
    assert len(seen) < 8


def test_leaving_the_pool_leaves_what_waits():
    from videosyn.app.caption import _pool

    done = []
    with _pool() as pool:
        for number in range(20):
            pool.submit(lambda number=number: time.sleep(0.05) or done.append(number))
    assert len(done) <= 4


def test_a_damaged_file_is_told_of_and_the_others_are_done(tmp_path: Path, model, capsys):
    films, out = write_films(tmp_path, 2), tmp_path / "captions.jsonl"
    films[0].write_text("no film")
    assert caption(*films, "-o", out, model=model) == 2
    assert f"1 files could not be captioned, the first: cannot read {films[0]}" in capsys.readouterr().err
    assert [row["file_name"] for row in lines(out)] == [str(films[1])]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["/none.mp4"], "there is no /none.mp4"),
        (["."], "no captioner"),
        ([".", "-o", "captions.txt"], "name it captions.jsonl"),
        ([".", "--batch-size", "0"], "batch-size must be at least 1"),
        ([".", "--prompt", " "], "the prompt must not be empty"),
    ],
)
def test_mistakes_get_one_line(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    expected = "a captioner must be nano" if message == "no captioner" else message
    assert run(["caption", *words, "--captioner", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert expected in told
    assert told.count("\n") == 1

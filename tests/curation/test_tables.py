"""The tables of a dataset: what Hugging Face's VideoFolder reads, sorted, and the same bytes for the same result."""

from __future__ import annotations

import json
import tarfile
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
from handmade import make_result

from videosyn.core.errors import UserError
from videosyn.curation import webdataset
from videosyn.curation.tables import with_captions, write_tables
from videosyn.curation.work import Work
from videosyn.curation.write import collect


@pytest.fixture
def dataset(tmp_path):
    """(result, dataset folder, work folder) with everything but tables."""
    folder = tmp_path / "dataset"
    work = Work(str(folder / ".curation"))
    result = make_result(work)
    collect(result, folder, work)
    return result, folder, work


def test_a_row_a_kept_clip_sorted_by_path_and_start_with_every_score_in_a_column(dataset):
    result, folder, work = dataset
    write_tables(result, folder, work)
    rows = pq.read_table(folder / "metadata.parquet").to_pylist()
    assert [(row["source_path"], row["start_frame"]) for row in rows] == [
        ("/footage/beach.mp4", 0),
        ("/footage/beach.mp4", 180),
        ("/footage/walk.mp4", 90),
        ("/footage/walk.mp4", 270),
    ]
    row = rows[1]
    assert row["text"].startswith("A dog runs along the beach under number 2")
    assert (row["licence"], row["width"], row["height"], row["fps"], row["num_frames"]) == ("CC0-1.0", 64, 48, 25.0, 75)
    assert row["bytes"] == 6
    assert (row["motion"], row["aesthetic"], row["captioner"]) == (0.06, 4.8, "sidecar")
    assert "text_area" not in row
    assert row["version_motion"] == "1"
    assert all((folder / row["file_name"]).read_bytes().startswith(b"film") for row in rows)


def test_what_was_dropped_or_set_aside_says_why(dataset):
    result, folder, work = dataset
    write_tables(result, folder, work)
    rows = pq.read_table(folder / "rejected.parquet").to_pylist()
    assert [(row["rejected_by"], row["source_path"]) for row in rows] == [
        ("motion", "/footage/beach.mp4"),
        ("dedup", "/footage/walk.mp4"),
        ("text", "/footage/walk.mp4"),
        ("probe", "/footage/broken.mp4"),
    ]
    assert (rows[0]["motion"], rows[0]["reason"]) == (0.0001, "motion 0.0001 is below 0.002")
    assert rows[1]["duplicate_of"] in {clip.id for clip in result.kept}
    assert (rows[3]["id"], rows[3]["start_frame"], rows[3]["reason"]) == (None, None, "not a video")


def test_the_same_result_gives_the_same_bytes_whatever_the_order_of_its_clips(dataset):
    result, folder, work = dataset
    names = ("metadata.parquet", "rejected.parquet")
    write_tables(result, folder, work)
    first = [(folder / name).read_bytes() for name in names]
    write_tables(replace(result, clips=result.clips[::-1]), folder, work)
    assert [(folder / name).read_bytes() for name in names] == first


def test_nothing_kept_is_a_table_without_rows(tmp_path):
    result = make_result(Work(str(tmp_path / "work")), captions=1)
    (tmp_path / "dataset").mkdir()
    write_tables(replace(result, clips=result.rejected), tmp_path / "dataset", Work(str(tmp_path / "work")))
    assert pq.read_table(tmp_path / "dataset" / "metadata.parquet").num_rows == 0


def test_captions_in_the_table_are_for_clips_without_one(dataset):
    result, folder, work = dataset
    write_tables(result, folder, work)
    first, *_ = result.kept
    silent = replace(first, caption="", labels={**first.labels, "captioner": "none"})
    lacking = replace(result, clips=(silent, *(replace(clip, caption="new") for clip in result.clips if clip != first)))
    told = with_captions(lacking, folder)
    (again,) = (clip for clip in told.kept if clip.id == first.id)
    assert (again.caption, again.labels) == (first.caption, first.labels)
    assert again.scores["caption_words"] == len(first.caption.split())
    assert all(clip.caption == "new" for clip in told.clips if clip.id != first.id)
    assert with_captions(lacking, folder / "clips") == lacking  # no table there


def test_a_table_that_cannot_be_read_is_not_written_over(dataset):
    result, folder, _ = dataset
    (folder / "metadata.parquet").write_bytes(b"PAR1 and no more")
    silent = replace(result, clips=tuple(replace(clip, caption="") for clip in result.clips))
    with pytest.raises(UserError, match="remove it, and the same command"):
        with_captions(silent, folder)


def test_hugging_face_reads_the_folder_with_shards_and_report_beside(dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    result, folder, work = dataset
    result = replace(result, config=replace(result.config, write=replace(result.config.write, shards=True)))
    write_tables(result, folder, work)
    webdataset.write_shards(result, folder, work)
    (folder / "report.html").write_text("<p>report</p>")
    table = datasets.load_dataset("videofolder", data_dir=str(folder), split="train", cache_dir=str(tmp_path / "cache"))
    table = table.cast_column("video", datasets.Video(decode=False))
    assert len(table) == 4
    assert table[0]["video"]["path"].endswith(f"{table[0]['id']}.mp4")
    assert table[0]["num_frames"] == 75
    assert table[0]["text"].startswith("A dog")


def test_shards_stream_clips_with_caption_and_row(dataset, monkeypatch):
    result, folder, work = dataset
    result = replace(result, config=replace(result.config, write=replace(result.config.write, shards=True)))
    monkeypatch.setattr(webdataset, "SHARD_BYTES", 12)
    webdataset.write_shards(result, folder, work)
    assert [path.name for path in sorted((folder / "shards").iterdir())] == [
        "00000.parquet", "00000.tar", "00001.parquet", "00001.tar",
    ]  # fmt: skip
    with tarfile.open(folder / "shards" / "00001.tar", "r|") as tar:
        files = [(entry.name, tar.extractfile(entry).read()) for entry in tar]
    (row, _) = pq.read_table(folder / "shards" / "00001.parquet").to_pylist()
    assert [name for name, _ in files[:3]] == [f"{row['id']}.{suffix}" for suffix in ("mp4", "txt", "json")]
    assert files[0][1] == (folder / row["file_name"]).read_bytes()
    assert files[1][1].decode() == row["text"]
    assert json.loads(files[2][1])["source_path"] == "/footage/walk.mp4"


def test_shards_are_left_alone_while_their_rows_stay_and_go_when_empty(dataset, monkeypatch):
    result, folder, work = dataset
    result = replace(result, config=replace(result.config, write=replace(result.config.write, shards=True)))
    monkeypatch.setattr(webdataset, "SHARD_BYTES", 12)
    webdataset.write_shards(result, folder, work)
    before = {path.name: (path.stat().st_ino, path.read_bytes()) for path in (folder / "shards").iterdir()}
    webdataset.write_shards(result, folder, work)
    assert {path.name: (path.stat().st_ino, path.read_bytes()) for path in (folder / "shards").iterdir()} == before
    first = [clip for clip in result.clips if clip.source == "b" * 16]
    webdataset.write_shards(replace(result, clips=tuple(first)), folder, work)
    assert [path.name for path in sorted((folder / "shards").iterdir())] == ["00000.parquet", "00000.tar"]


def test_shards_are_written_only_when_asked_for(dataset):
    result, folder, work = dataset
    webdataset.write_shards(result, folder, work)
    assert not (folder / "shards").exists()


def test_clips_are_linked_once_and_those_no_longer_kept_go(dataset):
    result, folder, work = dataset
    files = {path: path.stat().st_ino for path in (folder / "clips").iterdir()}
    collect(result, folder, work)
    assert {path: path.stat().st_ino for path in (folder / "clips").iterdir()} == files
    assert all(path.stat().st_nlink == 2 for path in files)
    gone, *_ = result.kept
    work.write(result.kept[1].labels["file_name"], b"cut anew")
    collect(replace(result, clips=tuple(clip for clip in result.clips if clip != gone)), folder, work)
    assert not (folder / gone.labels["file_name"]).exists()
    assert (folder / result.kept[1].labels["file_name"]).read_bytes() == b"cut anew"


def test_clips_come_from_a_work_folder_elsewhere(tmp_path):
    work = Work("memory://shared/work")
    result = make_result(work)
    collect(result, tmp_path / "dataset", work)
    assert {path.read_bytes() for path in (tmp_path / "dataset" / "clips").iterdir()} == {
        f"film {number}".encode() for number in range(4)
    }

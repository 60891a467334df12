from __future__ import annotations

import csv
import importlib.util
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from clips_folder import CrashingPlace, SlowPlace, drawn_frames, what_is_shown, write_folder, write_shard

from videosyn.core.errors import UserError
from videosyn.core.video_file import write_video
from videosyn.dataset.buckets import Bucket
from videosyn.dataset.decode import DamagedClip, Place, Wanted, probe, read_window
from videosyn.dataset.decoders import Decoders
from videosyn.dataset.footage import read_footage
from videosyn.dataset.windows import Fitting, Window, check_nothing_is_left_over, fit_windows, wanted

SIZES = [(21, 64, 96), (21, 64, 96), (9, 96, 64)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("footage") / "dataset", SIZES)


def test_the_same_clips_come_out_of_a_table_of_each_kind_and_of_shards(folder: Path, tmp_path: Path):
    listed = read_footage(folder).clips
    rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    for name in ("metadata.csv", "metadata.parquet"):
        other = tmp_path / name.replace(".", "-")
        other.mkdir()
        (other / "clips").symlink_to(folder / "clips")
        if name.endswith("csv"):
            with (other / name).open("w", newline="") as file:
                writer = csv.DictWriter(file, rows[0])
                writer.writeheader()
                writer.writerows(rows)
        else:
            pa = pytest.importorskip("pyarrow")
            pa.parquet = pytest.importorskip("pyarrow.parquet")
            pa.parquet.write_table(pa.Table.from_pylist(rows), other / name)
        found = read_footage(other).clips
        assert [(c.name, c.caption, c.num_frames, c.height, c.width, c.fps) for c in found] == [
            (c.name, c.caption, c.num_frames, c.height, c.width, c.fps) for c in listed
        ]
    in_shards = read_footage(write_shard(tmp_path / "shards", folder)).clips
    assert [(c.caption, c.num_frames) for c in in_shards] == [(c.caption, c.num_frames) for c in listed]
    one = Wanted(in_shards[1].place, 0.5, 0.1, 4, 32, 32, tolerance_s=0.05)
    assert what_is_shown(read_window(one)) == [(1, 5), (1, 6), (1, 7), (1, 8)]


def test_sizes_that_a_table_lacks_are_read_from_the_files(tmp_path: Path):
    plain = write_folder(tmp_path / "plain", SIZES[1:], with_sizes=False)
    found = read_footage(plain).clips
    assert [(c.num_frames, c.height, c.width, c.fps) for c in found] == [(21, 64, 96, 10.0), (9, 96, 64, 10.0)]


def test_what_is_no_dataset_gets_one_line(folder: Path, tmp_path: Path):
    with pytest.raises(UserError, match="no folder"):
        read_footage(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"none of metadata\.parquet"):
        read_footage(tmp_path)
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.mp4", "text": ""}\n')
    with pytest.raises(UserError, match="no captions"):
        read_footage(tmp_path)
    (tmp_path / "metadata.jsonl").write_text('{"file_name": ')
    with pytest.raises(UserError, match="damaged"):
        read_footage(tmp_path)


def test_clips_without_a_caption_or_a_file_are_refused_with_the_reason(tmp_path: Path):
    rows = [{"file_name": "a.mp4", "text": "here"}, {"file_name": "b.mp4", "text": " "}]
    write_video(tmp_path / "c.mp4", drawn_frames(0, 5, 32, 32), 10)
    rows.append({"file_name": "c.mp4", "text": "a clip"})
    (tmp_path / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    footage = read_footage(tmp_path)
    assert [clip.name for clip in footage.clips] == ["c.mp4"]
    assert [name for name, _ in footage.refused] == ["a.mp4", "b.mp4"]
    assert "cannot be read" in footage.refused[0][1]
    assert footage.refused[1][1] == "has no caption"


@pytest.mark.parametrize(
    ("start_s", "step_s", "frames"), [(0.0, 0.1, [0, 1, 2]), (1.5, 0.1, [15, 16, 17]), (0.3, 0.24, [3, 5, 8])]
)
def test_a_window_holds_the_frames_of_its_times(folder: Path, start_s: float, step_s: float, frames: list[int]):
    place = Place(str(folder / "clips/00.mp4"))
    shown = read_window(Wanted(place, start_s, step_s, 3, 32, 48, tolerance_s=0.05))
    assert shown.shape == (3, 32, 48, 3)
    assert what_is_shown(shown) == [(0, frame) for frame in frames]


def test_a_window_past_the_end_and_a_missing_file_are_damage(folder: Path):
    with pytest.raises(DamagedClip, match="ends early"):
        read_window(Wanted(Place(str(folder / "clips/00.mp4")), 1.9, 0.1, 5, 32, 32, tolerance_s=0.05))
    with pytest.raises(DamagedClip, match="cannot be read"):
        read_window(Wanted(Place(str(folder / "nothing.mp4")), 0, 0.1, 5, 32, 32))


def test_whatever_ffmpeg_says_of_a_file_is_damage(folder: Path, monkeypatch: pytest.MonkeyPatch):
    import av
    import av.error

    def fails(*_):
        raise av.error.ExternalError(1, "a library it uses failed")  # neither an OSError nor a ValueError

    place = Place(str(folder / "clips/00.mp4"))
    monkeypatch.setattr(av, "open", fails)
    for read in (lambda: probe(place), lambda: read_window(Wanted(place, 0, 0.1, 5, 32, 32))):
        with pytest.raises(DamagedClip, match=r"cannot be read: .*a library it uses failed"):
            read()


def test_pictures_cover_the_bucket_and_are_cut_where_asked(tmp_path: Path):
    frames = drawn_frames(0, 1, 64, 128)
    frames[:, :, 64:, 2] = 255  # the right half is blue
    write_video(tmp_path / "halves.mp4", frames, 10)
    place = Place(str(tmp_path / "halves.mp4"))
    left, right = (read_window(Wanted(place, 0, 1, 1, 32, 32, across=where)) for where in (0.0, 1.0))
    assert left[..., 2].mean() < 40
    assert right[..., 2].mean() > 215


def test_decoders_in_processes_give_what_one_gives_and_say_what_is_wrong(folder: Path):
    asked = [
        Wanted(Place(str(folder / f"clips/{n}.mp4")), 0.2, 0.1, 3, 32, 32, tolerance_s=0.05) for n in ("00", "01", "xx")
    ]
    here = Decoders(0).read(asked)
    pool = Decoders(2)
    try:
        there = pool.read(asked)
    finally:
        pool.close()
    assert all((one == other).all() for one, other in zip(here[:2], there[:2]))
    assert isinstance(here[2], str)
    assert here[2] == there[2]


def test_only_the_clip_that_crashes_a_decoder_is_blamed_whatever_else_is_under_way(folder: Path):
    """Two threads read at once: one a clip that crashes, the other clips that are whole and take their time."""
    whole = Wanted(Place(str(folder / "clips/00.mp4")), 0.2, 0.1, 3, 32, 32, tolerance_s=0.05)
    slow = replace(whole, place=SlowPlace(whole.place.path))
    crashing = replace(whole, place=CrashingPlace(whole.place.path))
    pool = Decoders(2)
    try:
        assert what_is_shown(pool.read([whole])[0])  # the processes are there
        with ThreadPoolExecutor(2) as threads:
            good = threads.submit(pool.read, [slow, whole])
            bad = threads.submit(pool.read, [crashing, whole])
            found, around = good.result(), bad.result()
        after = pool.read([whole])
    finally:
        pool.close()
    assert around[0] == "crashes the decoder"
    shown = [(0, 2), (0, 3), (0, 4)]
    assert [what_is_shown(each) for each in (*found, around[1], *after)] == [shown] * 4


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_a_dataset_may_lie_on_any_filesystem_of_fsspec(folder: Path, tmp_path: Path, kind: str):
    fsspec = pytest.importorskip("fsspec")
    write_shard(tmp_path / "tars", folder)
    roots = {"table": str(folder), "tars": str(tmp_path / "tars")}
    for name, root in roots.items():
        url = f"file://{root}"
        if kind == "memory":
            url = f"memory://bucket/{tmp_path.name}/{name}"
            fsspec.filesystem("memory").put(root, url, recursive=True)
        here, there = read_footage(root), read_footage(url)
        assert [replace(each, place=None) for each in there.clips] == [replace(each, place=None) for each in here.clips]
        assert all(each.num_bytes > 500 for each in there.clips)
        places = [clip.place for clip in there.clips]
        assert all(place.path.startswith(f"{kind}://") for place in places)
        asked = [Wanted(place, 0.2, 0.1, 3, 32, 32, tolerance_s=0.05) for place in places[:2]]
        pool = Decoders(1 if kind == "file" else 0)
        try:
            assert [what_is_shown(each) for each in pool.read(asked)] == [
                [(clip, 2), (clip, 3), (clip, 4)] for clip in (0, 1)
            ]
        finally:
            pool.close()
        lost = replace(asked[0], place=replace(places[0], path=f"{url}/nothing"))
        with pytest.raises(DamagedClip, match="cannot be read"):
            read_window(lost)


def test_a_picture_with_a_broken_chunk_and_a_huge_one_are_damaged_clips(tmp_path, monkeypatch):
    from PIL import Image

    whole = tmp_path / "whole.png"
    Image.effect_noise((300, 300), 80).save(whole)  # of several IDAT chunks
    data = bytearray(whole.read_bytes())
    second = data.index(b"IDAT", data.index(b"IDAT") + 4)
    data[second : second + 4] = b"\x00\x01\x02\x03"
    broken = tmp_path / "broken.png"
    broken.write_bytes(data)
    with pytest.raises(DamagedClip, match="cannot be read"):
        read_window(Wanted(Place(str(broken)), 0.0, 0.1, 1, 32, 32))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    for look in (lambda place: read_window(Wanted(place, 0.0, 0.1, 1, 32, 32)), probe):
        with pytest.raises(DamagedClip, match="cannot be read"):
            look(Place(str(whole)))


def test_what_cannot_be_reached_gets_one_line():
    fsspec = pytest.importorskip("fsspec")
    with pytest.raises(UserError, match="no folder memory://nowhere"):
        read_footage("memory://nowhere")
    with pytest.raises(UserError, match="no filesystem of fsspec's"):
        read_footage("nothing://bucket/dataset")
    if not importlib.util.find_spec("s3fs"):
        with pytest.raises(UserError, match="needs a package for s3://: pip install s3fs"):
            read_footage("s3://bucket/dataset")
    fsspec.filesystem("memory").pipe("memory://broken/00000.tar", b"x" * 700)
    with pytest.raises(UserError, match=r"the shard memory://broken/00000\.tar is damaged"):
        read_footage("memory://broken")


def test_a_clip_of_a_remote_shard_is_one_request(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fsspec = pytest.importorskip("fsspec")
    write_shard(tmp_path / "tars", folder)
    filesystem = fsspec.filesystem("memory")
    url = f"memory://counted/{tmp_path.name}"
    filesystem.put(str(tmp_path / "tars"), url, recursive=True)
    clip = read_footage(url).clips[1]
    asked = []
    monkeypatch.setattr(type(filesystem), "open", lambda *_, **__: pytest.fail("opened as a whole"))
    monkeypatch.setattr(type(filesystem), "_open", lambda *_, **__: pytest.fail("opened as a whole"))
    content = filesystem.store[f"/counted/{tmp_path.name}/00000.tar"].getvalue()
    monkeypatch.setattr(
        type(filesystem),
        "cat_file",
        lambda _, path, start, end: asked.append((start, end)) or content[start:end],
    )
    read_window(Wanted(clip.place, 0.2, 0.1, 3, 32, 32, tolerance_s=0.05))
    assert asked == [(clip.place.offset, clip.place.offset + clip.place.length)]


def test_a_clip_goes_where_it_fits_and_loses_least(folder: Path):
    footage = read_footage(folder)
    buckets = (Bucket(9, 32, 48), Bucket(9, 48, 32), Bucket(9, 40, 40), Bucket(21, 64, 96), Bucket(1, 32, 48))
    windows = fit_windows(footage, buckets, Fitting(max_windows=2, max_crop=0.4))
    assert windows.of["9x32x48"] == (Window(0, 1, 10.0), Window(0, 11, 10.0), Window(1, 1, 10.0), Window(1, 11, 10.0))
    assert [window.clip for window in windows.of["9x48x32"]] == [2]
    assert windows.of["9x40x40"] == ()  # as large as the other two, which lose less
    assert [window.clip for window in windows.of["21x64x96"]] == [0, 1]
    assert [window.clip for window in windows.of["1x32x48"]] == [0, 0, 1, 1]
    assert not windows.unfit


def test_frames_a_second_are_lowered_never_raised(folder: Path):
    footage = read_footage(folder)
    slower = fit_windows(footage, [Bucket(9, 32, 48)], Fitting(fps=5, max_windows=1)).of["9x32x48"]
    assert slower == (Window(0, 1, 5), Window(1, 1, 5))
    asked = wanted(footage, slower[0], Bucket(9, 32, 48))
    assert [frame for _, frame in what_is_shown(read_window(asked))] == list(range(2, 19, 2))
    assert fit_windows(footage, [Bucket(9, 32, 48)], Fitting(fps=60)).of["9x32x48"][0].fps == 10


def test_what_is_left_over_is_an_error_that_names_it(folder: Path):
    footage = read_footage(folder)
    with pytest.raises(UserError, match=r"1 of 3 clips .* clips/02\.mp4, which has 9 frames at 10 a second") as caught:
        check_nothing_is_left_over(footage, fit_windows(footage, [Bucket(13, 64, 64)], Fitting(max_crop=0.5)))
    assert "\n" not in str(caught.value)
    roomy = (Bucket(9, 32, 32), Bucket(33, 32, 32))
    with pytest.raises(UserError, match="no clip fits bucket 33x32x32"):
        check_nothing_is_left_over(footage, fit_windows(footage, roomy, Fitting(max_crop=0.5)))
    large = fit_windows(footage, [Bucket(9, 128, 128)], Fitting(max_crop=0.5)).unfit[0]
    assert large == ("clips/00.mp4", "is 64x96, 9x128x128 would enlarge it")
    assert "would cut off 33%" in fit_windows(footage, [Bucket(9, 32, 32)], Fitting(max_crop=0.2)).unfit[0][1]


def test_listing_and_decoding_need_no_torch():
    code = "import sys, videosyn.dataset.windows, videosyn.dataset.decoders; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_clips_of_one_name_in_two_shards_stay_two_clips(folder: Path, tmp_path: Path):
    import tarfile

    clip = next(folder.glob("**/*.mp4"))
    for shard in ("a", "b"):
        caption = tmp_path / f"{shard}.txt"
        caption.write_text(f"a film of shard {shard}")
        with tarfile.open(tmp_path / f"{shard}.tar", "w") as tar:
            tar.add(clip, "000000.mp4")
            tar.add(caption, "000000.txt")
    found = read_footage(tmp_path).clips
    assert [(each.name, each.caption[-1]) for each in found] == [("000000", "a"), ("b.tar/000000", "b")]

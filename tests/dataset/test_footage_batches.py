from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from clips_folder import CrashingPlace, what_is_shown, write_folder
from safetensors.torch import load_file

from videosyn.core.errors import UserError
from videosyn.dataset import footage_cache, shards
from videosyn.dataset.batches import Share
from videosyn.dataset.buckets import parse_buckets
from videosyn.dataset.decoders import Decoders
from videosyn.dataset.footage import read_footage
from videosyn.dataset.footage_batches import FootageBatches, FramesFromFiles
from videosyn.dataset.footage_cache import CachedLatents, CachedText, write_footage_latents, write_text_features
from videosyn.dataset.latent_cache import encode_frames, load_vae
from videosyn.dataset.windows import Fitting, fit_windows
from videosyn.text.features import TextFeatures

BUCKETS = parse_buckets(["5x32x48:3", "1x32x48:1"])
SIZES = [4, 4]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("footage") / "dataset", [(11, 64, 96)] * 6)


def batches(folder: Path, workers: int = 0, **how) -> FootageBatches:
    footage = read_footage(folder)
    windows = fit_windows(footage, BUCKETS, Fitting(max_windows=2))
    told: list[str] = []
    reader = FramesFromFiles(footage, Decoders(workers), how.pop("max_damaged", 9), told.append)
    found = FootageBatches(footage, windows, reader, seed=3, **how)
    found.told = told  # type: ignore[attr-defined]
    return found


def test_a_batch_shows_the_clips_and_frames_that_it_names(folder: Path):
    every = batches(folder)
    for step in range(6):
        batch = every.batch(step, BUCKETS, SIZES)
        assert batch.video is not None
        assert batch.video.shape == (4, batch.num_frames, 32, 48, 3)
        for name, start, caption, frames in zip(batch.names, batch.starts, batch.captions, batch.video.numpy()):
            clip = int(name[6:8])
            assert what_is_shown(frames) == [(clip, start + frame) for frame in range(batch.num_frames)]
            assert caption == f"clip number {clip}"


def test_shares_put_together_are_the_whole_batch_whoever_decodes(folder: Path):
    one, many = batches(folder, caption_dropout=0.5), batches(folder, workers=2, caption_dropout=0.5)
    try:
        for step in (0, 7):
            whole = one.batch(step, BUCKETS, SIZES)
            parts = [many.batch(step, BUCKETS, SIZES, Share(rank, 3)) for rank in (2, 0, 1)]
            parts.sort(key=lambda part: part.first)
            assert [part.size for part in parts] == [1, 1, 2]
            assert tuple(name for part in parts for name in part.names) == whole.names
            assert tuple(text for part in parts for text in part.captions) == whole.captions
            assert torch.equal(torch.cat([part.video for part in parts]), whole.video)
            assert all(part.whole == 4 and part.bucket == whole.bucket for part in parts)
    finally:
        many.reader.decoders.close()  # type: ignore[attr-defined]


def test_more_processes_than_clips_in_a_batch_are_refused(folder: Path):
    with pytest.raises(UserError, match="batch of 4 cannot be shared by 5 processes"):
        batches(folder).batch(0, BUCKETS, SIZES, Share(0, 5))


def test_a_file_that_goes_missing_is_told_once_and_a_neighbour_stands_in(folder: Path, tmp_path: Path):
    broken = write_folder(tmp_path / "broken", [(11, 64, 96)] * 6)
    (broken / "clips/02.mp4").unlink()
    every, again = batches(broken), batches(broken)
    names = {name for step in range(12) for name in every.batch(step, BUCKETS, SIZES).names}
    assert names == {f"clips/{n:02d}.mp4" for n in (0, 1, 3, 4, 5)}
    assert len(every.told) == 1  # type: ignore[attr-defined]
    assert "clips/02.mp4 cannot be read" in every.told[0]  # type: ignore[attr-defined]
    assert again.batch(11, BUCKETS, SIZES).names == every.batch(11, BUCKETS, SIZES).names
    (broken / "clips/04.mp4").write_bytes(b"no video")
    few = batches(broken, max_damaged=1)
    with pytest.raises(UserError, match="2 clips cannot be read"):
        [few.batch(step, BUCKETS, SIZES) for step in range(12)]


def test_the_cache_gives_the_same_clips_in_the_same_order_as_the_files(folder: Path, vae_folder: Path, tmp_path: Path):
    raw = batches(folder, caption_dropout=0.3)
    footage, windows = raw.footage, raw.windows
    paths = write_footage_latents(tmp_path, vae_folder, footage, windows, BUCKETS, workers=0, dtype="fp32")
    cached = FootageBatches(footage, windows, CachedLatents(footage, paths, 20), seed=3, caption_dropout=0.3)
    vae = load_vae(vae_folder)
    for step in range(5):
        one, other = raw.batch(step, BUCKETS, SIZES), cached.batch(step, BUCKETS, SIZES)
        assert (one.names, one.starts, one.captions, one.fps) == (other.names, other.starts, other.captions, other.fps)
        assert torch.allclose(encode_frames(vae, one.video), other.latents.float(), atol=0.03, rtol=0.01)


def test_an_interrupted_cache_goes_on_and_parts_fill_one_folder(folder: Path, vae_folder: Path, tmp_path: Path):
    every = batches(folder)
    how = {"workers": 0, "dtype": "fp32"}
    alone = write_footage_latents(tmp_path / "alone", vae_folder, every.footage, every.windows, BUCKETS, **how)
    first = write_footage_latents(
        tmp_path / "parts", vae_folder, every.footage, every.windows, BUCKETS, part=(0, 2), **how
    )
    assert [path.exists() for path in first] == [True, False]
    before = first[0].stat().st_mtime_ns
    write_footage_latents(tmp_path / "parts", vae_folder, every.footage, every.windows, BUCKETS, part=(1, 2), **how)
    assert first[0].stat().st_mtime_ns == before
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in alone]


def test_clips_that_could_not_be_encoded_are_not_trained_on(vae_folder: Path, tmp_path: Path):
    broken = write_folder(tmp_path / "broken", [(11, 64, 96)] * 4)
    (broken / "clips/01.mp4").write_bytes(b"no video")
    every = batches(broken)
    paths = write_footage_latents(
        tmp_path / "cache", vae_folder, every.footage, every.windows, BUCKETS, workers=0, dtype="fp32"
    )
    cached = FootageBatches(every.footage, every.windows, CachedLatents(every.footage, paths, 20), seed=0)
    assert {window.clip for window in cached.windows.of["5x32x48"]} == {0, 2, 3}
    with pytest.raises(UserError, match=r"1 clips are not in the cache.*mend them, they are tried again"):
        FootageBatches(every.footage, every.windows, CachedLatents(every.footage, paths, 0), seed=0)


def test_clips_that_were_mended_are_added_to_their_shards_and_nothing_else_changes(vae_folder: Path, tmp_path: Path):
    whole = write_folder(tmp_path / "data", [(11, 64, 96)] * 4)
    mended = (whole / "clips/01.mp4").read_bytes()
    (whole / "clips/01.mp4").write_bytes(b"no video")
    every = batches(whole)
    given = (vae_folder, every.footage, every.windows, BUCKETS)
    how = {"workers": 0, "dtype": "fp32"}
    paths = write_footage_latents(tmp_path / "cache", *given, **how)
    first = [(path.stat().st_mtime_ns, load_file(path)) for path in paths]
    write_footage_latents(tmp_path / "cache", *given, **how)  # still damaged: tried, and left as it is
    assert [path.stat().st_mtime_ns for path in paths] == [time for time, _ in first]
    (whole / "clips/01.mp4").write_bytes(mended)
    write_footage_latents(tmp_path / "cache", *given, **how)
    fresh = write_footage_latents(tmp_path / "fresh", *given, **how)
    for path, other, (_, before) in zip(paths, fresh, first):
        now, alone = load_file(path), load_file(other)
        assert now["whole"].all()
        assert not before["whole"].all()
        assert torch.equal(now["latents"][before["whole"]], before["latents"][before["whole"]])
        torch.testing.assert_close(now["latents"], alone["latents"], rtol=0.02, atol=0.02)
    written = [path.stat().st_mtime_ns for path in paths]
    write_footage_latents(tmp_path / "cache", *given, **how)
    assert [path.stat().st_mtime_ns for path in paths] == written


def test_footage_added_later_adds_shards_and_changes_none(
    folder: Path, vae_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(footage_cache, "SHARD_CLIPS", 4)
    every = batches(folder)
    few = replace(every.footage, clips=every.footage.clips[:1] + every.footage.clips[2:])  # the second comes later
    given = {"buckets": BUCKETS, "workers": 0, "dtype": "fp32"}
    first = write_footage_latents(tmp_path, vae_folder, few, fit_windows(few, BUCKETS, Fitting(max_windows=2)), **given)
    before = {path: path.stat().st_mtime_ns for path in first}
    both = [
        write_footage_latents(tmp_path, vae_folder, every.footage, every.windows, part=(part, 2), **given)
        for part in (0, 1)
    ]
    assert both[0] == both[1]  # though the second found what the first had made
    assert {path: path.stat().st_mtime_ns for path in first} == before
    assert {*first} < {*both[0]}
    assert len(both[0]) == len(first) + 2  # one a bucket
    cached = CachedLatents(every.footage, both[0], 0)
    assert cached.available(every.windows) == every.windows


def test_a_clip_that_was_replaced_under_its_name_is_encoded_again(vae_folder: Path, tmp_path: Path):
    data = write_folder(tmp_path / "data", [(11, 64, 96)] * 2)
    other = write_folder(tmp_path / "other", [(11, 64, 96)] * 6)
    how = {"buckets": BUCKETS, "workers": 0, "dtype": "fp32"}

    def latents(folder: Path) -> torch.Tensor:
        every = batches(folder)
        paths = write_footage_latents(tmp_path / "cache", vae_folder, every.footage, every.windows, **how)
        reader = CachedLatents(every.footage, paths, 0)
        return reader.read(every.windows.of["5x32x48"], [0, 2], BUCKETS[0], [0.5, 0.5]).latents

    first = latents(data)
    shutil.copy(other / "clips/05.mp4", data / "clips/00.mp4")  # as many frames, of the same size
    now = latents(data)
    assert not torch.allclose(now[0], first[0], atol=0.1)
    torch.testing.assert_close(now[1], first[1], rtol=0.02, atol=0.02)
    assert (data / "clips/00.mp4").stat().st_size == read_footage(data).clips[0].num_bytes


@pytest.mark.slow
def test_a_clip_that_crashes_its_decoder_costs_the_cache_only_itself(folder: Path, vae_folder: Path, tmp_path: Path):
    every = batches(folder)
    clips = list(every.footage.clips)
    clips[2] = replace(clips[2], place=CrashingPlace(clips[2].place.path))
    footage = replace(every.footage, clips=tuple(clips))
    paths = write_footage_latents(
        tmp_path / "cache", vae_folder, footage, every.windows, BUCKETS, workers=1, dtype="fp32"
    )
    cached = CachedLatents(footage, paths, 1, lambda _: None).available(every.windows)
    assert {window.clip for window in cached.of["5x32x48"]} == {0, 1, 3, 4, 5}


class _Letters:
    """A text encoder whose features are letters."""

    def encode(self, prompts, max_tokens=None):
        lengths = [len(prompt) + 1 for prompt in prompts]
        features = torch.zeros(len(prompts), max(lengths), 4)
        for row, prompt in enumerate(prompts):
            features[row, : len(prompt), 0] = torch.tensor([float(ord(letter)) for letter in prompt])
        return TextFeatures(features, torch.arange(max(lengths)) < torch.tensor(lengths)[:, None])

    def null(self, batch):
        return self.encode([""] * batch)


def test_cached_text_is_what_the_encoder_says_and_is_encoded_once(tmp_path: Path):
    calls = []

    def load():
        calls.append(1)
        return _Letters()

    captions = ["a dog", "", "a longer caption"]
    paths = write_text_features(tmp_path, load, "letters", captions)
    assert write_text_features(tmp_path, load, "letters", captions) == paths
    assert len(calls) == 1
    more = write_text_features(tmp_path, load, "letters", [*captions, "a bird"])
    assert {*paths} < {*more}
    assert CachedText(more).encode(["a bird", "a dog"]).mask.sum(1).tolist() == [7, 6]
    text, direct = (
        CachedText(paths).encode(["a dog", "a longer caption", ""]),
        _Letters().encode(["a dog", "a longer caption", ""]),
    )
    assert torch.equal(text.mask, direct.mask)
    assert torch.equal(text.features.float() * text.mask[..., None], direct.features * direct.mask[..., None])
    with pytest.raises(UserError, match="no features of 'a cat'"):
        CachedText(paths).encode(["a cat"])
    with pytest.raises(UserError, match="was made with encoder = 'letters'"):
        write_text_features(tmp_path, load, "other", captions)


def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(tensors, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shards, "save_tensors", full)
    with pytest.raises(UserError, match=r"text-.* cannot be written .*No space left on device.*: free some space"):
        write_text_features(tmp_path, _Letters, "letters", ["a dog"])
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_a_damaged_cache_is_named_in_one_line(tmp_path: Path):
    shard = shards.plan_shards(tmp_path, parse_buckets(("1x16x16",)), [2], 2, 0)[0]
    shards.write_shard(shard, {"latents": torch.zeros(2, 1)})
    assert shards.read_shard(shard)["latents"].shape == (2, 1)
    shard.path.write_bytes(shard.path.read_bytes()[:-3])
    with pytest.raises(UserError, match="is damaged: delete it, and the same command makes it again"):
        shards.read_shard(shard)
    (tmp_path / "manifest.json").write_text("{half")
    with pytest.raises(UserError, match=r"manifest\.json is damaged"):
        shards.check_manifest(tmp_path, {"kind": "any"})


def test_processes_may_begin_a_folder_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_text = Path.write_text

    def then_another_begins(path, *arguments, **others):
        write_text(path, *arguments, **others)
        monkeypatch.setattr(Path, "write_text", write_text)
        shards.check_manifest(tmp_path, {"kind": "any"})

    monkeypatch.setattr(Path, "write_text", then_another_begins)
    shards.check_manifest(tmp_path, {"kind": "any"})
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]

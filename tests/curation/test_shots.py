"""The scan of a film in small spans says the same as the scan in one piece, and keeps the right frames."""

import io

import numpy as np
import pytest
from drawn import HEIGHT, WIDTH, panned, texture, turn_film, world_shots, write_film
from PIL import Image

from videosyn.core.errors import UserError
from videosyn.curation.clips import join
from videosyn.curation.config import CurationConfig, ShotsConfig
from videosyn.curation.probe import num_spans, probe
from videosyn.curation.scan import PER_FRAME, Scan
from videosyn.curation.shots import Shots, perceptual_hash
from videosyn.curation.work import Work

LENGTHS = [25, 40, 9, 46, 30]
FRAMES = sum(LENGTHS)


def scanned(path, folder, span_seconds=300.0, **shots):
    config = CurationConfig(shots=ShotsConfig(span_seconds=span_seconds, **shots))
    work, source = Work(str(folder)), probe(str(path))
    work.write_source(source)
    stage = Shots(config)
    stage.setup()
    for span in range(num_spans(source, config.shots)):
        stage.process_span(source, span, work)
    return source, work, config


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Five shots and a black pause, a frame a second: the shortest spans are of ten frames."""
    frames = world_shots([21, 22, 23, 24, 25], LENGTHS)
    frames[100:103] = 0
    return write_film(tmp_path_factory.mktemp("film") / "film.mp4", frames, fps=1, preset="fast")


@pytest.fixture(scope="module")
def whole(film, tmp_path_factory):
    return scanned(film, tmp_path_factory.mktemp("whole"), max_seconds=36.0, min_seconds=12.0)


def test_a_scan_counts_every_frame_and_finds_every_cut(whole):
    source, work, _ = whole
    scan = Scan.load(work, source)
    assert scan.num_frames == FRAMES
    assert np.flatnonzero(scan.cut).tolist()[:3] == np.cumsum(LENGTHS)[:3].tolist()
    assert not scan.damaged.any()
    assert scan.warnings == ()
    assert scan.time_s == pytest.approx(np.arange(FRAMES))
    assert scan.end_s == pytest.approx(FRAMES)


@pytest.mark.parametrize("span_seconds", [10.0, 13.7, 60.0])
def test_a_film_scanned_in_spans_is_as_one_scanned_whole(whole, film, tmp_path, span_seconds):
    source, work, config = whole
    _, parted, parted_config = scanned(film, tmp_path, span_seconds, max_seconds=36.0, min_seconds=12.0)
    assert num_spans(source, parted_config.shots) > 1
    one, other = Scan.load(work, source), Scan.load(parted, source)
    for name in PER_FRAME:
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    clips, parted_clips = join(source, work, config), join(source, parted, parted_config)
    assert [clip.id for clip in clips] == [clip.id for clip in parted_clips]
    for clip, other_clip in zip(clips, parted_clips):
        assert [frame.index for frame in clip.frames] == [frame.index for frame in other_clip.frames]
        for frame, other_frame in zip(clip.frames, other_clip.frames):
            assert work.read(frame.file) == parted.read(other_frame.file)


def test_doing_a_span_again_changes_nothing(whole, film, tmp_path):
    source, work, config = whole
    before = {name: work.read(name) for name in [f"scans/{source.id}/00000.npz"]}
    Shots(config).process_span(source, 0, work)
    assert all(np.array_equal(work.read(name), content) for name, content in before.items())


def test_every_clip_has_its_frames_spread_over_it(whole):
    source, work, config = whole
    clips = [clip for clip in join(source, work, config) if not clip.rejected_by]
    assert clips
    for clip in clips:
        times_s = [frame.time_s for frame in clip.frames]
        assert len(times_s) == 3
        assert clip.start_s <= min(times_s) < clip.start_s + clip.duration_s / 2 < max(times_s) < clip.end_s


def test_kept_frames_are_the_films_own_upright_and_whole(tmp_path):
    upright = panned(3, 36, 1)
    stored = np.ascontiguousarray(np.rot90(upright, 1, axes=(1, 2)))
    path = turn_film(write_film(tmp_path / "film.mp4", stored), 90)
    source, work, config = scanned(path, tmp_path / "work")
    (clip,) = join(source, work, config)
    assert len(clip.frames) == 3
    for frame in clip.frames:
        picture = np.asarray(Image.open(io.BytesIO(work.read(frame.file))))
        assert picture.shape == (HEIGHT, WIDTH, 3)
        off = [np.abs(picture.astype(int) - other).mean() for other in upright]
        assert int(np.argmin(off)) == frame.index
        assert min(off) < 12


def test_a_copy_smaller_and_worse_has_nearly_the_same_hashes(whole, tmp_path):
    source, work, _ = whole
    frames = world_shots([21, 22], LENGTHS[:2])
    copy = write_film(tmp_path / "copy.mp4", frames[:, 1::2, 1::2], crf="32")
    other_source, other_work, _ = scanned(copy, tmp_path / "work")
    one, other = Scan.load(work, source).hash, Scan.load(other_work, other_source).hash
    distance = np.bitwise_count(one[: len(other)] ^ other)
    assert np.median(distance) <= 6
    assert np.bitwise_count(one[5] ^ one[40]) > 16


def test_hashes_of_different_pictures_differ_in_many_bits():
    hashes = [perceptual_hash(texture(seed)[..., 1]) for seed in range(8)]
    distances = [(one ^ other).bit_count() for one in hashes for other in hashes if one != other]
    assert min(distances) > 12


def test_motion_is_measured_against_the_frame_before_also_at_a_spans_border(tmp_path):
    path = write_film(tmp_path / "film.mp4", panned(5, 48, 3), fps=1)
    source, work, _ = scanned(path, tmp_path / "work", span_seconds=10.0)
    motion = Scan.load(work, source).motion
    assert motion[0] == 0
    assert motion[1:].min() > 0.03


def test_a_film_cut_off_is_scanned_as_far_as_it_goes_and_says_so(film, tmp_path):
    path = tmp_path / "film.mp4"
    frames = panned(1, 60, 1)
    write_film(path, frames, movflags="faststart", container_options={"movflags": "+faststart"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    source, work, config = scanned(path, tmp_path / "work", min_seconds=0.5)
    scan = Scan.load(work, source)
    assert 10 < scan.num_frames < 60
    assert any(f"{scan.num_frames} of the container's 60 frames decode" in line for line in scan.warnings)
    clips = join(source, work, config)
    assert "truncated" in clips[0].labels["source_warning"]


def test_a_source_that_is_gone_is_said_in_a_line(whole, tmp_path):
    from dataclasses import replace

    source, work, config = whole
    with pytest.raises(UserError, match="does not exist"):
        Shots(config).process_span(replace(source, path=str(tmp_path / "gone.mp4")), 0, work)


def test_a_file_that_changed_after_its_probe_is_not_scanned(tmp_path):
    path = write_film(tmp_path / "film.mp4", world_shots([21], [12]), fps=4)
    source = probe(str(path))
    path.write_bytes(path.read_bytes() + b"more")
    stage = Shots(CurationConfig())
    stage.setup()
    with pytest.raises(UserError, match=r"film\.mp4 changed since it was first read"):
        stage.process_span(source, 0, Work(str(tmp_path / "work")))

"""Still clips go, moving ones stay, and an abrupt change leaves the longest part without one."""

from dataclasses import replace

import numpy as np
import pytest

from videosyn.curation.config import CurationConfig
from videosyn.curation.motion import Motion, abrupt, moving_share
from videosyn.curation.records import Clip, Frame, Source
from videosyn.curation.scan import write_span
from videosyn.curation.work import Work


def test_what_moves_is_counted_and_noise_is_not():
    rng = np.random.default_rng(0)
    ground = np.full((90, 160), 100, np.uint8)
    assert moving_share(ground, ground, 12) == 0
    noisy = np.uint8(ground + rng.integers(-6, 7, ground.shape))
    assert moving_share(ground, noisy, 12) == 0
    speckled = ground.copy()
    speckled[rng.integers(0, 90, 60), rng.integers(0, 160, 60)] = 255
    assert moving_share(ground, speckled, 12) < 0.002
    moved = ground.copy()
    moved[20:50, 40:80] = 200
    assert moving_share(ground, moved, 12) == pytest.approx(30 * 40 / (90 * 160), rel=0.02)


def test_a_difference_of_exactly_the_threshold_does_not_move():
    ground = np.full((20, 20), 100, np.uint8)
    assert moving_share(ground, ground + np.uint8(12), 12) == 0
    assert moving_share(ground, ground + np.uint8(13), 12) == 1


def curve(**peaks):
    values = np.full(100, 0.05, np.float32)
    for at, value in peaks.items():
        values[int(at[1:])] = value
    return values


def test_an_abrupt_change_rises_above_its_neighbours():
    assert abrupt(curve(_40=0.9), 0.5, 0.35) == [40]
    assert abrupt(curve(_40=0.9, _41=0.9), 0.5, 0.35) == [40, 41]  # a flash
    assert abrupt(curve(_40=0.45), 0.5, 0.35) == []
    going_on = curve()
    going_on[40:60] = 0.8
    assert abrupt(going_on, 0.5, 0.35) == []
    assert abrupt(going_on[:0], 0.5, 0.35) == []


@pytest.fixture
def measured(tmp_path):
    """measured(curve) -> a work folder and the clip of all its frames, 10 a second."""

    def make(values):
        work, source = Work(str(tmp_path)), Source("s", "s.mp4", 1)
        work.write_source(source)
        num_frames = len(values)
        others = {name: np.zeros(num_frames) for name in ("luma_mean", "luma_std", "cut")}
        arrays = {"time_s": np.arange(num_frames) / 10, "motion": values, "hash": np.zeros(num_frames, np.uint64)}
        write_span(work, "s", 0, 1, {**others, **arrays, "damaged": np.zeros(num_frames, bool)}, [], [])
        frames = tuple(Frame(index, index / 10, f"{index}.jpg") for index in (15, 50, 85))
        return work, Clip("c", "s", 0, num_frames, 0.0, num_frames / 10, frames)

    return make


def test_a_moving_clip_stays_with_its_score(measured):
    work, clip = measured(curve(_0=1.0))  # the first frame's motion is against another shot
    done = Motion(CurationConfig()).process(clip, work)
    assert not done.rejected_by
    assert done.scores == pytest.approx({"motion": 0.05, "motion_peak": 0.05})
    assert replace(done, scores={}) == clip


def test_a_static_clip_goes_with_the_rule_and_its_score(measured):
    work, clip = measured(np.full(100, 0.001, np.float32))
    done = Motion(CurationConfig()).process(clip, work)
    assert (done.rejected_by, done.reason) == ("motion", "motion 0.0010 is under 0.002")
    assert done.scores["motion"] == pytest.approx(0.001)


def test_the_longest_part_between_abrupt_changes_stays(measured):
    work, clip = measured(curve(_20=0.9, _70=0.9))
    done = Motion(CurationConfig()).process(clip, work)
    assert (done.start_frame, done.end_frame, done.start_s, done.end_s) == (20, 70, 2.0, 7.0)
    assert [frame.index for frame in done.frames] == [50]
    assert done.labels == {"reclipped": "0-100"}
    assert done.scores == pytest.approx({"motion": 0.05, "motion_peak": 0.9})
    assert done.id == clip.id


def test_a_clip_whose_parts_are_all_too_short_goes(measured):
    work, clip = measured(curve(**{f"_{at}": 0.9 for at in range(15, 100, 15)}))
    done = Motion(CurationConfig()).process(clip, work)
    assert done.rejected_by == "motion"
    assert done.reason == "abrupt changes leave 1.50 s, under shots.min_seconds 2"
    assert (done.start_frame, done.end_frame) == (0, 100)

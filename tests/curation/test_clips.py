"""Shots become clips of the right lengths, with nothing black or damaged in them."""

import numpy as np
import pytest

from videosyn.curation.clips import clips_of
from videosyn.curation.config import ShotsConfig
from videosyn.curation.kept import Grids, Keeper, pick, wanted_frames
from videosyn.curation.records import Frame, clip_id
from videosyn.curation.scan import Scan


def scan_of(num_frames, cuts=(), fps=10.0, black=(), damaged=(), kept=(), times_s=None, warnings=()):
    times_s = np.arange(num_frames) / fps if times_s is None else np.asarray(times_s)
    arrays = {name: np.zeros(num_frames, np.float32) for name in ("motion", "cut")}
    arrays["cut"][list(cuts)] = 1
    light = np.full(num_frames, 100.0)
    light[list(black)] = 0
    bad = np.zeros(num_frames, bool)
    bad[list(damaged)] = True
    frames = tuple(Frame(index, float(times_s[index]), f"{index}.jpg") for index in kept)
    return Scan(
        times_s, arrays["motion"], np.zeros(num_frames, np.uint64), light, light, arrays["cut"], bad, frames, warnings
    )


def spans(scan, **shots):
    return [
        (clip.start_frame, clip.end_frame) for clip in clips_of(scan, "s", ShotsConfig(**shots)) if not clip.rejected_by
    ]


def test_a_clip_is_a_shot_and_short_shots_are_rejected_with_the_rule():
    clips = clips_of(scan_of(100, cuts=[30, 40]), "s", ShotsConfig())
    assert [(clip.start_frame, clip.end_frame, clip.rejected_by) for clip in clips] == [
        (0, 30, ""),
        (30, 40, "shots"),
        (40, 100, ""),
    ]
    assert clips[1].reason == "1.00 s is under shots.min_seconds 2"
    assert (clips[2].start_s, clips[2].end_s) == (4.0, pytest.approx(10.0))
    assert clips[0].id == clip_id("s", 0, 30)


def test_a_shot_of_exactly_the_least_and_the_greatest_length_is_a_clip():
    assert spans(scan_of(220, cuts=[20])) == [(0, 20), (20, 220)]


@pytest.mark.parametrize(("num_frames", "parts"), [(201, 2), (400, 2), (401, 3), (1999, 10)])
def test_long_shots_are_divided_evenly_into_the_fewest_parts(num_frames, parts):
    found = spans(scan_of(num_frames))
    assert len(found) == parts
    lengths = [end - start for start, end in found]
    assert max(lengths) - min(lengths) <= 1
    assert max(lengths) <= 200
    assert sum(lengths) == num_frames


def test_a_shot_of_uneven_frame_times_is_divided_by_time():
    times_s = np.concatenate([np.arange(100) * 0.05, 5 + np.arange(50) * 0.5])
    found = spans(scan_of(150, times_s=times_s), max_seconds=15)
    assert found[0][0] == 0
    assert found[-1][1] == 150
    assert [times_s[start] for start, _ in found] == pytest.approx([0, 14.8], abs=0.5)


def test_a_frame_shown_longer_than_a_clip_is_rejected_and_what_lies_around_it_stays_whole():
    times_s = np.concatenate([np.arange(100) * 0.1, 9.9 + 21 + np.arange(100) * 0.1])
    clips = clips_of(scan_of(200, times_s=times_s), "s", ShotsConfig(max_seconds=20))
    assert [(clip.start_frame, clip.end_frame, clip.rejected_by) for clip in clips] == [
        (0, 99, ""),
        (99, 100, "shots"),
        (100, 200, ""),
    ]
    assert clips[1].reason == "one frame is shown for 21.00 s, over shots.max_seconds 20"


def test_black_and_damaged_frames_belong_to_no_clip():
    scan = scan_of(200, black=[*range(5), *range(60, 70)], damaged=range(150, 200))
    assert spans(scan) == [(5, 60), (70, 150)]


def test_a_clip_says_what_was_wrong_with_its_source():
    (clip,) = clips_of(scan_of(50, warnings=("truncated: x", "damaged: y")), "s", ShotsConfig())
    assert clip.labels == {"source_warning": "truncated: x; damaged: y"}


def keep(times_s, cuts=(), config=None):
    """Positions that a Keeper keeps of one span that is all of a source, and the most frames it held."""
    config = config or ShotsConfig()
    kept, most = [], 0
    keeper = Keeper(config, lambda position, frame: kept.append(position))
    keeper.begin(times_s[0])
    previous_s = -np.inf
    for index, time_s in enumerate(times_s):
        if index in cuts:
            keeper.end(time_s)
            keeper.begin(time_s)
        keeper.add(index, time_s, keeper.grids.rank(time_s, previous_s), None)
        previous_s = time_s
        most = max(most, len(keeper._held))
    keeper.finish()
    return sorted(kept), most


def test_few_frames_are_in_memory_however_long_a_shot_is():
    _, most = keep(list(np.arange(20000) / 10))
    assert most <= 12


def test_what_clips_want_is_what_was_kept():
    times_s = list(np.arange(3000) / 10)
    cuts = [100, 130, 400, 1500, 1560]
    kept, _ = keep(times_s, cuts)
    edges = np.append(times_s, 300.0)
    for start, end in zip([0, *cuts], [*cuts, 3000]):
        wanted = wanted_frames(edges, start, end, ShotsConfig())
        assert len(wanted) >= 3
        assert set(wanted) <= set(kept)
    frames_kept_of_a_short_shot = [index for index in kept if 100 <= index < 130]
    assert len(frames_kept_of_a_short_shot) == 3


def test_every_part_of_a_long_shot_has_frames():
    kept, _ = keep(list(np.arange(2050) / 10))
    for clip in clips_of(scan_of(2050, kept=kept), "s", ShotsConfig()):
        assert len(clip.frames) == 3


def test_grids_are_nested_and_a_sources_first_frame_is_on_all():
    grids = Grids.of(ShotsConfig())
    ranks = [grids.rank(index / 24, (index - 1) / 24 if index else -np.inf) for index in range(2400)]
    assert ranks[0] == 0
    for rank in range(grids.count):
        step = np.diff([index for index, each in enumerate(ranks) if each <= rank]) / 24
        assert step == pytest.approx(grids.coarsest_s / 2**rank, abs=1 / 24 + 1e-9)


def test_picked_frames_lie_evenly():
    times_s = list(np.arange(0, 10, 0.5))
    assert [times_s[position] for position in pick(times_s, 3, 0, 9)] == [1.5, 4.5, 7.5]
    assert pick([1.0, 2.0], 3, 0, 9) == [0, 1]
    assert pick([], 3, 0, 9) == []

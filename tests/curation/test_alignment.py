"""Which tracks of hashes repeat others."""

from __future__ import annotations

import time

import numpy as np
import pytest

from videosyn.curation.alignment import Track, overlap, repeats


def walk(seed: int, seconds: float, fps: float = 25.0, flips: int = 3) -> Track:
    """A clip whose hash changes by a few bits every frame."""
    random = np.random.default_rng(seed)
    count = int(seconds * fps)
    bits = random.integers(0, 2, 64, np.uint8)
    hashes = np.zeros(count, np.uint64)
    for frame in range(count):
        bits[random.integers(0, 64, flips)] ^= 1
        hashes[frame] = int.from_bytes(np.packbits(bits).tobytes(), "big")
    return Track.of(np.arange(count) / fps, hashes, np.full(count, 50.0))


def disturbed(track: Track, seed: int, bits: int) -> Track:
    """A copy in which each hash has up to `bits` wrong bits."""
    random = np.random.default_rng(seed)
    masks = [sum(1 << int(bit) for bit in set(random.integers(0, 64, bits).tolist())) for _ in range(len(track))]
    return Track(track.time_s, track.hash ^ np.asarray(masks, np.uint64))


def part(track: Track, start_s: float, end_s: float) -> Track:
    """A trimmed copy; its times begin at 0."""
    inside = (track.time_s >= start_s) & (track.time_s < end_s)
    return Track(track.time_s[inside] - np.float32(start_s), track.hash[inside])


def test_copies_are_found_encoded_anew_and_trimmed():
    film = walk(1, 12)
    tracks = [film, walk(2, 12), disturbed(film, 3, 4), part(disturbed(film, 4, 4), 5.03, 9.0)]
    found = repeats(tracks, 8, 0.5)
    assert {second: match.first for second, match in found.items()} == {2: 0, 3: 0}
    assert found[3].overlap > 0.9


def test_the_shift_in_time_is_found_either_way():
    film = walk(1, 20)
    early, late = part(film, 0, 12), part(film, 8, 20)
    assert repeats([early, late], 8, 0.3).keys() == {1}
    assert repeats([late, early], 8, 0.3)[1].overlap == pytest.approx(4 / 12, abs=0.05)
    assert not repeats([early, late], 8, 0.5)


def test_strangers_do_not_match():
    assert not repeats([walk(seed, 8) for seed in range(60)], 8, 0.5)


def test_flat_frames_match_nothing():
    count = 100
    black = Track.of(np.arange(count) / 25, np.zeros(count, np.uint64), np.zeros(count))
    assert not len(black)
    assert not repeats([black, black, black], 8, 0.5)
    assert overlap(black, walk(1, 3), 0, 8) == 0


def test_a_mostly_black_clip_is_compared_by_its_pictures_alone():
    film, other = walk(1, 10), walk(2, 10)
    hashes = np.concatenate([np.zeros(50, np.uint64), film.hash[:50]])
    faded = Track.of(np.arange(100) * 0.1 + 0.05, hashes, np.r_[np.zeros(50), np.full(50, 40.0)])
    assert len(faded) == 50
    assert repeats([film, other, faded], 8, 0.5).keys() == {2}


def test_of_many_copies_the_first_stays():
    film = walk(1, 6)
    tracks = [disturbed(film, seed, 2) for seed in range(40)]
    found = repeats(tracks, 8, 0.5)
    assert sorted(found) == list(range(1, 40))
    assert {match.first for match in found.values()} == {0}


def test_a_clip_goes_only_for_one_that_stays():
    film = walk(1, 30)
    chain = [part(film, 0, 12), part(film, 5, 16), part(film, 11, 20)]  # 0 and 1 share, 1 and 2 share, 0 and 2 hardly
    assert repeats(chain, 8, 0.5).keys() == {1}


def test_a_still_picture_repeats_itself():
    still = Track.of(np.arange(200) / 25, np.full(200, 0x123456789ABCDEF0, np.uint64), np.full(200, 30.0))
    assert repeats([still, part(still, 2, 6)], 8, 0.5).keys() == {1}


@pytest.mark.parametrize("tracks", [[], [walk(1, 3)], [Track(np.zeros(0, np.float32), np.zeros(0, np.uint64))] * 2])
def test_nothing_to_compare(tracks):
    assert repeats(tracks, 8, 0.5) == {}


def test_thousands_of_clips_with_the_same_opening_do_not_take_the_square():
    opening = walk(0, 2)
    tracks = []
    for seed in range(1500):
        rest = np.random.default_rng(seed).integers(0, 2**63, 30, np.int64).astype(np.uint64)
        times_s = np.concatenate([opening.time_s, 2 + np.arange(30, dtype=np.float32) / 10])
        tracks.append(Track(times_s, np.concatenate([opening.hash, rest])))
    start = time.process_time()
    assert not repeats(tracks, 8, 0.5)
    assert time.process_time() - start < 60  # some seconds; all pairs would take minutes

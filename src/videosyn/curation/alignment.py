"""Which clips show the same, by the hashes of their frames: candidates from an index, then the best shift in time.

A clip becomes a track: a hash about every tenth of a second. Every fifth hash of a track goes into the index, under
each of six keys of 32 bits; every hash of a track asks it. Work grows with the number of frames, not with its square.
A copy that was encoded anew, rescaled or trimmed shares runs of near-equal hashes with its original, at one shift in
time. Next: `dedup.py`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

STEP_S = 0.1
"""Time between the hashes of a track."""
MIN_SPREAD = 4.0
"""Standard deviation of brightness, of 255, below which a frame is flat and its hash says nothing."""
MIN_TELLING = 0.2
"""Share of a clip's hashes that must not be flat for it to be compared at all."""
_INDEX_EVERY = 5
_HUBS = 32
"""Clips that one key of the index names at most, the first in order: thousands that open alike stay affordable."""
_MAX_SHIFTS = 4
"""Shifts in time that are tried for a pair."""
_SHIFT_S = 0.2
_SLACK_S = 0.15
"""How far in time the nearest hash of the other clip may be."""
_KEYS = tuple(itertools.combinations(range(4), 2))
"""A hash is four parts of 16 bits; a key is two of them, so that errors in the other two do not matter."""
_BLOCK = 2048
"""Tracks that ask the index together."""


@dataclass(frozen=True, eq=False)
class Track:
    """Hashes of a clip, flat frames left out."""

    time_s: np.ndarray
    """(N,) float32, ascending, from any zero."""
    hash: np.ndarray
    """(N,) uint64."""

    @classmethod
    def of(cls, time_s: np.ndarray, hashes: np.ndarray, spread: np.ndarray) -> Track:
        """Of a clip's frames (N,): the first of every tenth of a second. Empty where most of the clip is flat."""
        steps = np.floor((time_s - time_s[0]) / STEP_S + 1e-6) if len(time_s) else time_s
        first = np.flatnonzero(np.diff(steps, prepend=-1) > 0)
        telling = first[spread[first] >= MIN_SPREAD]
        if len(telling) < max(2, MIN_TELLING * len(first)):
            telling = telling[:0]
        return cls(time_s[telling].astype(np.float32), hashes[telling].astype(np.uint64))

    def __len__(self) -> int:
        return len(self.hash)


@dataclass(frozen=True)
class Match:
    """Track `first` shows what track `second` shows; `second` comes later in order."""

    first: int
    second: int
    overlap: float
    """Share of the second's hashes that are found in the first, at the best shift in time, 0 to 1."""


def repeats(tracks: Sequence[Track], max_distance: int, min_overlap: float) -> dict[int, Match]:
    """Position -> how it repeats an earlier track that itself repeats none. Order decides which of a pair goes.

    max_distance: bits of 64 in which hashes of the same picture may differ. min_overlap: see `Match.overlap`.
    """
    index = _Index(tracks)
    found: dict[int, Match] = {}
    for start in range(0, len(tracks), _BLOCK):
        for second, first, shifts_s in index.candidates(range(start, min(start + _BLOCK, len(tracks)))):
            if second in found or first in found:
                continue
            share = max(overlap(tracks[first], tracks[second], shift_s, max_distance) for shift_s in shifts_s)
            if share >= min_overlap:
                found[second] = Match(first, second, share)
    return found


def overlap(first: Track, second: Track, shift_s: float, max_distance: int) -> float:
    """Share of the second's hashes that lie near one of the first, `shift_s` later in it, 0 to 1."""
    if not len(first) or not len(second):
        return 0.0
    wanted_s = second.time_s + np.float32(shift_s)
    after = np.searchsorted(first.time_s, wanted_s)
    same = np.zeros(len(second), bool)
    for place in (after - 2, after - 1, after, after + 1):
        inside = place.clip(0, len(first) - 1)
        near = (place == inside) & (np.abs(first.time_s[inside] - wanted_s) <= _SLACK_S)
        same |= near & (np.bitwise_count(first.hash[inside] ^ second.hash) <= max_distance)
    return float(same.mean())


class _Index:
    """Of each of the six keys a sorted table: (key, track) -> time of the first hash that has it."""

    def __init__(self, tracks: Sequence[Track]) -> None:
        self.tracks = tracks
        self.tables = []
        sparse = [Track(track.time_s[::_INDEX_EVERY], track.hash[::_INDEX_EVERY]) for track in tracks]
        owner, time_s, hashes = _joined(sparse, range(len(tracks)))
        for parts in _KEYS:
            keys = _key(hashes, parts)
            order = np.lexsort((time_s, owner, keys))
            keys, owners, times_s = keys[order], owner[order], time_s[order]
            new = np.ones(len(keys), bool)
            new[1:] = (keys[1:] != keys[:-1]) | (owners[1:] != owners[:-1])
            self.tables.append((keys[new], owners[new], times_s[new]))

    def candidates(self, asking: range) -> Iterator[tuple[int, int, list[float]]]:
        """(asking track, earlier track, shifts in time to try), by asking track, most hits first, then by order."""
        owner, time_s, hashes = _joined(self.tracks, asking)
        hits: list[np.ndarray] = []  # rows (asking, earlier, shift in steps)
        for parts, (keys, owners, times_s) in zip(_KEYS, self.tables):
            wanted = _key(hashes, parts)
            low, high = np.searchsorted(keys, wanted), np.searchsorted(keys, wanted, side="right")
            for number in range(min(_HUBS, int((high - low).max(initial=0)))):
                place = low + number
                asks = np.flatnonzero(place < high)
                asks = asks[owners[place[asks]] < owner[asks]]
                rows = place[asks]
                shift = np.round((times_s[rows] - time_s[asks]) / _SHIFT_S)
                hits.append(np.stack([owner[asks], owners[rows], shift.astype(np.int64)], axis=1))
        if not hits:
            return
        triples, counts = np.unique(np.concatenate(hits), axis=0, return_counts=True)
        pairs: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for (second, first, shift), count in zip(triples.tolist(), counts.tolist()):
            pairs.setdefault((second, first), []).append((count, shift))
        ranked = sorted(pairs.items(), key=lambda item: (item[0][0], -sum(c for c, _ in item[1]), item[0][1]))
        for (second, first), shifts in ranked:
            best = sorted(shifts, key=lambda each: (-each[0], abs(each[1]), each[1]))[:_MAX_SHIFTS]
            yield second, first, [shift * _SHIFT_S for _, shift in best]


def _joined(tracks: Sequence[Track], which: range) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(track number, time, hash) of every hash of some tracks."""
    lengths = [len(tracks[number]) for number in which]
    if not sum(lengths):
        return np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros(0, np.uint64)
    owner = np.repeat(np.asarray(which, np.int64), lengths)
    chosen = [tracks[number] for number in which if len(tracks[number])]
    return owner, np.concatenate([track.time_s for track in chosen]), np.concatenate([track.hash for track in chosen])


def _key(hashes: np.ndarray, parts: tuple[int, int]) -> np.ndarray:
    """Two parts of 16 bits of each hash, side by side: (N,) uint32."""
    first, second = (((hashes >> np.uint64(16 * part)) & np.uint64(0xFFFF)).astype(np.uint32) for part in parts)
    return first << np.uint32(16) | second

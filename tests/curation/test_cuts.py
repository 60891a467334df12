"""Cuts are found where the picture changes for good, and nowhere else."""

import numpy as np
import pytest
from drawn import HEIGHT, WIDTH, panned, planes_of, texture, world_shots

from videosyn.curation.config import ShotsConfig
from videosyn.curation.cuts import CutFinder, _change, _least_change


def cuts(frames: np.ndarray, config: ShotsConfig | None = None, fps: float = 24) -> list[int]:
    finder = CutFinder(config or ShotsConfig(), fps)
    strengths = [finder.push(*planes_of(pixels)) for pixels in frames]
    decided = [strength for strength in strengths if strength is not None] + finder.finish()
    assert len(decided) == len(frames)
    return [index for index, strength in enumerate(decided) if strength > 0]


def held(pixels: np.ndarray, num_frames: int) -> np.ndarray:
    return np.repeat(pixels[None], num_frames, axis=0)


def flash() -> np.ndarray:
    frames = panned(1, 40, 1)
    frames[20:22] = 255
    return frames


def interrupted() -> np.ndarray:
    """Another picture for four frames, then the first one again."""
    frames = panned(1, 40, 1)
    frames[20:24] = texture(9)
    return frames


def whipped() -> np.ndarray:
    """A camera that stands, pans by a third of the picture a frame, and stands."""
    wide = texture(3, HEIGHT, WIDTH * 8)
    offsets = np.cumsum([0] * 12 + [30] * 12 + [0] * 12)
    return np.stack([np.roll(wide, -offset, axis=1)[:, :WIDTH] for offset in offsets])


def lamp() -> np.ndarray:
    frames = np.uint8(panned(4, 40, 1) * 0.5)
    frames[20:] += 20
    return frames


def page() -> np.ndarray:
    """A screen on which the middle changes and its frame does not."""
    frames = held(texture(5), 40)
    frames[20:, 16:-8, 16:-16] = texture(6)[16:-8, 16:-16]
    return frames


@pytest.mark.parametrize("film", [flash, interrupted, whipped, lamp, page], ids=lambda film: film.__name__)
def test_what_does_not_change_the_picture_for_good_is_no_cut(film):
    assert cuts(film()) == []


@pytest.mark.parametrize("film", [flash, interrupted, page], ids=lambda film: film.__name__)
def test_unconfirmed_the_detector_takes_them_for_cuts(film):
    assert cuts(film(), ShotsConfig(confirm=False))


def test_cuts_between_drawn_scenes_are_found_on_the_very_frame():
    lengths = [12, 25, 9, 16, 30]
    assert cuts(world_shots([11, 12, 13, 14, 15], lengths)) == np.cumsum(lengths)[:-1].tolist()


def test_the_content_detector_finds_them_too():
    lengths = [12, 14, 12]
    film = world_shots([11, 12, 13], lengths)
    assert cuts(film, ShotsConfig(detector="content")) == np.cumsum(lengths)[:-1].tolist()


def test_a_cut_from_fast_to_calm_and_one_of_half_the_picture_are_found():
    film = np.concatenate([panned(1, 20, 8), panned(2, 20, 1)])
    assert cuts(film) == [20]
    film[:, :, : WIDTH // 2] = texture(7)[:, : WIDTH // 2]
    assert cuts(film) == [20]


def test_a_threshold_of_the_users_own_is_the_detectors():
    film = np.concatenate([panned(1, 20, 1), panned(2, 20, 1)])
    assert cuts(film, ShotsConfig(threshold=3.0)) == [20]
    assert cuts(film, ShotsConfig(threshold=250.0)) == []


def test_films_of_few_frames_have_no_cut():
    for num_frames in (1, 2, 5):
        assert cuts(panned(1, num_frames, 1)) == []


def test_the_bound_that_spares_the_search_never_exceeds_what_the_search_finds():
    import cv2

    rng, ratios = np.random.default_rng(0), []
    for number in range(60):
        old, other = (
            cv2.resize(rng.uniform(0, 255, (*rng.integers(3, 12, 2), 3)).astype(np.float32), (64, 40)) for _ in range(2)
        )
        new = other if number % 2 else np.roll(old, rng.integers(-5, 6, 2), (0, 1)) + rng.normal(0, 2, old.shape)
        new = new.astype(np.float32)
        found = _change(old, new).reshape(5, 8)
        bound = _least_change(old, new)
        assert (bound <= found + 0.01).all()
        ratios.append(float((bound / found).mean()))
    assert np.mean(ratios[1::2]) > 0.2  # of unlike pictures it knows much

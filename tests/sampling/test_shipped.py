"""The model that ships: it is there, small enough for the package, and makes films."""

from __future__ import annotations

import numpy as np
import pytest

from videosyn.sampling.pipeline import VideoSynPipeline
from videosyn.weights import shipped_folder

PROMPT = "a red ball bounces on the grass at sunset"
MOST_BYTES, MOST_BYTES_A_FILE = 24_000_000, 16_000_000


@pytest.fixture(scope="module")
def nano() -> VideoSynPipeline:
    return VideoSynPipeline.from_pretrained("nano", device="cpu", dtype="fp32")


def test_it_is_small():
    folder = shipped_folder("nano")
    assert folder is not None
    sizes = {str(file.relative_to(folder)): file.stat().st_size for file in folder.rglob("*") if file.is_file()}
    assert sum(sizes.values()) <= MOST_BYTES, sizes
    assert max(sizes.values()) < MOST_BYTES_A_FILE, sizes


def test_it_makes_the_same_film_of_a_seed_and_other_films_of_others(nano):
    first, again, other = (nano(PROMPT, num_frames=5, num_steps=2, seed=seed).frames for seed in (3, 3, 4))
    assert first.shape == (1, 5, 96, 96, 3)
    assert np.array_equal(first, again)
    assert (first != other).mean() > 0.1
    assert first.std() > 10  # no single colour


def test_it_knows_its_words(nano):
    assert nano.unknown_words([PROMPT]) == []

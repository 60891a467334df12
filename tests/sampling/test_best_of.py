"""Best of several: the candidates, their seeds, and who is chosen."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from videosyn.core.errors import UserError
from videosyn.sampling.best_of import BestOf
from videosyn.sampling.output import VideoOutput, together


class Pipeline:
    """Films whose every level is their seed's, three at a time."""

    def batches(self, prompts, seed=0, num_videos=1, **how):
        asked = [prompt for prompt in prompts for _ in range(num_videos)]
        for start in range(0, len(asked), 3):
            some = asked[start : start + 3]
            seeds = [seed + start + number for number in range(len(some))]
            frames = np.stack([np.full((9, 8, 8, 3), each, np.uint8) for each in seeds])
            yield VideoOutput(frames, 8.0, some, seeds)

    __call__ = together(batches)


pipeline = Pipeline()


class Captioner:
    """Likes films of a certain level for each prompt."""

    num_frames = 4

    def __init__(self, liked: dict[str, int]) -> None:
        self.liked, self.asked = liked, []

    def log_likelihood(self, clips, texts, times=None):
        self.asked.append((clips.shape, times[0]))
        return np.array([-abs(clip.mean() - self.liked[text]) for clip, text in zip(clips, texts)])


def test_each_film_is_the_best_of_its_own_candidates():
    captioner = Captioner({"a ball": 12, "a cube": 15})
    films = BestOf(pipeline, captioner, 4)(["a ball", "a cube"], seed=10)
    assert films.seeds == [12, 15]
    assert films.prompts == ["a ball", "a cube"]
    assert [film.mean() for film in films.frames] == [12, 15]
    assert captioner.asked[0] == ((4, 4, 8, 8, 3), [0.0, 0.375, 0.625, 1.0])


def test_several_films_of_a_prompt_have_candidates_of_their_own():
    films = BestOf(pipeline, Captioner({"a ball": 3}), 2)("a ball", seed=0, num_videos=3)
    assert films.seeds == [1, 3, 4]


def test_a_chosen_films_seed_gives_it_again():
    films = BestOf(pipeline, Captioner({"a ball": 7}), 8)("a ball", seed=2)
    np.testing.assert_array_equal(pipeline(["a ball"], seed=films.seeds[0]).frames, films.frames)


def test_a_film_is_there_as_soon_as_its_candidates_are():
    films = BestOf(pipeline, Captioner({"a ball": 3}), 2).batches("a ball", seed=0, num_videos=3)
    assert [(len(each.frames), each.seeds) for each in films] == [(1, [1]), (1, [3]), (1, [4])]


def test_one_candidate_is_the_pipeline_itself():
    films = BestOf(pipeline, Captioner({"a ball": 0}), 1)("a ball", seed=5)
    assert films.seeds == [5]


def test_what_cannot_be_chosen_from_is_refused():
    with pytest.raises(UserError, match="best-of must be at least 1, got 0"):
        BestOf(pipeline, SimpleNamespace(), 0)
    with pytest.raises(UserError, match="best-of takes one seed"):
        BestOf(pipeline, SimpleNamespace(), 2)(["a"], seed=[1, 2])

"""Best of several: films of one prompt, of which a captioner chooses the one that the prompt tells best.

A captioner that was trained apart from the generator knows what a film shows; how likely it finds the prompt as a text
about the film is a score that needs no ground truth (selection by a verifier: arXiv 2408.03314 for texts, 2501.09732
for pictures). Next: `pipeline.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from videosyn.captioner.clip_captioner import MemoryCaptioner
from videosyn.captioner.frames import evenly_spaced
from videosyn.core.errors import UserError
from videosyn.sampling.output import VideoOutput, together

if TYPE_CHECKING:
    from videosyn.sampling.foreign import ForeignPipeline
    from videosyn.sampling.pipeline import VideoSynPipeline


class BestOf:
    """A pipeline that makes `count` films for each one and gives the best; called as the pipeline in it is."""

    def __init__(self, pipeline: VideoSynPipeline | ForeignPipeline, captioner: MemoryCaptioner, count: int) -> None:
        """A UserError for a count below 1."""
        if count < 1:
            raise UserError(f"best-of must be at least 1, got {count}: use 4")
        self.pipeline, self.captioner, self.count = pipeline, captioner, count

    def batches(
        self,
        prompt: str | Sequence[str],
        seed: int | Sequence[int] = 0,
        num_videos: int = 1,
        preview: Callable[..., None] | None = None,
        **how: Any,
    ) -> Iterator[VideoOutput]:
        """`num_videos` films for each prompt, one after the other, each the best of `count` with seeds of their own.

        The candidates of film i have the seeds from seed + i x count on; the film's seed is the chosen candidate's,
        with which the pipeline alone makes it again. preview is not called: nobody knows yet which film it will be.
        """
        if not isinstance(seed, int | np.integer):
            raise UserError("best-of takes one seed, from which those of all candidates come")
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        films: list[np.ndarray] = []
        seeds: list[int] = []
        for made in self.pipeline.batches(prompts, seed=seed, num_videos=num_videos * self.count, **how):
            for film, text, own_seed in zip(made.frames, made.prompts, made.seeds):
                films.append(film)
                seeds.append(own_seed)
                if len(films) < self.count:
                    continue
                candidates = np.stack(films)
                best = int(self.score(candidates, [text] * self.count).argmax())
                yield replace(made, frames=candidates[[best]], prompts=[text], seeds=[seeds[best]])
                films, seeds = [], []

    __call__ = together(batches)

    def score(self, films: np.ndarray, prompts: Sequence[str]) -> np.ndarray:
        """Films uint8 (N, T, H, W, 3) and their prompts -> mean log-likelihood of each prompt's tokens (N,), nats."""
        numbers = evenly_spaced(films.shape[1], self.captioner.num_frames)
        times = [[number / max(1, films.shape[1] - 1) for number in numbers]] * len(films)
        return self.captioner.log_likelihood(films[:, numbers], prompts, times)

    def unknown_words(self, prompts: Sequence[str]) -> list[str]:
        """As the pipeline says."""
        return self.pipeline.unknown_words(prompts)

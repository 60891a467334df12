"""What a pipeline gives: films, a batch after another or all together. Next: `pipeline.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import ParamSpec

import numpy as np

P = ParamSpec("P")


@dataclass(frozen=True)
class VideoOutput:
    """The films of one call, in the order of the prompts, each prompt's films together."""

    frames: np.ndarray
    """uint8 (N, T, H, W, 3), RGB."""
    fps: float
    prompts: list[str]
    """The prompt of each film."""
    seeds: list[int]
    """The seed of each film: alone with it, the prompt gives that film again."""
    notes: tuple[str, ...] = ()
    """What was done otherwise than asked or usual, for the user to read."""
    notes_by_prompt: Mapping[str, str] = field(default_factory=dict)
    """Prompt -> the one of `notes` that concerns its films alone."""

    def notes_of(self, index: int) -> tuple[str, ...]:
        """The notes on one film: those that concern all, and its prompt's own."""
        own = self.notes_by_prompt.get(self.prompts[index])
        others = set(self.notes_by_prompt.values()) - {own}
        return tuple(note for note in self.notes if note not in others)


def together(batches: Callable[P, Iterator[VideoOutput]]) -> Callable[P, VideoOutput]:
    """The same function, but it gives all films at once, when the last one is made."""

    @wraps(batches)
    def call(*args: P.args, **kwargs: P.kwargs) -> VideoOutput:
        made = list(batches(*args, **kwargs))
        return VideoOutput(
            made[0].frames if len(made) == 1 else np.concatenate([each.frames for each in made]),
            made[0].fps,
            [prompt for each in made for prompt in each.prompts],
            [seed for each in made for seed in each.seeds],
            tuple(dict.fromkeys(note for each in made for note in each.notes)),
            {prompt: note for each in made for prompt, note in each.notes_by_prompt.items()},
        )

    return call

"""The random numbers of one step: the same for a clip whichever process computes it, and in however many parts."""

from __future__ import annotations

import torch
from torch import Tensor


class Draws:
    """Numbers for clips `first` to `first + size` of a batch of `whole`: a function of `seed` and places alone."""

    def __init__(
        self, seed: int, size: int, first: int = 0, whole: int = 0, device: str | torch.device = "cpu"
    ) -> None:
        self.seed, self.size, self.first = seed, size, first
        self.whole = whole or size
        self.device = torch.device(device)
        self.generator = torch.Generator(self.device).manual_seed(seed)
        """For what is drawn for the whole batch, of which `own` are these clips' numbers."""

    def own(self, drawn: Tensor) -> Tensor:
        """(whole, ...) -> (size, ...)."""
        return drawn[self.first : self.first + self.size]

    def normal(self, *shape: int) -> Tensor:
        """(size, *shape) fp32 on the device: noise of each clip."""
        generator = torch.Generator(self.device)
        clips = []
        for place in range(self.first, self.first + self.size):
            generator.manual_seed((self.seed * 69_069 + 1 + place) % 2**62)
            clips.append(torch.randn(shape, generator=generator, device=self.device))
        return torch.stack(clips)

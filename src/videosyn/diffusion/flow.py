"""Rectified flow: a straight line from latents to noise, and its velocity. arXiv 2209.03003; sampler: `euler.py`."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from videosyn.core.errors import UserError
from videosyn.diffusion.objective import per_frame


@dataclass(frozen=True)
class FlowMatching:
    """The objective of new models. Fulfils `Objective`."""

    base_tokens: int = 256
    """number of tokens at which times are not shifted"""
    logit_mean: float = 0.0
    """mean of the training times' logits, before the shift"""
    logit_std: float = 1.0
    """their standard deviation; SD3's choice is (0, 1), arXiv 2403.03206 section 3.1"""

    def __post_init__(self) -> None:
        if self.base_tokens < 1:
            raise UserError(f"base_tokens must be at least 1, got {self.base_tokens}")
        if self.logit_std <= 0:
            raise UserError(f"logit_std must be above 0, got {self.logit_std}")

    def shift(self, times: Tensor, num_tokens: int) -> Tensor:
        """Times of a `base_tokens` clip -> those as noisy for one of `num_tokens`: SD3 eq. 23. Fixes 0 and 1.

        More tokens say the same more often, so more noise is needed to hide it; training and sampling shift alike.
        """
        return shifted(times, self.shift_ratio(num_tokens))

    def draw_times(self, batch: int, num_tokens: int, generator: torch.Generator, device: torch.device) -> Tensor:
        logits = self.logit_mean + self.logit_std * torch.randn(batch, generator=generator, device=generator.device)
        return self.shift(logits.sigmoid(), num_tokens).clamp(1e-4, 1 - 1e-4).to(device)

    def corrupt(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        return torch.lerp(latents, noise, per_frame(times).to(latents.dtype))

    def target(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """The velocity d(noisy latents)/d(time), the same at every time."""
        return noise - latents

    def timestep(self, times: Tensor) -> Tensor:
        return 1000 * times

    def sampling_times(self, num_steps: int, num_tokens: int, shift: float | None = None) -> Tensor:
        """(num_steps + 1,) float32 from 1 down to 0, shifted as in training, or by the ratio that is asked for."""
        if num_steps < 1:
            raise UserError(f"steps must be at least 1, got {num_steps}")
        times = torch.linspace(1, 0, num_steps + 1)
        if shift is None:
            return self.shift(times, num_tokens)
        return shifted(times, shift)

    def shift_ratio(self, num_tokens: int) -> float:
        """The ratio by which odds of noise against signal are raised for clips of `num_tokens`."""
        return (num_tokens / self.base_tokens) ** 0.5


def shifted(times: Tensor, ratio: float) -> Tensor:
    """Times with their odds t / (1 - t) multiplied by `ratio`: above 1, more steps where noise is strong."""
    if not ratio > 0:
        raise UserError(f"shift must be above 0, got {ratio:g}: use 1 for none, 3 for large videos")
    return ratio * times / (1 + (ratio - 1) * times)

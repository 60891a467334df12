"""The interface of an objective. Next: `flow.py`, the default; `epsilon.py`, the paper's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

Predict = Callable[[Tensor, Tensor], Tensor]
"""latents (B, Z, t, h, w), timestep (B,) or (B, t) in [0, 1000] -> prediction (B, Z, t, h, w)"""


class Objective(Protocol):
    """Times run from 0, clean, to 1, noise; (B,), or (B, t) where frames differ: a given frame has time 0."""

    def draw_times(self, batch: int, num_tokens: int, generator: torch.Generator, device: torch.device) -> Tensor:
        """Training times (B,) in (0, 1)."""
        ...

    def corrupt(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """Latents and noise (B, Z, t, h, w) -> noisy latents; a frame at time 0 is returned as it is."""
        ...

    def target(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """What the model shall predict from the corrupted latents: (B, Z, t, h, w)."""
        ...

    def timestep(self, times: Tensor) -> Tensor:
        """Times -> the number the model is told, in [0, 1000]."""
        ...


def per_frame(times: Tensor) -> Tensor:
    """(B,) or (B, t) -> (B, 1, 1 or t, 1, 1), to go with latents."""
    return times.reshape(len(times), 1, -1, 1, 1)

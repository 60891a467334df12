"""The flow sampler."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from videosyn.diffusion.objective import Predict, per_frame


def euler(
    velocity: Predict,
    latents: Tensor,
    times: Tensor,
    given: Tensor | None = None,
    on_step: Callable[[int], None] = lambda step: None,
) -> Tensor:
    """Follows dx/dt = velocity(x, t) along `times` (steps + 1,), from 1, noise, down to 0: latents (B, Z, t, h, w).

    given: (B, t) bool, True for frames that are clean already: the model is told time 0 for them, and they stay.
    on_step is called with the number of steps done.
    """
    moving = torch.ones(len(latents), 1) if given is None else (~given).float()
    moving = moving.to(latents.device)
    for step, (now, after) in enumerate(pairwise(times.tolist()), start=1):
        timestep = 1000 * now * moving
        change = velocity(latents, timestep[:, 0] if given is None else timestep)
        latents = latents + per_frame((after - now) * moving).to(latents.dtype) * change
        on_step(step)
    return latents

"""Flow samplers that look at how the velocity changes: as exact as Euler with several times the steps."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from videosyn.diffusion.objective import Predict, per_frame


def heun(
    velocity: Predict,
    latents: Tensor,
    times: Tensor,
    given: Tensor | None = None,
    on_step: Callable[[int], None] = lambda step: None,
) -> Tensor:
    """Arguments as `euler`'s. A step takes the mean of the velocities at its two ends: two predictions, the last one
    step excepted, for time 0 says given. arXiv 2206.00364, algorithm 1 without its noise.
    """
    moving = _moving(latents, given)
    for step, (now, after) in enumerate(pairwise(times.tolist()), start=1):
        change = _at(velocity, latents, now, moving, given)
        ahead = _moved(latents, change, after - now, moving)
        if after > 0:
            ahead = _moved(latents, (change + _at(velocity, ahead, after, moving, given)) / 2, after - now, moving)
        latents = ahead
        on_step(step)
    return latents


def ab2(
    velocity: Predict,
    latents: Tensor,
    times: Tensor,
    given: Tensor | None = None,
    on_step: Callable[[int], None] = lambda step: None,
) -> Tensor:
    """Arguments as `euler`'s. Adams and Bashforth's second order: a step carries on the change of velocity since the
    step before, one prediction a step. Hairer, Nørsett, Wanner, Solving ODEs I, section III.5, for uneven steps.
    """
    moving = _moving(latents, given)
    before, taken = None, 0.0
    for step, (now, after) in enumerate(pairwise(times.tolist()), start=1):
        change = _at(velocity, latents, now, moving, given)
        led = change if before is None else change + (after - now) / (2 * taken) * (change - before)
        latents = _moved(latents, led, after - now, moving)
        before, taken = change, after - now
        on_step(step)
    return latents


def _moving(latents: Tensor, given: Tensor | None) -> Tensor:
    """1 for what is drawn, 0 for what is given: (B, 1 or t)."""
    moving = torch.ones(len(latents), 1) if given is None else (~given).float()
    return moving.to(latents.device)


def _at(velocity: Predict, latents: Tensor, time: float, moving: Tensor, given: Tensor | None) -> Tensor:
    timestep = 1000 * time * moving
    return velocity(latents, timestep[:, 0] if given is None else timestep)


def _moved(latents: Tensor, change: Tensor, step: float, moving: Tensor) -> Tensor:
    return latents + per_frame(step * moving).to(latents.dtype) * change

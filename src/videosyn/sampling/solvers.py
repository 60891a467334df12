"""From pure noise to latents by the solver asked for: ours for flow models, and diffusers' for either objective."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from videosyn.core.errors import UserError
from videosyn.diffusion.epsilon import EpsilonDDPM, sample_with_scheduler
from videosyn.diffusion.euler import euler
from videosyn.diffusion.flow import FlowMatching
from videosyn.diffusion.objective import Predict
from videosyn.diffusion.second_order import ab2, heun

_FLOW_SOLVERS = {"euler": euler, "heun": heun, "ab2": ab2}
_FLOW_SCHEDULERS = {"dpm++": "DPMSolverMultistepScheduler", "unipc": "UniPCMultistepScheduler"}


def solve(
    objective: FlowMatching | EpsilonDDPM,
    sampler: str,
    predict: Predict,
    noise: Tensor,
    num_steps: int,
    num_tokens: int,
    on_step: Callable[[int], None],
    given: Tensor | None = None,
    seeds: Sequence[int] = (),
    shift: float | None = None,
) -> Tensor:
    """noise (B, Z, t, h, w) -> latents of the same shape. num_tokens: N of one video, on which flow's times depend.
    shift: instead of what training did for that number; a flow's alone.

    given: (B, t) bool, True for frames of `noise` that are clean already and stay. seeds: one a film, from which a
    solver that draws noise on its way (ddpm) draws it, on the CPU.

    Raises UserError where the sampler does not go with the objective, or diffusers is not installed.
    """
    if isinstance(objective, FlowMatching) and sampler in _FLOW_SOLVERS:
        times = objective.sampling_times(num_steps, num_tokens, shift)
        return _FLOW_SOLVERS[sampler](predict, noise, times, given, on_step)
    if shift is not None and not isinstance(objective, FlowMatching):
        raise UserError("shift is for flow models, and this one predicts noise: leave it out")
    try:
        scheduler = _scheduler(objective, sampler, num_tokens, shift)
    except ImportError as error:
        raise UserError(f"the {sampler} sampler needs diffusers: pip install 'videosyn[diffusers]'") from error
    return sample_with_scheduler(scheduler, predict, noise, num_steps, given, _later_noise(seeds), on_step)


def _later_noise(seeds: Sequence[int]) -> list[torch.Generator] | None:
    """A generator a film, far from the one of its first noise, so that the same noise is not drawn twice."""
    return [torch.Generator().manual_seed((seed + 2**62) % 2**63) for seed in seeds] or None


def _scheduler(objective: FlowMatching | EpsilonDDPM, sampler: str, num_tokens: int, shift: float | None) -> Any:
    if isinstance(objective, EpsilonDDPM):
        return objective.scheduler(sampler)
    if sampler not in _FLOW_SCHEDULERS:
        known = ", ".join([*_FLOW_SOLVERS, *_FLOW_SCHEDULERS])
        raise UserError(f"a flow model's sampler must be {known}, got {sampler!r}: use euler")
    import diffusers

    ratio = objective.shift_ratio(num_tokens) if shift is None else shift
    return getattr(diffusers, _FLOW_SCHEDULERS[sampler])(
        prediction_type="flow_prediction",
        use_flow_sigmas=True,
        flow_shift=ratio,  # diffusers shifts by the same formula
    )

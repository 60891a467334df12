"""From pure noise to latents by the solver asked for: Euler, ours, for flow models; the others are diffusers'."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from videosyn.core.errors import UserError
from videosyn.diffusion.epsilon import EpsilonDDPM, sample_with_scheduler
from videosyn.diffusion.euler import euler
from videosyn.diffusion.flow import FlowMatching
from videosyn.diffusion.objective import Predict

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
) -> Tensor:
    """noise (B, Z, t, h, w) -> latents of the same shape. num_tokens: N of one video, on which flow's times depend.

    given: (B, t) bool, True for frames of `noise` that are clean already and stay.

    Raises UserError where the sampler does not go with the objective, or diffusers is not installed.
    """
    if isinstance(objective, FlowMatching) and sampler == "euler":
        return euler(predict, noise, objective.sampling_times(num_steps, num_tokens), given, on_step)
    try:
        scheduler = _scheduler(objective, sampler, num_tokens)
    except ImportError as error:
        raise UserError(f"the {sampler} sampler needs diffusers: pip install 'videosyn[diffusers]'") from error
    return sample_with_scheduler(scheduler, predict, noise, num_steps, given, on_step=on_step)


def _scheduler(objective: FlowMatching | EpsilonDDPM, sampler: str, num_tokens: int) -> Any:
    if isinstance(objective, EpsilonDDPM):
        return objective.scheduler(sampler)
    if sampler not in _FLOW_SCHEDULERS:
        raise UserError(
            f"a flow model's sampler must be euler, {', '.join(_FLOW_SCHEDULERS)}, got {sampler!r}: use euler"
        )
    import diffusers

    middle = float(objective.shift(torch.tensor(0.5), num_tokens))
    return getattr(diffusers, _FLOW_SCHEDULERS[sampler])(
        prediction_type="flow_prediction",
        use_flow_sigmas=True,
        flow_shift=middle / (1 - middle),  # diffusers shifts by the same formula and asks for its ratio
    )

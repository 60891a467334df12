"""Our objectives as diffusers' schedulers, such that sampling is the same."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from diffusers.schedulers.scheduling_utils import SchedulerMixin

from videosyn.core import config as config_io
from videosyn.core.errors import UserError
from videosyn.diffusion.epsilon import SCHEDULERS, EpsilonDDPM
from videosyn.diffusion.flow import FlowMatching

Objective = FlowMatching | EpsilonDDPM
OBJECTIVES = {cls.__name__: cls for cls in (FlowMatching, EpsilonDDPM)}
SCHEDULER_KEY = "_diffusers"
"""In scheduler_config.json, beside the objective: the config of the scheduler that a pipeline was saved with."""


def make_scheduler(objective: Objective, sampler: str) -> Any:
    """The diffusers scheduler for our sampler's name; `from_config(scheduler.config)` of another class keeps it right.

    Flow: FlowMatchEulerDiscreteScheduler for "euler" and our own heun and ab2, or dpm++ and unipc; their shift by the
    number of tokens is set at each call. Epsilon: ddpm, ddim, dpm++, unipc; "euler", the default of new pipelines, is
    read as ddim.
    """
    if isinstance(objective, EpsilonDDPM):
        return objective.scheduler("ddim" if sampler == "euler" else sampler)
    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, base_image_seq_len=objective.base_tokens)
    scheduler.register_to_config(  # what the multistep schedulers ask for, and so take over from this config
        _class_name=type(scheduler).__name__, use_flow_sigmas=True, prediction_type="flow_prediction"
    )
    if sampler in ("euler", "heun", "ab2"):
        return scheduler
    if sampler not in ("dpm++", "unipc"):
        raise UserError(f"a flow model's sampler must be euler, dpm++ or unipc, got {sampler!r}: use euler")
    return getattr(diffusers, SCHEDULERS[sampler]).from_config(scheduler.config)


def set_timesteps(
    scheduler: Any, objective: Objective, num_steps: int, num_tokens: int, device: torch.device | str
) -> None:
    """Prepares `num_steps` steps for videos of `num_tokens` tokens, on which a flow's times depend as in training.

    A scheduler made without dynamic shifting keeps the shift it was made with. A UserError where it does not go with
    the objective.
    """
    if num_steps < 1:
        raise UserError(f"num_inference_steps must be at least 1, got {num_steps}")
    check_fits(scheduler, objective)
    options: dict[str, Any] = {}
    if scheduler.config.get("use_dynamic_shifting") and isinstance(objective, FlowMatching):
        middle = float(objective.shift(torch.tensor(0.5, dtype=torch.float64), num_tokens))
        ratio = middle / (1 - middle)
        linear = scheduler.config.get("time_shift_type") == "linear"
        options["mu"] = ratio if linear else math.log(ratio)
    if isinstance(scheduler, FlowMatchEulerDiscreteScheduler):
        options["sigmas"] = np.linspace(1, 1 / num_steps, num_steps).tolist()
    scheduler.set_timesteps(num_steps, device=device, **options)


def check_fits(scheduler: Any, objective: Objective) -> None:
    """A UserError where a model trained for one objective would be sampled with the other's scheduler."""
    config = scheduler.config
    predicts = config.get("prediction_type")
    if isinstance(objective, FlowMatching):
        fits = config.get("use_flow_sigmas") and predicts == "flow_prediction"
        fits = fits or isinstance(scheduler, FlowMatchEulerDiscreteScheduler)
    else:
        fits = predicts == "epsilon" and not config.get("use_flow_sigmas")
    if config.get("variance_type") == "learned_range" and not isinstance(scheduler, DDPMScheduler):
        raise UserError(
            f"{type(scheduler).__name__} does not use this model's learned variances: "
            "make it by from_config(pipe.scheduler.config, variance_type=None)"
        )
    if fits:
        return
    raise UserError(
        f"{type(scheduler).__name__} as it is configured does not sample a {type(objective).__name__} model: "
        "make it by from_config(pipe.scheduler.config)"
    )


def to_entries(objective: Objective) -> dict[str, Any]:
    """The objective as scheduler_config.json has it."""
    return {"_class_name": type(objective).__name__, **config_io.to_dict(objective)}


def from_entries(entries: Mapping[str, Any], where: str | Path) -> Objective:
    """The inverse. A UserError, which begins with `where`, unless it is one of our objectives."""
    name = entries.get("_class_name")
    if name not in OBJECTIVES:
        raise UserError(f"{where} must describe one of {', '.join(OBJECTIVES)}, but its _class_name is {name!r}")
    return config_io.from_dict(OBJECTIVES[name], entries, str(where))


def note_scheduler(path: Path, scheduler: Any) -> None:
    """Writes the scheduler's config into scheduler_config.json as a note, which our own loader skips."""
    config = {**scheduler.config, "_class_name": type(scheduler).__name__}
    config_io.write_json({**config_io.read_json(path), SCHEDULER_KEY: config}, path)


def load_scheduler(path: Path, objective: Objective, sampler: str) -> Any:
    """The scheduler noted in scheduler_config.json; without a note the one of our sampler's name."""
    note = config_io.read_json(path).get(SCHEDULER_KEY)
    if note is None:
        return make_scheduler(objective, sampler)
    scheduler_class = getattr(diffusers, str(note.get("_class_name")), None)
    if not (isinstance(scheduler_class, type) and issubclass(scheduler_class, SchedulerMixin)):
        raise UserError(f"{path}: {note.get('_class_name')!r} is no scheduler of this diffusers: upgrade diffusers")
    return scheduler_class.from_config(note)  # pyright: ignore[reportAttributeAccessIssue]

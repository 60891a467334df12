"""The paper's objective: predict the noise (Eq. 1), over DDPM's linear schedule as PixArt and Open-Sora use it.

Sampling goes through diffusers' schedulers, imported when asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from videosyn.core.errors import UserError
from videosyn.diffusion.objective import Predict, per_frame

SCHEDULERS = {
    "ddpm": "DDPMScheduler",
    "ddim": "DDIMScheduler",
    "dpm++": "DPMSolverMultistepScheduler",
    "unipc": "UniPCMultistepScheduler",
}
"""our name -> diffusers' class"""
DOWN_TO_THE_LAST = ("ddpm", "ddim")
"""Samplers whose steps end at the cleanest level: a single one would be that level, and noise be taken for clean."""

TINY_TIMESTEP = 1e-3
"""What frames that are not given are told at the last level, 0, where others are given."""


@dataclass(frozen=True)
class EpsilonDDPM:
    """Noise prediction over `num_levels` noise levels. Fulfils `Objective`; time (k + 1/2) / num_levels is level k."""

    num_levels: int = 1000
    """noise levels, 0 the cleanest"""
    beta_start: float = 1e-4
    """variance added at the first level"""
    beta_end: float = 0.02
    """variance added at the last; between them linear"""
    guided_channels: int = 0
    """latent channels that guidance acts on, from the first; 0: all. Open-Sora 1.1 guides three of four"""
    learned_variance: bool = False
    """the model's second half of channels says where each step's variance lies between the least and the largest that
    make sense (arXiv 2102.09672 eq. 15); only ddpm draws noise, and so asks. Levels are spread evenly from the last"""

    def __post_init__(self) -> None:
        if self.num_levels < 1:
            raise UserError(f"num_levels must be at least 1, got {self.num_levels}")
        if self.guided_channels < 0:
            raise UserError(f"guided_channels must be at least 0, got {self.guided_channels}")
        if not 0 < self.beta_start <= self.beta_end < 1:
            raise UserError(f"betas must be 0 < start <= end < 1, got {self.beta_start} and {self.beta_end}")

    def draw_times(self, batch: int, num_tokens: int, generator: torch.Generator, device: torch.device) -> Tensor:
        """Levels drawn uniformly, whatever the number of tokens."""
        levels = torch.randint(self.num_levels, (batch,), generator=generator, device=generator.device)
        return ((levels + 0.5) / self.num_levels).to(device)

    def corrupt(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        signal = per_frame(self.signal_share(times))
        return (signal.sqrt() * latents + (1 - signal).sqrt() * noise).to(latents.dtype)

    def target(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        return noise

    def timestep(self, times: Tensor) -> Tensor:
        return self._level(times) * (1000 / self.num_levels)

    def signal_share(self, times: Tensor) -> Tensor:
        """Variance that is signal (alpha bar) at `times`: the same shape, float32; 1 at time 0."""
        betas = torch.linspace(self.beta_start, self.beta_end, self.num_levels, device=times.device)
        shares = (1 - betas).cumprod(dim=0)[self._level(times)]
        return torch.where(times > 0, shares, 1.0)

    def scheduler(self, name: str) -> Any:
        """A diffusers scheduler with this schedule: ddpm, ddim, dpm++ or unipc."""
        if name not in SCHEDULERS:
            raise UserError(f"sampler must be one of {', '.join(SCHEDULERS)}, got {name!r}")
        import diffusers  # seconds to import; only users of these samplers pay

        options: dict[str, Any] = {"clip_sample": False} if name in ("ddpm", "ddim") else {}  # latents exceed 1
        if self.learns_variance_of(name):
            options |= {"variance_type": "learned_range", "timestep_spacing": "linspace"}
        return getattr(diffusers, SCHEDULERS[name])(
            num_train_timesteps=self.num_levels,
            beta_start=self.beta_start,
            beta_end=self.beta_end,
            beta_schedule="linear",
            **options,
        )

    def check_steps(self, sampler: str, num_steps: int) -> None:
        """A UserError unless so many steps of that sampler lead from noise to clean."""
        least = 2 if sampler in DOWN_TO_THE_LAST else 1
        if not least <= num_steps <= self.num_levels:
            nearest = max(least, min(num_steps, self.num_levels))
            raise UserError(
                f"steps of {sampler} must lie within {least} and {self.num_levels}, the noise levels of this model, "
                f"got {num_steps}: use {nearest}"
            )

    def learns_variance_of(self, sampler: str) -> bool:
        """Whether this sampler takes the model's second half of channels."""
        return self.learned_variance and sampler == "ddpm"

    def _level(self, times: Tensor) -> Tensor:
        return (times * self.num_levels).long().clamp(0, self.num_levels - 1)


def sample_with_scheduler(
    scheduler: Any,
    predict: Predict,
    latents: Tensor,
    num_steps: int,
    given: Tensor | None = None,
    generator: torch.Generator | list[torch.Generator] | None = None,
    on_step: Callable[[int], None] = lambda step: None,
) -> Tensor:
    """Denoises latents (B, Z, t, h, w) from pure noise with a diffusers scheduler; given (B, t) bool as in `euler`."""
    if num_steps < 1:
        raise UserError(f"steps must be at least 1, got {num_steps}")
    scheduler.set_timesteps(num_steps, device=latents.device)
    takes_generator = "generator" in scheduler.step.__code__.co_varnames
    to_timestep = 1000 / scheduler.config.num_train_timesteps  # models are told 0 to 1000, as in training
    clean = latents
    for step, level in enumerate(scheduler.timesteps, start=1):
        timestep = (level.float() * to_timestep).expand(len(latents))
        if given is not None:
            timestep = timestep.clamp_min(TINY_TIMESTEP)[:, None] * ~given  # 0 says given
        noise = predict(scheduler.scale_model_input(latents, level), timestep)
        extra = {"generator": generator} if takes_generator else {}
        latents = scheduler.step(noise, level, latents, **extra).prev_sample
        if given is not None:
            latents = torch.where(per_frame(given), clean, latents)
        on_step(step)
    return latents

"""What a film of another pipeline looks like on its way: where its last two latents point to, a frame of it decoded.

Every scheduler mixes x = a x0 + b n, the film x0 with noise n, less of it from step to step. Two looks at levels (a, b)
and (a', b') give x0 = (b x' - b' x) / (a' b - a b'). That is the prediction itself where a step follows one prediction
(Euler for flows, DDIM), and near it for solvers of higher order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from videosyn.core.errors import UserError
from videosyn.sampling.pipeline import to_frames

TIME_FIRST = ("CogVideoX", "ConsisID")
"""Pipelines, by the beginning of their names, whose latents are (B, t, Z, h, w)."""


class ForeignPreview:
    """Sees the latents of one call after each of its steps."""

    def __init__(self, pipeline: Any, decode: Callable[[Tensor], Tensor], size: Sequence[int | None]) -> None:
        """decode: normalised latents (B, Z, t, h, w) -> video. size: the film's frames, height and width in pixels, for
        latents that are packed; None: not known."""
        self._pipeline, self._decode, self._size = pipeline, decode, size
        self._looks: list[tuple[Tensor, tuple[float, float]]] = []

    def see(self, step: int, latents: Tensor | None) -> None:
        """step: from 0, the one that is done. latents: as they are after it."""
        level = level_after(self._pipeline.scheduler, step)
        if latents is None or level is None:
            self._looks.clear()
        else:
            self._looks = [*self._looks[-1:], (latents, level)]

    @property
    def ready(self) -> bool:
        """Whether there is something to see: not before the second step."""
        return len(self._looks) == 2

    @torch.no_grad()
    def pictures(self) -> np.ndarray:
        """uint8 (B, H, W, 3): the middle latent frame of each film, decoded alone.

        Raises UserError where this pipeline's latents or VAE are of a kind that is not known here.
        """
        (before, (signal, noise)), (after, (signal_now, noise_now)) = self._looks
        clean = (noise * after.float() - noise_now * before.float()) / (signal_now * noise - signal * noise_now)
        try:
            unpacked = self._unpacked(clean)  # (B, Z, t, h, w)
            middle = unpacked.shape[2] // 2
            vae_dtype = next(self._pipeline.vae.parameters()).dtype
            return to_frames(self._decode(unpacked[:, :, middle : middle + 1].to(vae_dtype)))[:, -1]
        except (UserError, AttributeError, TypeError, ValueError, RuntimeError) as error:
            why = " ".join(str(error).split())[:150]
            raise UserError(
                f"films of a {type(self._pipeline).__name__} cannot be shown on their way: {why}"
            ) from error

    def _unpacked(self, latents: Tensor) -> Tensor:
        pipeline, name = self._pipeline, type(self._pipeline).__name__
        if latents.ndim == 5:
            return rearrange(latents, "b t z h w -> b z t h w") if name.startswith(TIME_FIRST) else latents
        num_frames, height, width = self._size
        if latents.ndim != 3 or num_frames is None or height is None or width is None:
            raise ValueError(f"latents of {latents.ndim} axes")
        space, time = pipeline.vae_spatial_compression_ratio, pipeline.vae_temporal_compression_ratio
        return pipeline._unpack_latents(
            latents,
            (num_frames - 1) // time + 1,
            height // space,
            width // space,
            pipeline.transformer_spatial_patch_size,
            pipeline.transformer_temporal_patch_size,
        )


def level_after(scheduler: Any, step: int) -> tuple[float, float] | None:
    """(a, b) of x = a x0 + b n once the step, counted from 0, is done; None for schedulers that are not known here."""
    times, sigmas = scheduler.timesteps, getattr(scheduler, "sigmas", None)
    if sigmas is not None:
        if len(sigmas) != len(times) + 1:  # more than one prediction a step
            return None
        sigma = sigmas[step + 1]
        if type(scheduler).__name__.startswith("FlowMatch"):
            return 1 - float(sigma), float(sigma)
        if hasattr(scheduler, "_sigma_to_alpha_sigma_t"):
            signal, noise = scheduler._sigma_to_alpha_sigma_t(torch.as_tensor(sigma))
            return float(signal), float(noise)
        return None
    alphas = getattr(scheduler, "alphas_cumprod", None)
    if alphas is None:
        return None
    last = getattr(scheduler, "final_alpha_cumprod", 1.0)
    share = float(alphas[int(times[step + 1])] if step + 1 < len(times) else last)
    return share**0.5, (1 - share) ** 0.5

"""Classifier-free guidance: uncond + scale * (cond - uncond), both in one forward. Paper Eq. 2, arXiv 2207.12598."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from videosyn.core.errors import UserError

Model = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor | None, Tensor | None], Tensor]
"""latents, timestep, text, text_mask, fps, height_width -> prediction, as `VDiT.forward`"""


@dataclass(frozen=True)
class Guidance:
    """A model, a text and a null text as one `Predict`: latents, timestep -> guided prediction (B, Z, t, h, w)."""

    model: Model
    text: Tensor
    """(B, L, E) features of the prompt"""
    text_mask: Tensor
    """(B, L) bool"""
    null: Tensor
    """(B, M, E) features of the null, or of a negative prompt"""
    null_mask: Tensor
    """(B, M) bool"""
    scale: float
    """1: the prompt alone, the null is not computed; above: further from the null"""
    interval: tuple[float, float] = (0.0, 1000.0)
    """timesteps at which to guide; outside it the prompt alone counts, at half the cost. arXiv 2404.07724"""
    fps: Tensor | None = None
    """(B,) frames per second, where the model asks for them"""
    height_width: Tensor | None = None
    """(B, 2) pixels, where they differ from the latents' own"""
    channels: int = 0
    """latent channels, from the first, that are guided; the prompt alone decides the others. 0: all"""
    learned_variance: bool = False
    """also return what else the model predicts, its learned variance, as the prompt alone has it: (B, 2 Z, t, h, w)"""

    def __post_init__(self) -> None:
        if self.scale < 0:
            raise UserError(f"guidance must be at least 0, got {self.scale}")
        if not 0 <= self.interval[0] <= self.interval[1] <= 1000:
            raise UserError(f"guidance interval must be ordered and within 0..1000, got {self.interval}")

    def __call__(self, latents: Tensor, timestep: Tensor) -> Tensor:
        channels = latents.shape[1]  # a model with learned variance returns more
        kept = None if self.learned_variance else channels
        now = float(timestep.max())
        if self.scale == 1 or not self.interval[0] <= now <= self.interval[1]:
            out = self.model(latents, timestep, self.text, self.text_mask, self.fps, self.height_width)
            return out[:, :kept]
        longest = max(self.text.shape[1], self.null.shape[1])
        text = torch.cat([_pad(self.text, longest), _pad(self.null, longest)])  # (2B, L, E)
        mask = torch.cat([_pad(self.text_mask, longest), _pad(self.null_mask, longest)])
        fps = None if self.fps is None else _twice(self.fps)
        height_width = None if self.height_width is None else _twice(self.height_width)
        out = self.model(_twice(latents), _twice(timestep), text, mask, fps, height_width)
        cond, uncond = out[:, :kept].chunk(2)
        moved = self.channels or channels
        guided = uncond[:, :moved] + self.scale * (cond[:, :moved] - uncond[:, :moved])
        return torch.cat([guided, cond[:, moved:]], 1) if moved < cond.shape[1] else guided


def _twice(x: Tensor) -> Tensor:
    return torch.cat([x, x])


def _pad(x: Tensor, length: int) -> Tensor:
    """(B, L) or (B, L, E) -> the same with `length` tokens, zeros (False) after the others."""
    missing = length - x.shape[1]
    return F.pad(x, (0, missing) if x.ndim == 2 else (0, 0, 0, missing))

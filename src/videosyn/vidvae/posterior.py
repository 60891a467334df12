"""The Gaussian that the encoder answers with."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Posterior:
    """A diagonal Gaussian over raw latents. `mean` and `logvar`: (B, Z, t, h, w)."""

    mean: Tensor
    logvar: Tensor

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """A draw (B, Z, t, h, w), differentiable in mean and logvar. In pieces the draws are those of the whole."""
        frames = [
            torch.randn(frame.shape, generator=generator, device=frame.device, dtype=torch.float32)
            for frame in self.mean.detach().unbind(2)
        ]
        noise = torch.stack(frames, 2)  # (B, Z, t, h, w)
        return self.mean + torch.exp(0.5 * self.logvar) * noise.to(self.mean.dtype)

    def mode(self) -> Tensor:
        """The mean."""
        return self.mean

    def kl(self) -> Tensor:
        """Divergence from the unit Gaussian in nats, averaged over all latent values, in fp32: a scalar."""
        mean, logvar = self.mean.float(), self.logvar.float()
        return 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()

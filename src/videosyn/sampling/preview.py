"""What a film under way looks like: the clean latents that the last prediction points to. Next: `pipeline.py`."""

from __future__ import annotations

from torch import Tensor

from videosyn.diffusion.epsilon import EpsilonDDPM
from videosyn.diffusion.flow import FlowMatching
from videosyn.diffusion.objective import Predict, per_frame


class Watched:
    """A `Predict` that remembers its last call, and so can say where sampling is heading."""

    def __init__(self, predict: Predict, objective: FlowMatching | EpsilonDDPM) -> None:
        self._predict, self._objective = predict, objective
        self._last: tuple[Tensor, Tensor, Tensor] | None = None

    def __call__(self, latents: Tensor, timestep: Tensor) -> Tensor:
        prediction = self._predict(latents, timestep)
        self._last = latents, timestep, prediction
        return prediction

    def estimate(self) -> Tensor:
        """Clean latents (B, Z, t, h, w) if the last prediction were right all the way: x - t v for flow, and
        (x - sqrt(1 - a) e) / sqrt(a) for noise prediction (a: alpha bar). Frames that are given stay as they are.
        """
        assert self._last is not None, "estimate() is asked for after a step"
        latents, timestep, prediction = self._last
        prediction = prediction[:, : latents.shape[1]]  # without the learned variance
        time = timestep if timestep.ndim == 2 else timestep[:, None]  # (B, t) or (B, 1)
        if isinstance(self._objective, FlowMatching):
            return latents - per_frame(time / 1000).to(latents.dtype) * prediction
        signal = self._objective.signal_share(time / 1000).clamp_min(1e-4)
        return (latents - per_frame((1 - signal).sqrt()) * prediction) / per_frame(signal.sqrt())

"""Tells a step that would ruin a run: a loss or gradient that is not a number, or a loss far above its usual height."""

from __future__ import annotations

import math
from typing import Any

_USUAL = 0.95
"""Decay a batch of the running mean of a bucket's loss."""
_BATCHES = 20
"""Batches of a bucket after which its mean is trusted."""


class Guard:
    """Buckets differ in their losses, so each has a mean of its own. Its state is part of a checkpoint."""

    def __init__(self, spike_factor: float) -> None:
        """A loss above `spike_factor` times its bucket's running mean is a spike; 0: nothing is."""
        self.spike_factor = spike_factor
        self.means: dict[str, tuple[float, int]] = {}
        self.num_broken = 0

    def verdict(self, bucket: str, loss: float, norm: float) -> str:
        """Empty, and the loss is remembered; or what is wrong with this step, in words."""
        if not math.isfinite(loss) or not math.isfinite(norm):
            self.num_broken += 1
            return f"loss {loss} and gradient norm {norm}"
        mean, count = self.means.get(bucket, (0.0, 0))
        if self.spike_factor and count >= _BATCHES and loss > self.spike_factor * mean:
            self.num_broken += 1
            return f"loss {loss:.4g} is {loss / mean:.1f} times the usual {mean:.4g} of {bucket}"
        decay = min(_USUAL, count / (count + 1))
        self.means[bucket] = (decay * mean + (1 - decay) * loss, count + 1)
        return ""

    def state(self) -> dict[str, Any]:
        return {"means": {bucket: list(each) for bucket, each in self.means.items()}, "num_broken": self.num_broken}

    def load(self, state: dict[str, Any]) -> None:
        self.means = {bucket: (float(mean), int(count)) for bucket, (mean, count) in state["means"].items()}
        self.num_broken = int(state["num_broken"])

"""How far a run is, and which learning rate that means. Torch-free. Next: `loop.py`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable


class Budget:
    """Minutes and steps that a run may take, counted over all its restarts. 0: no limit; at least one must be set."""

    def __init__(
        self, max_minutes: float, max_steps: int, elapsed_s: float = 0.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.max_minutes, self.max_steps = max_minutes, max_steps
        self._clock = clock
        self._begin = clock() - elapsed_s

    @property
    def elapsed_s(self) -> float:
        return self._clock() - self._begin

    def progress(self, step: int) -> float:
        """Part of the budget used before `step`, 0 to 1; where both limits are set, the nearer one counts."""
        parts = [0.0]
        if self.max_minutes:
            parts.append(self.elapsed_s / (60 * self.max_minutes))
        if self.max_steps:
            parts.append(step / self.max_steps)
        return min(1.0, max(parts))

    def spent(self, step: int) -> bool:
        return self.progress(step) >= 1.0


class Due:
    """Says now and then that a time has come, `every_s` seconds of the run apart."""

    def __init__(self, every_s: float, budget: Budget) -> None:
        self._every_s, self._budget = every_s, budget
        self._next_s = budget.elapsed_s + every_s

    def now(self) -> bool:
        if self._budget.elapsed_s < self._next_s:
            return False
        self._next_s = self._budget.elapsed_s + self._every_s
        return True


def lr_scale(step: int, progress: float, warmup_steps: int, decay_fraction: float, final_scale: float) -> float:
    """Factor of the learning rates: linear warm-up over the first steps, then 1, then a cosine over the last
    `decay_fraction` of the budget down to `final_scale`."""
    warm = min(1.0, (step + 1) / (warmup_steps + 1))
    late = 0.0 if decay_fraction == 0 else max(0.0, (progress - (1 - decay_fraction)) / decay_fraction)
    return warm * (final_scale + (1 - final_scale) * 0.5 * (1 + math.cos(math.pi * late)))

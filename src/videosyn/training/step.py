"""What a model brings to the loop. Next: `loop.py`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from torch import Tensor, nn

from videosyn.dataset.batches import Share
from videosyn.training.draws import Draws
from videosyn.training.parts import Batch

B = TypeVar("B", bound=Batch)


class TrainingStep(Protocol, Generic[B]):
    """Fulfilled by `vae_step.py`, `dit_step.py` and `captioner_step.py`."""

    def parameters(self) -> dict[str, nn.Parameter]:
        """What is trained, by name."""
        ...

    def matrices(self) -> set[str]:
        """Names of those that Muon takes."""
        ...

    def batch(self, step: int, progress: float, share: Share) -> B:
        """A process's share of the batch of a step, a function of its arguments alone; called in background threads."""
        ...

    def loss(self, batch: B, draws: Draws, progress: float) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        """-> the scalar to minimise, a mean over the clips, and figures to log: means over the clips, or, of some of
        them, a sum and their number as one tensor (2,). All noise comes from the draws.
        Where several processes compute the same clips together, each gives its part, and the parts add up to the mean.

        progress: part of the budget that is spent, 0 to 1.
        """
        ...

    def validate(self) -> dict[str, float]:
        """Figures on held-out data with the weights as they are; the same data and noise each time."""
        ...

    def sheet(self, path: Path) -> None:
        """A picture of what the weights, as they are, can do."""
        ...

    def save(self, folder: Path) -> None:
        """The model, with the weights as they are, as its users load it."""
        ...

"""A model so small that the loop itself is what is tested: fits a plane, with noise from the generator."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from videosyn.dataset.batches import WHOLE, Share
from videosyn.training.draws import Draws
from videosyn.training.options import Training


@dataclass(frozen=True)
class ToyBatch:
    bucket: str
    step: int
    x: Tensor
    first: int = 0
    whole: int = 0

    @property
    def size(self) -> int:
        return len(self.x)


@dataclass
class ToyStep:
    """Counts what the loop asks of it. `broken_at`: the step whose batch holds a NaN."""

    model: nn.Module
    broken_at: int = -1
    losses: dict[int, float] = field(default_factory=dict)
    progress: dict[int, float] = field(default_factory=dict)
    saved: list[Tensor] = field(default_factory=list)
    on_loss: object = None

    def parameters(self) -> dict[str, nn.Parameter]:
        return dict(self.model.named_parameters())

    def matrices(self) -> set[str]:
        return {"0.weight"}

    def batch(self, step: int, progress: float, share: Share = WHOLE) -> ToyBatch:
        self.progress[step] = progress
        x = torch.randn(8, 6, generator=torch.Generator().manual_seed(step))
        x = x * float("nan") if step == self.broken_at else x
        own = share.of(len(x))
        return ToyBatch("toy", step, x[own.start : own.stop], own.start, len(x))

    def loss(self, batch: ToyBatch, draws: Draws, progress: float = 0.0) -> tuple[Tensor, dict[str, float]]:
        noise = 0.01 * draws.normal(1)
        loss = (self.model(batch.x) - batch.x.sum(1, keepdim=True) - noise).square().mean()
        self.losses[batch.step] = loss.item()
        if callable(self.on_loss):
            self.on_loss(batch.step)
        return loss, {"extra": 1.0}

    def validate(self) -> dict[str, float]:
        return {"val/loss": float(self.model(torch.ones(1, 6)))}

    def sheet(self, path: Path) -> None:
        Image.new("RGB", (4, 4)).save(path)

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.saved.append(self.model.get_parameter("0.weight").clone())


def toy_step(**how) -> ToyStep:
    torch.manual_seed(0)
    return ToyStep(nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 1)), **how)


def toy_options(folder: Path, **how) -> Training:
    how = {"max_steps": 20, "warmup_steps": 3, "log_seconds": 1e-9, "muon_lr": 0.02, "adamw_lr": 0.01, **how}
    return Training(out=str(folder), cache="", **how)

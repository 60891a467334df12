"""AdamW on divided fp32 parameters (`parallel.shard`): each process updates the part it keeps. Next: `loop.py`.

The same interface as `optimizer.Optimizer`, whose slabs would tear parameters out of FSDP's hands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from videosyn.core.errors import UserError

MOMENTS = ("mean", "square", "average")


class ShardedAdamW:
    """Learning rate and moments as AdamW of `Optimizer`; all parameters, matrices too, are AdamW's."""

    def __init__(
        self,
        named: Mapping[str, nn.Parameter],
        adamw_lr: float = 1e-3,
        adamw_betas: tuple[float, float] = (0.9, 0.98),
        adamw_weight_decay: float = 0.0,
        adamw_decayed: Set[str] = frozenset(),
        clip_norm: float = 1.0,
        ema_decay: float = 0.998,
    ) -> None:
        if not all(isinstance(parameter, DTensor) for parameter in named.values()):
            raise UserError("ShardedAdamW wants parameters that fully_shard divided")
        self.named: dict[str, Any] = dict(named)
        self.adamw_lr, self.adamw_betas = adamw_lr, adamw_betas
        self.weight_decay, self.decayed = adamw_weight_decay, adamw_decayed
        self.clip_norm, self.ema_decay = clip_norm, ema_decay
        self.num_steps = 0
        self.moments: dict[str, dict[str, Any]] = {
            kind: {name: torch.zeros_like(parameter.detach()) for name, parameter in self.named.items()}
            for kind in MOMENTS
        }
        for name, parameter in self.named.items():
            self.moments["average"][name].to_local().copy_(parameter.detach().to_local())

    def take(self, again: bool = False) -> None:
        """Gradients add up in the parameters' own, which are fp32."""

    def norm(self, average: Callable[[Tensor], None] | None = None) -> Tensor:
        """Of all gradients over all processes, which FSDP has averaged already: a scalar tensor."""
        squares = [
            parameter.grad.to_local().square().sum() for parameter in self.named.values() if parameter.grad is not None
        ]
        total = torch.stack(squares).sum()
        dist.all_reduce(total)
        return total.sqrt()

    def apply(self, lr_scale: float, gradient_norm: float) -> None:
        """One update with the gradients, learning rate times `lr_scale`; then the moving average."""
        self.num_steps += 1
        clip = min(1.0, self.clip_norm / (gradient_norm + 1e-6)) if self.clip_norm else 1.0
        lr, (beta1, beta2) = self.adamw_lr * lr_scale, self.adamw_betas
        decay = min(self.ema_decay, self.num_steps / (self.num_steps + 9))
        with torch.no_grad():
            for name, parameter in self.named.items():
                master = parameter.to_local()
                mean, square, average = (self.moments[kind][name].to_local() for kind in MOMENTS)
                gradient = torch.zeros_like(master) if parameter.grad is None else parameter.grad.to_local() * clip
                mean.lerp_(gradient, 1 - beta1)
                square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
                spread = (square / (1 - beta2**self.num_steps)).sqrt_().add_(1e-8)
                if name in self.decayed:
                    master.mul_(1 - lr * self.weight_decay)
                master.addcdiv_(mean, spread, value=-lr / (1 - beta1**self.num_steps))
                average.lerp_(master, 1 - decay)
        self.drop()

    def drop(self) -> None:
        """Forgets the gradients."""
        for parameter in self.named.values():
            parameter.grad = None

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within the block the model computes with the moving average of its weights."""
        kept = {name: parameter.detach().to_local().clone() for name, parameter in self.named.items()}
        with torch.no_grad():
            for name, parameter in self.named.items():
                parameter.to_local().copy_(self.moments["average"][name].to_local())
        try:
            yield
        finally:
            with torch.no_grad():
                for name, parameter in self.named.items():
                    parameter.to_local().copy_(kept[name])

    def tensors(self) -> dict[str, Tensor]:
        """All state by name as DTensors, the live ones: `master/NAME`, `average/NAME`, `mean/NAME`, `square/NAME`."""
        master = {f"master/{name}": parameter.detach() for name, parameter in self.named.items()}
        return master | {f"{kind}/{name}": each for kind in MOMENTS for name, each in self.moments[kind].items()}

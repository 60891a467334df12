"""Muon for hidden matrices and kernels, AdamW for the rest, on fp32 masters of bf16 weights. Next: `loop.py`.

Parameters of the same matrix shape lie in one *slab*, a stack (n, rows, columns); all others lie in one flat slab. A
slab's fp32 master, its moments and its moving average are single tensors, so a step is a few large operations however
many parameters a model has, and the model's own parameters are views of the slab in the compute type.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from videosyn.core.errors import UserError
from videosyn.core.runtime import cpu_computes_bf16

NS_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Quintic of the Newton-Schulz iteration (Keller Jordan, "Muon", 2024): steepest at zero, not quite converging to 1."""


WIDE = 8
"""From this many columns a row on, the iteration runs on the small Gram matrices."""


def orthogonalise(matrices: Tensor, steps: int = 5) -> Tensor:
    """(n, r, c) -> (n, r, c): each matrix with its singular values driven to about 1, with bf16's precision.

    In bf16, or fp32 on CPUs that only emulate it, a hundred times slower.
    """
    emulated = matrices.device.type == "cpu" and not cpu_computes_bf16()
    x = matrices.float() if emulated else matrices.bfloat16()
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.mT
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=1e-7)
    x = _iterate_gram(x, steps) if x.shape[2] >= WIDE * x.shape[1] else _iterate(x, steps)
    return x.mT if tall else x


def _iterate(x: Tensor, steps: int) -> Tensor:
    """x <- (a + b xx' + c (xx')^2) x, in x's own type."""
    a, b, c = NS_COEFFICIENTS
    for _ in range(steps):
        gram = x @ x.mT
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)
    return x


def _iterate_gram(x: Tensor, steps: int) -> Tensor:
    """The same where x is much wider than high, as convolution kernels are: p(G) and G commute, so the factors are
    collected as (r, r) matrices and x is multiplied once. Half the cost at r = 160, c = 4320, and the same error.

    In fp32, because a Gram matrix rounded to bf16 has negative eigenvalues, which the polynomial blows up.
    """
    a, b, c = NS_COEFFICIENTS
    gram = x.float() @ x.float().mT
    factor = torch.eye(x.shape[1], device=x.device).expand_as(gram)
    for step in range(steps):
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        polynomial.diagonal(dim1=1, dim2=2).add_(a)
        factor = polynomial @ factor if step else polynomial
        if step + 1 < steps:
            gram = polynomial @ gram @ polynomial
    return factor.to(x.dtype) @ x


class Slab:
    """Parameters that are updated as one: their weights in the compute type, fp32 master, moments and moving average.

    `matrix` is the (rows, columns) that all have, or None for a flat slab, where each begins at a multiple of 32.
    The parameters' own storage is replaced by views of `weights`.
    """

    def __init__(
        self, named: dict[str, nn.Parameter], matrix: tuple[int, int] | None, moments: tuple[str, ...]
    ) -> None:
        self.names = list(named)
        self.parameters = list(named.values())
        step = 1 if matrix else 32
        sizes = [-(-parameter.numel() // step) * step for parameter in self.parameters]
        self._offsets = [sum(sizes[:index]) for index in range(len(sizes))]
        self.shape = (len(named), *matrix) if matrix else (sum(sizes),)
        first = self.parameters[0]
        self.weights = torch.zeros(self.shape, dtype=first.dtype, device=first.device)
        for parameter, view in zip(self.parameters, self._views(self.weights)):
            view.copy_(parameter.data)
            parameter.data = view
        self.master = self.weights.to(torch.float32, copy=True)
        self.average = self.master.clone()
        self.moments = {name: torch.zeros_like(self.master) for name in moments}
        self.gradient = torch.zeros_like(self.master)
        self._gradients = self._views(self.gradient)

    def take(self, again: bool = False) -> None:
        """Moves the parameters' gradients into `gradient`, in fp32; a parameter without one counts as 0.

        again: adds them to those of the batch's parts before.
        """
        for parameter, gradient in zip(self.parameters, self._gradients):
            if parameter.grad is None:
                if not again:
                    gradient.zero_()
            elif again:
                gradient.add_(parameter.grad)
            else:
                gradient.copy_(parameter.grad)
            parameter.grad = None

    def tensors(self) -> dict[str, Tensor]:
        """Everything a checkpoint needs, by parameter: `master/NAME`, `average/NAME`, `MOMENT/NAME` (views)."""
        kinds = {"master": self.master, "average": self.average, **self.moments}
        return {
            f"{kind}/{name}": view for kind, slab in kinds.items() for name, view in zip(self.names, self._views(slab))
        }

    def _views(self, slab: Tensor) -> list[Tensor]:
        flat = slab.view(-1)
        return [
            flat[offset : offset + parameter.numel()].view(parameter.shape)
            for offset, parameter in zip(self._offsets, self.parameters)
        ]


class Optimizer:
    """Updates the named parameters. `matrices`: names of those that Muon takes, seen as (first axis, all others)."""

    def __init__(
        self,
        named: Mapping[str, nn.Parameter],
        matrices: set[str],
        muon_lr: float = 2e-3,
        muon_momentum: float = 0.95,
        muon_weight_decay: float = 0.0,
        muon_steps: int = 5,
        muon_every: int = 1,
        adamw_lr: float = 1e-3,
        adamw_betas: tuple[float, float] = (0.9, 0.98),
        adamw_weight_decay: float = 0.0,
        adamw_decayed: Set[str] = frozenset(),
        clip_norm: float = 1.0,
        ema_decay: float = 0.998,
    ) -> None:
        """`muon_lr` is on AdamW's scale: an update of a (r, c) matrix has the root mean square 0.2 * muon_lr, whatever
        its shape ("match_rms_adamw" of torch.optim.Muon). With `muon_every` k, each step orthogonalises one k-th of the
        matrix shapes and moves the others along their last direction, which momentum has hardly turned since.
        `adamw_weight_decay` acts on those of AdamW's parameters that `adamw_decayed` names.
        `clip_norm` bounds the norm of all gradients; 0: unbounded.
        """
        self.muon_lr, self.muon_momentum, self.muon_weight_decay = muon_lr, muon_momentum, muon_weight_decay
        self.muon_steps, self.muon_every = muon_steps, muon_every
        self.adamw_lr, self.adamw_betas = adamw_lr, adamw_betas
        self.clip_norm, self.ema_decay = clip_norm, ema_decay
        self.num_steps = 0
        groups: dict[tuple[int, int], dict[str, nn.Parameter]] = {}
        rest: dict[str, nn.Parameter] = {}
        decayed: dict[str, nn.Parameter] = {}
        for name, parameter in named.items():
            if name in matrices:
                rows = parameter.shape[0]
                groups.setdefault((rows, parameter.numel() // rows), {})[name] = parameter
            elif adamw_weight_decay and name in adamw_decayed:
                decayed[name] = parameter
            else:
                rest[name] = parameter
        self.matrix_slabs = [Slab(group, shape, ("momentum",)) for shape, group in groups.items()]
        if muon_every > 1:
            for slab in self.matrix_slabs:
                slab.moments["direction"] = torch.zeros_like(slab.master, dtype=torch.bfloat16)
        flat = [(rest, 0.0), (decayed, adamw_weight_decay)]
        self.flat_slabs = [Slab(group, None, ("mean", "square")) for group, _ in flat if group]
        self.flat_decays = [decay for group, decay in flat if group]

    @property
    def slabs(self) -> list[Slab]:
        return self.matrix_slabs + self.flat_slabs

    def take(self, again: bool = False) -> None:
        """Takes the gradients from the parameters; again: adds them to those of the batch's parts before."""
        for slab in self.slabs:
            slab.take(again)

    def norm(self, average: Callable[[Tensor], None] | None = None) -> Tensor:
        """Of all gradients taken, a scalar tensor. average: first puts the mean over all processes in their place."""
        norms = []
        for slab in self.slabs:
            if average is not None:
                average(slab.gradient)
            norms.append(torch.linalg.vector_norm(slab.gradient))
        return torch.linalg.vector_norm(torch.stack(norms))

    def drop(self) -> None:
        """Forgets the gradients taken: the next ones replace them anyhow."""

    def gather(self) -> Tensor:
        """Takes the gradients -> their norm."""
        self.take()
        return self.norm()

    def apply(self, lr_scale: float, gradient_norm: float) -> None:
        """One update with the gradients gathered, learning rates times `lr_scale`; then the moving average."""
        self.num_steps += 1
        clip = min(1.0, self.clip_norm / (gradient_norm + 1e-6)) if self.clip_norm else 1.0
        for slab in self.slabs:
            if clip < 1.0:
                slab.gradient.mul_(clip)
        for place, slab in enumerate(self.matrix_slabs):
            self._muon(slab, self.muon_lr * lr_scale, turn=(self.num_steps + place) % self.muon_every == 0)
        for slab, weight_decay in zip(self.flat_slabs, self.flat_decays):
            self._adamw(slab, self.adamw_lr * lr_scale, weight_decay)
        decay = self.decay_at(self.num_steps)
        for slab in self.slabs:
            slab.weights.copy_(slab.master)
            slab.average.lerp_(slab.master, 1 - decay)

    def decay_at(self, step: int) -> float:
        """Decay of the moving average at the `step`th update (from 1): short at first, to forget the start."""
        return min(self.ema_decay, step / (step + 9))

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within the block the model computes with the moving average of its weights."""
        for slab in self.slabs:
            slab.weights.copy_(slab.average)
        try:
            yield
        finally:
            for slab in self.slabs:
                slab.weights.copy_(slab.master)

    def tensors(self) -> dict[str, Tensor]:
        """All state as tensors by name, views of the live ones; `num_steps` is the only state beside them."""
        return {name: tensor for slab in self.slabs for name, tensor in slab.tensors().items()}

    def load(self, tensors: Mapping[str, Tensor], num_steps: int) -> None:
        """Takes back what `tensors()` gave, every key accounted for, and the number of updates; sets the weights."""
        own = self.tensors()
        if own.keys() != tensors.keys():
            odd = sorted(own.keys() ^ tensors.keys())
            raise UserError(
                f"the checkpoint is another model's, {len(odd)} names differ ({', '.join(odd[:5])}): give another out"
            )
        for name, tensor in own.items():
            if tensor.shape != tensors[name].shape:
                raise UserError(f"the checkpoint is another model's, {name} has another shape: give another out")
            tensor.copy_(tensors[name])
        self.num_steps = num_steps
        for slab in self.slabs:
            slab.weights.copy_(slab.master)

    def _muon(self, slab: Slab, lr: float, turn: bool) -> None:
        momentum = slab.moments["momentum"].lerp_(slab.gradient, 1 - self.muon_momentum)
        if turn or self.num_steps == 1:
            update = orthogonalise(slab.gradient.lerp_(momentum, self.muon_momentum), self.muon_steps)
            if self.muon_every > 1:
                slab.moments["direction"].copy_(update)
        else:
            update = slab.moments["direction"]
        if self.muon_weight_decay:
            slab.master.mul_(1 - lr * self.muon_weight_decay)
        slab.master.add_(update, alpha=-lr * 0.2 * max(slab.shape[1:]) ** 0.5)

    def _adamw(self, slab: Slab, lr: float, weight_decay: float) -> None:
        beta1, beta2 = self.adamw_betas
        mean = slab.moments["mean"].lerp_(slab.gradient, 1 - beta1)
        square = slab.moments["square"].mul_(beta2).addcmul_(slab.gradient, slab.gradient, value=1 - beta2)
        spread = (square / (1 - beta2**self.num_steps)).sqrt_().add_(1e-8)
        if weight_decay:
            slab.master.mul_(1 - lr * weight_decay)
        slab.master.addcdiv_(mean, spread, value=-lr / (1 - beta1**self.num_steps))

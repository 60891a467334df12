"""The one training loop. A model brings a step (`vae_step.py`, `dit_step.py`); everything else is here.

    batch = f(seed, step)  ->  loss = f(batch, noise of step)  ->  gradients  ->  Muon and AdamW  ->  average of weights

Nothing depends on a random state that lives longer than a step, so a run that continues from a checkpoint computes, bit
for bit on a CPU, what an uninterrupted one would (where the budget is in steps; minutes move the learning rate).
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

from videosyn.core.errors import UserError
from videosyn.training.checkpoint import checkpoints, load_checkpoint, save_checkpoint
from videosyn.training.optimizer import Optimizer
from videosyn.training.options import Training
from videosyn.training.prefetch import Prefetch
from videosyn.training.record import Record, write_batch
from videosyn.training.schedule import Budget, lr_scale


class Batch(Protocol):
    """A frozen dataclass of tensors and plain values, written down when it breaks a run."""

    @property
    def bucket(self) -> str: ...

    @property
    def size(self) -> int: ...


B = TypeVar("B", bound=Batch)


class TrainingStep(Protocol, Generic[B]):
    """What a model brings to the loop."""

    def parameters(self) -> dict[str, nn.Parameter]:
        """What is trained, by name."""
        ...

    def matrices(self) -> set[str]:
        """Names of those that Muon takes."""
        ...

    def batch(self, step: int, progress: float) -> B:
        """The batch of a step, a function of its arguments alone; called in a background thread."""
        ...

    def loss(self, batch: B, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """-> the scalar to minimise, and figures to log. All noise comes from the generator."""
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


class TrainingBroke(UserError):
    """The loss or a gradient is not a number. The batch lies in the run folder, the last checkpoint is whole."""


def train(options: Training, step: TrainingStep[B], clock: Callable[[], float] = time.monotonic) -> str:
    """Trains until the budget is spent ("finished") or SIGTERM or Ctrl-C asks to leave ("stopped").

    The run folder `options.out` holds checkpoints/, model/ (averaged weights), sheets/, train.log, metrics.jsonl. A
    folder that has a checkpoint is continued. Raises TrainingBroke where a loss or gradient is not finite.
    """
    return _Run(options, step, clock).go()


class _Run(Generic[B]):
    def __init__(self, options: Training, step: TrainingStep[B], clock: Callable[[], float]) -> None:
        self.options, self.model = options, step
        self.folder = Path(options.out)
        parameters = step.parameters()
        self.device = next(iter(parameters.values())).device
        self.optimizer = Optimizer(
            parameters,
            step.matrices(),
            muon_lr=options.muon_lr,
            muon_weight_decay=options.weight_decay,
            muon_steps=options.muon_steps,
            muon_every=options.muon_every,
            adamw_lr=options.adamw_lr,
            clip_norm=options.clip_norm,
            ema_decay=options.ema_decay,
        )
        self.step = 0
        elapsed_s = 0.0
        found = checkpoints(self.folder / "checkpoints")
        if found:
            tensors, scalars = load_checkpoint(found[-1])
            self.step, elapsed_s = scalars["step"], scalars["elapsed_s"]
            self.optimizer.load(tensors, self.step)
        self.record = Record(self.folder, self.step)
        self.budget = Budget(options.max_minutes, options.max_steps, elapsed_s, clock)
        self.window = _Window()
        count = sum(parameter.numel() for parameter in parameters.values())
        begun = f"continues at step {self.step}, minute {elapsed_s / 60:.1f}" if found else "begins"
        self.record.line(f"{self.folder} {begun}: {count / 1e6:.2f} M parameters on {self.device}")

    def go(self) -> str:
        if self.budget.spent(self.step):
            self.record.line(f"has spent its budget at step {self.step}: raise max_minutes or max_steps to go on")
            self.record.close()
            return "finished"
        due = {
            self._save: _Due(60 * self.options.save_minutes, self.budget),
            self._validate: _Due(60 * self.options.validate_minutes, self.budget),
            self._sheet: _Due(60 * self.options.sample_minutes, self.budget),
            self._log: _Due(self.options.log_seconds, self.budget),
        }
        batches = Prefetch(lambda step: self.model.batch(step, self.budget.progress(step)), self.step)
        try:
            with _leave_when_asked() as asked:
                while not self.budget.spent(self.step) and not asked:
                    self._one_step(batches)
                    for act, when in due.items():
                        if when.now():
                            act()
                finished = self.budget.spent(self.step)
                self._log()
                if finished:
                    self._validate()
                    self._sheet()
                self._save()
                self.record.line(f"{'finished' if finished else 'stopped'} at step {self.step}")
                return "finished" if finished else "stopped"
        finally:
            batches.close()
            self.record.close()

    def _one_step(self, batches: Prefetch[B]) -> None:
        begin = time.perf_counter()
        batch = batches.take()
        ready = time.perf_counter()
        seed = noise_seed(self.options.seed, self.step)
        torch.manual_seed(seed)
        loss, figures = self.model.loss(batch, torch.Generator(self.device).manual_seed(seed))
        loss.backward()
        computed = time.perf_counter()
        norm = self.optimizer.gather()
        loss_value, norm_value = torch.stack([loss.detach().float(), norm]).tolist()
        if not math.isfinite(loss_value) or not math.isfinite(norm_value):
            self._break(batch, loss_value, norm_value)
        scale = lr_scale(
            self.step,
            self.budget.progress(self.step),
            self.options.warmup_steps,
            self.options.decay_fraction,
            self.options.final_lr,
        )
        self.optimizer.apply(scale, norm_value)
        self.step += 1
        end = time.perf_counter()
        figures = {"loss": loss_value, f"loss/{batch.bucket}": loss_value, "gradient_norm": norm_value, **figures}
        self.window.add(figures, batch.size, end - begin, ready - begin, end - computed, scale)

    def _break(self, batch: B, loss: float, norm: float) -> None:
        folder = self.folder / f"broken-step-{self.step:08d}"
        facts = {"step": self.step, "loss": str(loss), "gradient_norm": str(norm)}
        write_batch(folder, batch, facts)
        message = (
            f"loss {loss} and gradient norm {norm} at step {self.step}: its batch is in {folder}; "
            "the same command goes on from the last checkpoint, a lower muon_lr may help"
        )
        self.record.line(message)
        raise TrainingBroke(message)

    def _log(self) -> None:
        if not self.window.steps:
            return
        progress = self.budget.progress(self.step)
        values: dict[str, Any] = {"step": self.step, "elapsed_s": round(self.budget.elapsed_s, 2)}
        values |= {"progress": round(progress, 5), **self.window.summary()}
        left_s = self.budget.elapsed_s * (1 - progress) / progress if progress else 0.0
        text = (
            f"step {self.step}  loss {values['loss']:.4f}  {values['samples_per_s']:.1f} samples/s  "
            f"{1000 * values['step_s']:.0f} ms  lr x{values['lr_scale']:.3f}  norm {values['gradient_norm']:.2f}  "
            f"optimizer {100 * values['optimizer_share']:.0f} %  wait {100 * values['wait_share']:.0f} %  "
            f"ETA {left_s / 60:.1f} min"
        )
        self.record.metrics(values)
        self.record.line(text)
        self.record.show(progress, text)
        self.window = _Window()

    def _validate(self) -> None:
        with self.optimizer.averaged(), torch.no_grad():
            figures = self.model.validate()
        self.record.metrics({"step": self.step, "elapsed_s": round(self.budget.elapsed_s, 2), **figures})
        self.record.line(f"step {self.step}  " + "  ".join(f"{name} {value:.4f}" for name, value in figures.items()))

    def _sheet(self) -> None:
        path = self.folder / "sheets" / f"step-{self.step:08d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        with self.optimizer.averaged(), torch.no_grad():
            self.model.sheet(path)
        self.record.line(f"step {self.step}  sample sheet {path}")

    def _save(self) -> None:
        with self.optimizer.averaged(), torch.no_grad():
            self.model.save(self.folder / "model")
        scalars = {"elapsed_s": self.budget.elapsed_s}
        save_checkpoint(self.folder / "checkpoints", self.step, self.optimizer.tensors(), scalars)
        self.record.line(f"step {self.step}  saved")


class _Due:
    """Says now and then that a time has come, `every_s` seconds of the run apart."""

    def __init__(self, every_s: float, budget: Budget) -> None:
        self._every_s, self._budget = every_s, budget
        self._next_s = budget.elapsed_s + every_s

    def now(self) -> bool:
        if self._budget.elapsed_s < self._next_s:
            return False
        self._next_s = self._budget.elapsed_s + self._every_s
        return True


class _Window:
    """Means over the steps since the last line of the log."""

    def __init__(self) -> None:
        self.steps = self._samples = 0
        self._figures: dict[str, list[float]] = {}
        self._total_s = self._wait_s = self._optimizer_s = self._scale = 0.0

    def add(
        self, figures: dict[str, float], samples: int, total_s: float, wait_s: float, optimizer_s: float, scale: float
    ) -> None:
        self.steps += 1
        self._samples += samples
        self._total_s += total_s
        self._wait_s += wait_s
        self._optimizer_s += optimizer_s
        self._scale = scale
        for name, value in figures.items():
            self._figures.setdefault(name, []).append(float(value))

    def summary(self) -> dict[str, float]:
        means = {name: round(sum(values) / len(values), 6) for name, values in self._figures.items()}
        return {
            **means,
            "samples_per_s": round(self._samples / self._total_s, 3),
            "step_s": round(self._total_s / self.steps, 4),
            "wait_share": round(self._wait_s / self._total_s, 4),
            "optimizer_share": round(self._optimizer_s / self._total_s, 4),
            "lr_scale": round(self._scale, 5),
        }


def noise_seed(seed: int, step: int) -> int:
    """The seed of a step's noise; another for each (seed, step)."""
    return (seed * 1_000_003 + step) % 2**62


@contextmanager
def _leave_when_asked():
    """Yields a list that becomes non-empty once SIGTERM or SIGINT came; a second one acts as usual."""
    asked: list[int] = []

    before: dict[int, Any] = {}

    def remember(number: int, frame: object) -> None:
        asked.append(number)
        signal.signal(number, before[number])

    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            before[number] = signal.signal(number, remember)
    except ValueError:  # not the main thread: the caller handles signals
        yield asked
        return
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

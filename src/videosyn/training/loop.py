"""The one training loop. A model brings a step (`step.py`: `vae_step.py`, `dit_step.py`); everything else is here.

    batch = f(seed, step)  ->  loss = f(batch, noise of step)  ->  gradients  ->  Muon and AdamW  ->  average of weights

Nothing depends on a random state that lives longer than a step, so a run that continues from a checkpoint computes, bit
for bit on a CPU, what an uninterrupted one would (where the budget is in steps; minutes move the learning rate). On
several processes each computes its share of the same batch (`parallel.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic

import torch
from safetensors import SafetensorError
from torch import Tensor

from videosyn.core.errors import UserError
from videosyn.core.files import writing_to
from videosyn.training.checkpoint import Saver, ShardedSaver
from videosyn.training.draws import Draws
from videosyn.training.guard import Guard
from videosyn.training.leaving import leave_when_asked
from videosyn.training.make_optimizer import make_optimizer
from videosyn.training.options import Training
from videosyn.training.parallel import CannotSave, Processes, on_all
from videosyn.training.parts import parts_of
from videosyn.training.prefetch import Prefetch
from videosyn.training.record import Record, write_batch
from videosyn.training.resume import resume
from videosyn.training.schedule import Budget, Due, lr_scale
from videosyn.training.step import B, TrainingStep
from videosyn.training.window import Window


class TrainingBroke(UserError):
    """The loss or a gradient is not a number. The batch lies in the run folder, the last checkpoint is whole."""


def train(
    options: Training,
    step: TrainingStep[B],
    clock: Callable[[], float] = time.monotonic,
    processes: Processes | None = None,
) -> str:
    """Trains until the budget is spent ("finished") or SIGTERM or Ctrl-C asks to leave ("stopped").

    The run folder `options.out` holds checkpoints/, model/ (averaged weights), sheets/, train.log, metrics.jsonl,
    curve.png. A folder that has a checkpoint is continued. Raises TrainingBroke where a loss or gradient is not finite
    or spikes (`options.on_broken` may skip such a batch), UserError where the last state cannot be saved.
    """
    return _Run(options, step, clock, processes or Processes()).go()


class _Run(Generic[B]):
    def __init__(
        self, options: Training, step: TrainingStep[B], clock: Callable[[], float], processes: Processes
    ) -> None:
        self.options, self.model, self.processes = options, step, processes
        self.folder = Path(options.out)
        if processes.count > 1 and options.max_minutes:
            raise UserError("several processes must end together: set max_steps, and max_minutes to 0")
        parameters = step.parameters()
        self.device = next(iter(parameters.values())).device
        self.optimizer = make_optimizer(options, parameters, step.matrices(), processes)
        self.guard = Guard(options.spike_factor)
        self.record = Record(self.folder, writes=processes.rank == 0, options=options)
        found = resume(self.folder / "checkpoints", self.optimizer, self.guard, options, processes, self.record.line)
        self.step, elapsed_s = found or (0, 0.0)
        self.record.begin(self.step)
        with writing_to(self.folder):
            (self.folder / "sheets").mkdir(exist_ok=True)
        saver = ShardedSaver if processes.shards else Saver
        self.saver = saver(self.folder / "checkpoints", options.keep_checkpoints)
        self.budget = Budget(options.max_minutes, options.max_steps, elapsed_s, clock)
        self.window = Window()
        count = sum(parameter.numel() for parameter in parameters.values())
        begun = f"continues at step {self.step}, minute {elapsed_s / 60:.1f}" if found else "begins"
        shared = f" and {processes.count - 1} more processes ({processes.parallel})" if processes.count > 1 else ""
        self.record.line(f"{self.folder} {begun}: {count / 1e6:.2f} M parameters on {self.device}{shared}")

    def go(self) -> str:
        if self.budget.spent(self.step):
            self.record.line(f"has spent its budget at step {self.step}: raise max_minutes or max_steps to go on")
            self.record.close()
            return "finished"
        due = {
            self._save: Due(60 * self.options.save_minutes, self.budget),
            self._validate: Due(60 * self.options.validate_minutes, self.budget),
            self._sheet: Due(60 * self.options.sample_minutes, self.budget),
            self._log: Due(self.options.log_seconds, self.budget),
        }
        share, ahead = self.processes.share, self.options.prefetch
        batches = Prefetch(
            lambda step: self.model.batch(step, self.budget.progress(step), share), self.step, ahead, max(1, ahead // 2)
        )
        try:
            with leave_when_asked() as asked:
                leave = False
                while not self.budget.spent(self.step) and not leave:
                    self._one_step(batches)
                    now = self._agreed([when.now() for when in due.values()], bool(asked))
                    for act, is_due in zip(due, now):
                        if is_due:
                            act()
                    leave = now[-1]
                finished = self.budget.spent(self.step)
                self._save(last=True)  # first: what is measured and drawn after it may fail
                if finished:
                    self._validate()
                    self._sheet()
                    self._draw_curve()
                self.record.line(f"{'finished' if finished else 'stopped'} at step {self.step}")
                return "finished" if finished else "stopped"
        finally:
            batches.close()
            self.saver.close()
            self.record.close()

    def _agreed(self, due: list[bool], asked: bool) -> list[bool]:
        """What is due, by the first process's clock, and at last whether anyone was asked to leave."""
        if self.processes.count == 1:
            return [*due, asked]
        first = self.processes.rank == 0
        flags = torch.tensor([*(each and first for each in due), asked], dtype=torch.float32, device=self.device)
        return [flag > 0 for flag in self.processes.sum(flags).tolist()]

    def _one_step(self, batches: Prefetch[B]) -> None:
        begin = time.perf_counter()
        batch = batches.take()
        ready = time.perf_counter()
        loss, figures = self._forward_and_backward(batch)
        if self.device.type == "cuda":
            # What follows waits for the norm anyway. The update is not waited for: it overlaps with the next step.
            torch.cuda.synchronize(self.device)
        computed = time.perf_counter()
        norm = self.optimizer.norm(self.processes.average)
        told = self.processes.sum(torch.cat([loss[None], *figures.values()]))
        sums, weights = told[1::2], told[2::2]
        loss_value, norm_value, *listed = torch.cat([told[:1], norm[None], sums / weights]).tolist()
        scale = lr_scale(
            self.step,
            self.budget.progress(self.step),
            self.options.warmup_steps,
            self.options.decay_fraction,
            self.options.final_lr,
        )
        wrong = self.guard.verdict(batch.bucket, loss_value, norm_value)
        if wrong:
            self._broken(batch, wrong)
            self.step += 1
            return
        self.optimizer.apply(scale, norm_value)
        self.step += 1
        end = time.perf_counter()
        shown = {"loss": loss_value, f"loss/{batch.bucket}": loss_value, "gradient_norm": norm_value}
        shown |= dict(zip(figures, listed))
        self.window.add(shown, batch.whole or batch.size, end - begin, ready - begin, end - computed, scale)

    def _forward_and_backward(self, batch: B) -> tuple[Tensor, dict[str, Tensor]]:
        """Leaves the gradients with the optimizer -> this process's part of the loss, and of each figure (2,): its sum
        over the clips of the parts where it is a number, and how many clips these have.
        """
        seed = noise_seed(self.options.seed, self.step)
        torch.manual_seed(seed)
        whole, progress = batch.whole or batch.size, self.budget.progress(self.step)
        parts = parts_of(batch, self.options.accumulate)
        total = torch.zeros((), device=self.device)
        figures: dict[str, Tensor] = {}
        for place, part in enumerate(parts):
            loss, told = self.model.loss(part, Draws(seed, part.size, part.first, whole, self.device), progress)
            share = part.size / whole
            (loss * (share * self.processes.count)).backward()
            self.optimizer.take(again=place > 0)
            total += loss.detach().float() * share
            for name, value in told.items():
                pair = torch.as_tensor(value, device=self.device).detach().float()
                if pair.ndim == 0:
                    pair = torch.stack([pair.nan_to_num(0.0), (~pair.isnan()).float()]) * part.size
                figures[name] = figures[name] + pair if name in figures else pair
        return total, figures

    def _broken(self, batch: B, wrong: str) -> None:
        """Writes the batch down; stops, or (`on_broken` skip) forgets its gradients."""
        folder = self.folder / f"broken-step-{self.step:08d}"
        if self.processes.count > 1:
            folder = folder / f"process-{self.processes.rank}"
        message = f"{wrong} at step {self.step}: its batch is in {folder}"
        try:
            write_batch(folder, batch, {"step": self.step, "wrong": wrong})
        except (OSError, SafetensorError) as error:
            message = f"{wrong} at step {self.step}, whose batch could not be written ({error})"
        self.optimizer.drop()
        if self.options.on_broken == "skip" and self.guard.num_broken <= self.options.max_broken:
            self.record.line(f"{message}; skipped ({self.guard.num_broken} of at most {self.options.max_broken})")
            return
        message += "; the same command goes on from the last checkpoint, a lower learning rate may help"
        self.record.line(message)
        raise TrainingBroke(message)

    def _log(self) -> None:
        if not self.window.steps:
            return
        progress = self.budget.progress(self.step)
        values: dict[str, Any] = {"step": self.step, "elapsed_s": round(self.budget.elapsed_s, 2)}
        values |= {"progress": round(progress, 5), **self.window.summary(), "memory_gb": _memory_gb(self.device)}
        if self.guard.num_broken:
            values["broken"] = self.guard.num_broken
        left_s = self.budget.elapsed_s * (1 - progress) / progress if progress else 0.0
        text = (
            f"step {self.step}  loss {values['loss']:.4f}  {values['samples_per_s']:.1f} samples/s  "
            f"{1000 * values['step_s']:.0f} ms  lr x{values['lr_scale']:.3f}  norm {values['gradient_norm']:.2f}  "
            f"optimizer {100 * values['optimizer_share']:.0f} %  wait {100 * values['wait_share']:.0f} %  "
            f"{values['memory_gb']:.1f} GB  ETA {left_s / 60:.1f} min"
        )
        self.record.metrics(values)
        self.record.line(text)
        self.record.show(progress, text)
        self.window = Window()

    def _validate(self) -> None:
        if self.processes.rank and not self.processes.shards:
            return
        with self.optimizer.averaged(), torch.no_grad():
            figures = self.model.validate()
        if figures:
            self.record.metrics({"step": self.step, "elapsed_s": round(self.budget.elapsed_s, 2), **figures})
            told = "  ".join(f"{name} {value:.4f}" for name, value in figures.items())
            self.record.line(f"step {self.step}  {told}")

    def _sheet(self) -> None:
        if self.processes.rank and not self.processes.shards:
            return
        path = self.folder / "sheets" / f"step-{self.step:08d}.png"
        try:
            with self.optimizer.averaged(), torch.no_grad():
                self.model.sheet(path)
        except (OSError, UserError) as error:  # of the disk, or of what is asked of the model: a picture less
            self.record.line(f"the sample sheet of step {self.step} could not be drawn ({error})")
            return
        if path.exists():
            self.record.line(f"step {self.step}  sample sheet {path}")
            self.record.picture(self.step, path)

    def _save(self, last: bool = False) -> None:
        """The model as it is used, and the state. Where the disk is full the run goes on, and what was saved stays."""
        self._log()  # a run that continues from here has the line of every step before
        scalars = {
            "elapsed_s": self.budget.elapsed_s,
            "num_updates": self.optimizer.num_steps,
            "guard": self.guard.state(),
        }
        saves = self.processes.shards or self.processes.rank == 0
        try:
            on_all(self.saver.wait)
        except CannotSave as error:
            self.record.line(f"the checkpoint before step {self.step} could not be written ({error})")
        try:
            on_all(lambda: self._save_model() if saves else None)
            if saves:
                self.saver.save(self.step, self.optimizer.tensors(), scalars)
            if last:
                on_all(self.saver.wait)
        except CannotSave as error:
            message = f"cannot save at step {self.step} ({error}); what was saved before stays"
            self.record.line(message)
            if last:
                raise UserError(f"{message}: free some space and give the same command") from error
            return
        self.record.line(f"step {self.step}  saved")

    def _draw_curve(self) -> None:
        try:
            self.record.curve()
        except OSError as error:
            self.record.line(f"the curve could not be drawn ({error})")

    def _save_model(self) -> None:
        with self.optimizer.averaged(), torch.no_grad():
            self.model.save(self.folder / "model")
        self.record.curve()


def _memory_gb(device: torch.device) -> float:
    """The most that this process has held: on an accelerator there, else in the machine's memory."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 1e9, 3)
    import resource

    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 3)


def noise_seed(seed: int, step: int) -> int:
    """The seed of a step's noise; another for each (seed, step)."""
    return (seed * 1_000_003 + step) % 2**62

"""Goes on where a run's newest whole checkpoint is. Next: `loop.py`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from videosyn.core.errors import UserError
from videosyn.training.checkpoint import load_checkpoint, load_sharded, newest_whole
from videosyn.training.guard import Guard
from videosyn.training.optimizer import Optimizer
from videosyn.training.options import Training
from videosyn.training.parallel import Processes
from videosyn.training.sharded import ShardedAdamW


def resume(
    checkpoints: Path,
    optimizer: Optimizer | ShardedAdamW,
    guard: Guard,
    options: Training,
    processes: Processes,
    tell: Callable[[str], None],
) -> tuple[int, float] | None:
    """Gives optimizer and guard the state of the newest whole checkpoint -> its step, and seconds of the run until it;
    None where there is none. tell: of damaged ones, which the first process puts aside.

    A UserError where processes do not see the same checkpoint, or it was written another way than can be read here.
    """
    if processes.rank:
        processes.wait()  # until the first one has put damaged checkpoints aside
    found = newest_whole(checkpoints, tell)
    if not processes.rank:
        processes.wait()
    places = processes.gather(-1 if found is None else found[1]["step"])
    if len(set(places)) > 1:
        steps = ", ".join(f"step {step}" if step >= 0 else "none" for step in sorted(set(places)))
        raise UserError(
            f"{checkpoints.parent} holds not the same checkpoints for all processes ({steps}): out must be on a "
            "disk that all machines share"
        )
    if found is None:
        return None
    path, scalars = found
    whole = (path / "state.safetensors").exists()
    if isinstance(optimizer, ShardedAdamW):
        if whole:
            raise UserError(f"{path} was not written by parallel fsdp: go on as it began, or give another out")
        load_sharded(path, optimizer.tensors())
        optimizer.num_steps = scalars["num_updates"]
    else:
        if whole:
            tensors, _ = load_checkpoint(path)
        elif options.optimizer != "adamw":
            raise UserError(f"{path} was written by parallel fsdp, with AdamW: set optimizer adamw, or another out")
        else:  # of a divided model, which is whole here
            tensors = {name: torch.empty_like(tensor) for name, tensor in optimizer.tensors().items()}
            load_sharded(path, tensors)
        optimizer.load(tensors, scalars.get("num_updates", scalars["step"]))
    if "guard" in scalars:
        guard.load(scalars["guard"])
    return scalars["step"], scalars["elapsed_s"]

"""The optimizer that a run's options ask for. Next: `loop.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from videosyn.training.optimizer import Optimizer
from videosyn.training.options import Training
from videosyn.training.parallel import Processes
from videosyn.training.sharded import ShardedAdamW


def make_optimizer(
    options: Training, parameters: Mapping[str, nn.Parameter], matrices: set[str], processes: Processes
) -> Optimizer | ShardedAdamW:
    """matrices: names of those that Muon takes."""
    common: dict[str, Any] = {
        "adamw_lr": options.adamw_lr,
        "clip_norm": options.clip_norm,
        "ema_decay": options.ema_decay,
    }
    if options.optimizer == "adamw":
        common |= {"adamw_weight_decay": options.weight_decay, "adamw_decayed": matrices}
    if processes.shards:  # options refuse Muon there
        return ShardedAdamW(parameters, **common)
    return Optimizer(
        parameters,
        matrices if options.optimizer == "muon" else set(),
        muon_lr=options.muon_lr,
        muon_weight_decay=options.weight_decay,
        muon_steps=options.muon_steps,
        muon_every=options.muon_every,
        **common,
    )

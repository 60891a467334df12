"""A command that torchrun started in several processes: they join, share the VDiT's work, and the first one speaks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


def rank() -> int:
    """This process's number; 0 where it is alone. Torch-free."""
    return int(os.environ.get("RANK", "0")) if num_processes() > 1 else 0


def num_processes() -> int:
    """How many torchrun started; 1 without it. Torch-free."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def own_device(device: str) -> str:
    """This process's accelerator where "auto" or "cuda" was asked for and there are several processes."""
    import torch

    if num_processes() > 1 and device in ("auto", "cuda") and torch.cuda.is_available():
        return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    return device


@contextmanager
def joined(device: str) -> Iterator[None]:
    """Within the block the processes are one group: NCCL on accelerators, gloo on CPUs."""
    import torch
    import torch.distributed as dist

    if device.startswith("cuda"):
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()

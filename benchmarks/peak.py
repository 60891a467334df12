"""The memory that a piece of work takes above what is there when it begins: for the other benchmarks."""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path

import torch


def status_bytes(name: str) -> int:
    """A line of this process's status, such as VmRSS (resident now) or VmHWM (its peak). Linux."""
    status = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in status if line.startswith(name))


class Peak:
    """Begins to watch when made. On a CPU the process's resident memory, on CUDA what its allocator hands out."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
            self.before = torch.cuda.memory_allocated(self.device)
        else:
            ctypes.CDLL(None).malloc_trim(0)  # what was freed goes back, and does not pass for what is there
            Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
            self.before = status_bytes("VmRSS")

    @property
    def all_bytes(self) -> int:
        """The peak since then, with what was there."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            return torch.cuda.max_memory_allocated(self.device)
        return status_bytes("VmHWM")

    @property
    def bytes(self) -> int:
        """The peak since then, above what was there."""
        return self.all_bytes - self.before

"""Which device and which number type to compute with, and what a device says that is full."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch

from videosyn.core.errors import UserError

_DTYPES = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def pick_device(name: str = "auto") -> torch.device:
    """ "auto" is cuda where there is one, else cpu. A UserError for a device that does not exist here."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"unknown device {name!r}: use auto, cpu, cuda, cuda:1 or mps") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"device {name!r} is not here ({torch.cuda.device_count()} CUDA devices): use cpu")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError("device 'mps' is not here: use cpu")
    return device


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """ "auto" is bf16 on CUDA and on CPUs that compute in it (AVX512-BF16 or AMX), else fp32."""
    if name == "auto":
        fast = device.type == "cuda" or (device.type == "cpu" and cpu_computes_bf16())
        return torch.bfloat16 if fast else torch.float32
    if name not in _DTYPES:
        raise UserError(f"unknown dtype {name!r}: use auto, fp32, bf16 or fp16")
    return _DTYPES[name]


def is_out_of_memory(error: Exception) -> bool:
    """torch has a class for accelerators; for CPUs there is only the allocator's message."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


@lru_cache(maxsize=1)
def cpu_computes_bf16() -> bool:
    """Whether this CPU multiplies bf16 natively. Elsewhere bf16 is emulated and slower than fp32."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not Linux
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags

"""Which device and which number type to compute with, and what a device says that is full."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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


def dtype_name(dtype: torch.dtype) -> str:
    """What `pick_dtype` reads: fp32, bf16, fp16."""
    return next((name for name, each in _DTYPES.items() if each == dtype), str(dtype).removeprefix("torch."))


def is_out_of_memory(error: BaseException) -> bool:
    """torch has a class for accelerators; for CPUs there are only messages. numpy raises Python's."""
    messages = ("DefaultCPUAllocator", "Storage size calculation overflowed")
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(each in str(error) for each in messages)


@contextmanager
def out_of_memory_means_user_error(what: str, fix: str) -> Iterator[None]:
    """Turns the error of a full memory, CPU or accelerator, into a UserError: `what` does not fit."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(f"out of memory: {what} do not fit: {fix}") from error


@lru_cache(maxsize=1)
def cpu_computes_bf16() -> bool:
    """Whether this CPU multiplies bf16 natively. Elsewhere bf16 is emulated and slower than fp32."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not Linux
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags

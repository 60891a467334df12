"""Settings of the C runtime that make CPU steps fast. Called before torch is imported. Torch-free."""

from __future__ import annotations

import ctypes
import os
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h
_LARGE = 2**31 - 1


def tune() -> None:
    """Keeps freed memory in the process and makes waiting threads sleep. Does nothing on systems that are not glibc's.

    A training step allocates and frees the same large tensors over and over; given back to the kernel each time, their
    pages are faulted in and zeroed anew. And OpenMP threads that spin while they wait take the core from whoever else
    is on it, which then delays the spinning thread's own team.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD, _M_TOP_PAD):
            mallopt(parameter, _LARGE if parameter != _M_TOP_PAD else 2**26)

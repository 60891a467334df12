"""How much memory is free. How much is needed: `sampling/footprint.py`, `training/memory.py`. Torch-free."""

from __future__ import annotations

import os
from pathlib import Path

FIXED_BYTES = 64_000_000  # thread pools, workspaces and kernels of the first call


def available_cpu_bytes() -> int | None:
    """Memory this process may still take: the system's, or its control group's where that is less. None: unknown."""
    limits = [limit for limit in (_system_bytes(), _group_bytes()) if limit is not None]
    return min(limits, default=None)


def _system_bytes() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:  # not Linux
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None


def _group_bytes(group: Path = Path("/sys/fs/cgroup")) -> int | None:
    """What the control group's limit leaves. Pages of files that were read count as used, but make room when needed."""
    try:
        limit, used = ((group / name).read_text(encoding="ascii").strip() for name in ("memory.max", "memory.current"))
        counts = dict(line.split() for line in (group / "memory.stat").read_text(encoding="ascii").splitlines())
    except OSError:
        return None
    if limit == "max":
        return None
    of_files = sum(int(counts.get(name, 0)) for name in ("inactive_file", "active_file"))
    return max(0, int(limit) - max(0, int(used) - of_files))

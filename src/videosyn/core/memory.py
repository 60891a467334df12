"""How much memory is free. How much is needed: `sampling/footprint.py`, `training/memory.py`. Torch-free."""

from __future__ import annotations

import os
from pathlib import Path

FIXED_BYTES = 64_000_000  # thread pools, workspaces and kernels of the first call
NO_LIMIT = 1 << 60  # and more: how version 1 of control groups writes that there is none


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


def _group_bytes(groups: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """What the limits of this process's control group and of all groups around it leave. None: there is no limit."""
    try:
        lines = groups.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    left: list[int | None] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            top, names, prefix = root, ("memory.max", "memory.current"), ""
        elif "memory" in controllers.split(","):  # version 1, whose counts without `total_` leave out inner groups
            top, names, prefix = root / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes"), "total_"
        else:
            continue
        group = top / path.strip("/")
        left += [_left(each, names, prefix) for each in (group, *group.parents) if each.is_relative_to(top)]
    return min((each for each in left if each is not None), default=None)


def _left(group: Path, names: tuple[str, str], prefix: str) -> int | None:
    """What one group's limit leaves. Pages of files that were read count as used, but make room when needed."""
    try:
        limit, used = ((group / name).read_text(encoding="ascii").strip() for name in names)
        counts = dict(line.split() for line in (group / "memory.stat").read_text(encoding="ascii").splitlines())
    except OSError:
        return None
    if limit == "max" or int(limit) >= NO_LIMIT:
        return None
    of_files = sum(int(counts.get(f"{prefix}{name}", 0)) for name in ("inactive_file", "active_file"))
    return max(0, int(limit) - max(0, int(used) - of_files))

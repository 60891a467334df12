"""A run's state on disk: safetensors and JSON, whole or not at all, the last ones kept. Next: `loop.py`."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

KEEP = 2
"""Checkpoints kept."""


def save_checkpoint(
    folder: str | os.PathLike, step: int, tensors: Mapping[str, Tensor], scalars: dict[str, Any]
) -> Path:
    """Writes `folder/step-00001234/` (state.safetensors, state.json) and removes all but the last KEEP."""
    folder = Path(folder)
    final = folder / f"step-{step:08d}"
    partial = folder / f".step-{step:08d}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    save_file(
        {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, partial / "state.safetensors"
    )
    (partial / "state.json").write_text(json.dumps({"step": step, **scalars}, indent=2) + "\n", encoding="utf-8")
    if final.exists():
        shutil.rmtree(final)
    os.replace(partial, final)
    for old in checkpoints(folder)[:-KEEP]:
        shutil.rmtree(old)
    return final


def checkpoints(folder: str | os.PathLike) -> list[Path]:
    """Complete checkpoints, oldest first."""
    return sorted(path for path in Path(folder).glob("step-*") if path.is_dir())


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `save_checkpoint` wrote: tensors by name, and the scalars with `step` among them."""
    return load_file(path / "state.safetensors"), json.loads((path / "state.json").read_text(encoding="utf-8"))

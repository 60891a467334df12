"""Safetensors files that others may read: safetensors makes them for their owner alone (0600), whatever the umask."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor


def save_tensors(
    tensors: Mapping[str, Tensor], path: str | os.PathLike, metadata: dict[str, str] | None = None
) -> None:
    """As `safetensors.torch.save_file`, with the rights that any new file gets here."""
    save_file(dict(tensors), path, metadata)
    like = Path(path).with_name(f".{Path(path).name}.rights")  # a process learns of its umask only by changing it
    try:
        like.touch()
        os.chmod(path, like.stat().st_mode & 0o777)
    finally:
        like.unlink(missing_ok=True)

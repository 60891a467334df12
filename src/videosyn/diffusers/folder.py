"""Where a model named as diffusers' users name it lies: a shipped name, a folder, a hub id with a revision."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download

from videosyn.core.errors import UserError
from videosyn.sampling.model_index import find_model
from videosyn.weights import SHIPPED

FROM_HABIT = ("use_safetensors", "low_cpu_mem_usage")
"""Options that change nothing here: weights are always safetensors, and always checked before they are used."""
HUB_OPTIONS = ("revision", "token", "cache_dir", "local_files_only", "force_download")


def model_folder(name: str | os.PathLike, subfolder: str | None = None, **options: Any) -> Path:
    """The local folder of `name`, fetched from the hub where it is an id. UserError: unknown option, or no such model.

    options: those of HUB_OPTIONS, passed to huggingface_hub; those of FROM_HABIT, ignored.
    """
    hub = {key: value for key, value in options.items() if key not in FROM_HABIT and value is not None}
    if unknown := sorted(set(hub) - set(HUB_OPTIONS)):
        raise UserError(f"from_pretrained knows {', '.join(HUB_OPTIONS)} and dtype, got {unknown[0]!r}: leave it out")
    if hub and not Path(name).is_dir() and os.fspath(name) not in SHIPPED:
        patterns = ["*.json", "*.safetensors", "*.md", "*.model"]
        try:
            folder = Path(snapshot_download(os.fspath(name), allow_patterns=patterns, **hub))
        except (OSError, ValueError) as error:  # huggingface_hub's errors are of these kinds
            why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise UserError(
                f"{name} could not be fetched from the hub ({why}): give a folder, or another id"
            ) from error
    else:
        folder = find_model(os.fspath(name))
    return folder / subfolder if subfolder else folder


def number_type(dtype: torch.dtype | None, torch_dtype: torch.dtype | None) -> torch.dtype:
    """diffusers has two names for the same option; neither given means float32."""
    chosen = dtype or torch_dtype or torch.float32
    if not isinstance(chosen, torch.dtype):
        raise UserError(f"dtype must be a torch.dtype, got {chosen!r}: use torch.float32 or torch.bfloat16")
    return chosen

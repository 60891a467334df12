"""LoRA files, added to a VDiT's weights. `videosyn train dit --lora-rank` writes them, and so does diffusers.

    transformer.LAYER.lora_A.weight (r, in), transformer.LAYER.lora_B.weight (out, r)
    W' = W + strength * alpha / r * B A          alpha from the header, where there is one, else r

Added once, an adapter costs nothing while films are made. Called by `storage.py`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from videosyn.core.errors import UserError

FILE = "pytorch_lora_weights.safetensors"
PREFIX = "transformer."
METADATA = "lora_adapter_metadata"
"""Key of the header in which diffusers writes peft's config, as JSON."""
_A, _B = ".lora_A.weight", ".lora_B.weight"
_REFUSED = ("alpha_pattern", "use_rslora", "use_dora")


@dataclass(frozen=True)
class Adapter:
    """`tensors`: all of the file, by their keys in it. `config`: peft's, keys with PREFIX; empty where it has none."""

    path: Path
    tensors: dict[str, Tensor]
    config: Mapping[str, object]

    @property
    def layers(self) -> list[str]:
        return sorted({key.removesuffix(_A).removesuffix(_B).removeprefix(PREFIX) for key in self.tensors})


def read_adapter(path: str | os.PathLike) -> Adapter:
    """A file, or the folder that has one. A UserError where it is missing or damaged."""
    path = Path(path)
    path = path / FILE if path.is_dir() else path
    if not path.is_file():
        raise UserError(f"there is no file {path}: give the {FILE} of an adapter, or its folder")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            config = json.loads((file.metadata() or {}).get(METADATA, "{}"))
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}): copy it again") from error
    return Adapter(path, tensors, config)


def check_adapter(adapter: Adapter, model: nn.Module) -> None:
    """A UserError unless every tensor of the adapter belongs to a layer of the model, and has its half beside it."""
    layers = {name: module for name, module in model.named_modules() if hasattr(module, "in_features")}
    foreign = [
        key
        for key in adapter.tensors
        if not key.startswith(PREFIX)
        or not key.endswith((_A, _B))
        or key.removesuffix(_A).removesuffix(_B).removeprefix(PREFIX) not in layers
    ]
    _refuse_keys(adapter, foreign, "foreign")
    if not adapter.tensors:
        raise UserError(f"{adapter.path} holds no adapter: it is empty")
    missing, wrong = [], []
    for layer in adapter.layers:
        halves = [f"{PREFIX}{layer}{half}" for half in (_A, _B)]
        if lost := [key for key in halves if key not in adapter.tensors]:
            missing += lost
            continue
        down, up = (adapter.tensors[key].shape for key in halves)
        size = (up[0], down[-1])
        if up[1:] != down[:1] or size != (layers[layer].out_features, layers[layer].in_features):
            wrong += halves
    _refuse_keys(adapter, missing, "missing")
    _refuse_keys(adapter, wrong, "of another shape")


def merge_adapter(adapter: Adapter, model: nn.Module, strength: float = 1.0) -> None:
    """Adds the adapter to the model's weights, in place; a UserError, and nothing added, where it does not fit."""
    check_adapter(adapter, model)
    for name in _REFUSED:
        if adapter.config.get(PREFIX + name):
            raise UserError(f"{adapter.path} was trained with {name}: use it through videosyn.diffusers")
    alpha = adapter.config.get(f"{PREFIX}lora_alpha")
    with torch.no_grad():
        for layer in adapter.layers:
            down, up = (adapter.tensors[f"{PREFIX}{layer}{half}"].float() for half in (_A, _B))
            scale = 1.0 if alpha is None else float(alpha) / len(down)  # pyright: ignore[reportArgumentType]
            weight = model.get_submodule(layer).get_parameter("weight")
            weight.copy_(weight.float() + (strength * scale) * (up @ down).to(weight.device))


def _refuse_keys(adapter: Adapter, keys: Iterable[str], what: str) -> None:
    keys = sorted(keys)
    if keys:
        some = ", ".join(keys[:5]) + (", ..." if len(keys) > 5 else "")
        raise UserError(f"{adapter.path} is no adapter for this model: {len(keys)} keys {what} ({some})")

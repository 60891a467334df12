"""One model, one folder: `config.json` and safetensors shards, named as diffusers names them. Loading is strict.

A weight saved with `int8=True` lies in the file as `<key>` (int8, one scale per output row) and `<key>.int8_scale`
(fp16, shape (rows,)); `load_state` multiplies them back to float32, so that no reader needs to know.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from videosyn.core import config as config_io
from videosyn.core.errors import UserError
from videosyn.core.tensor_file import save_tensors

CONFIG_NAME = "config.json"
WEIGHTS_STEM = "diffusion_pytorch_model"
INDEX_NAME = f"{WEIGHTS_STEM}.safetensors.index.json"
SCALE_SUFFIX = ".int8_scale"


def save_module(
    folder: str | os.PathLike,
    module: nn.Module,
    config: Any,
    max_shard_bytes: int = 15_000_000,
    int8: bool = False,
) -> None:
    """Writes `module`'s state and its dataclass `config` into `folder`: all of it, or nothing.

    A shard holds at most `max_shard_bytes`, one tensor larger than that gets a shard of its own. int8 stores floating
    weights with two or more axes in a quarter of fp32's size; biases and norms keep their type.
    """
    folder = Path(folder)
    state = {key: value.detach().cpu().contiguous() for key, value in module.state_dict().items()}
    if int8:
        state = quantise(state)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
        written = Path(scratch)
        _write_shards(written, state, max_shard_bytes)
        config_io.save_json(config, written / CONFIG_NAME)
        replace_model(folder, written)


def replace_model(folder: Path, written: Path) -> None:
    """Moves a model folder's files, and those of folders in it, into `folder`, in place of an older model's.

    The older `config.json` goes first and the new one comes last: a folder without it is refused, so that a kill
    between leaves no mix that loads.
    """
    folder.mkdir(exist_ok=True)
    for name in (CONFIG_NAME, INDEX_NAME, f"{WEIGHTS_STEM}*.safetensors"):
        for old in folder.glob(name):
            old.unlink()
    last = written / CONFIG_NAME
    for file in [*sorted(file for file in written.rglob("*") if file.is_file() and file != last), last]:
        place = folder / file.relative_to(written)
        place.parent.mkdir(parents=True, exist_ok=True)
        os.replace(file, place)


def load_state(folder: str | os.PathLike) -> dict[str, Tensor]:
    """All tensors of a model folder on the CPU, int8 as float32. A UserError names a missing or damaged file."""
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"no model folder at {folder}: give a folder with {CONFIG_NAME} and {WEIGHTS_STEM}.safetensors")
    plain = folder / f"{WEIGHTS_STEM}.safetensors"  # beside it may lie variants, such as fp16's
    files = [plain] if plain.exists() else sorted(folder.glob(f"{WEIGHTS_STEM}*.safetensors"))
    index_path = folder / INDEX_NAME
    if index_path.exists():
        names = sorted(set(config_io.read_json(index_path).get("weight_map", {}).values()))
        files = [folder / name for name in names]
    if not files:
        raise UserError(f"{folder} holds no weights: {WEIGHTS_STEM}.safetensors is missing")
    state: dict[str, Tensor] = {}
    for file in files:
        if not file.exists():
            raise UserError(f"{folder} is incomplete: {file.name} is missing, copy the model again")
        try:
            shard = load_file(file)
        except (SafetensorError, OSError) as error:
            raise UserError(f"{file} is damaged ({error}): copy the model again") from error
        if twice := sorted(set(shard) & set(state)):
            raise UserError(f"{folder} holds {twice[0]} twice: remove the shards of an older save")
        state |= shard
    return dequantise(state)


def load_strict(module: nn.Module, state: Mapping[str, Tensor], where: str | os.PathLike) -> None:
    """Copies `state` into `module`, each tensor in the module's own type; all of them, or none and a UserError.

    Every key of the module must be there, none may be foreign, and shapes must be equal; the message names up to five.
    """
    own = module.state_dict()
    wrong = {
        "missing": [key for key in own if key not in state],
        "foreign": [key for key in state if key not in own],
        "of another shape": [key for key in own if key in state and own[key].shape != state[key].shape],
    }
    problems = [f"{len(keys)} {what} ({_some(keys)})" for what, keys in wrong.items() if keys]
    if problems:
        raise UserError(f"{where} does not fit {type(module).__name__}: {'; '.join(problems)}")
    module.load_state_dict(dict(state), strict=True)


def quantise(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Floating tensors with >= 2 axes -> symmetric int8 per row of the first axis, and its fp16 scale (rows,)."""
    stored: dict[str, Tensor] = {}
    for key, value in state.items():
        if not value.is_floating_point() or value.ndim < 2:
            stored[key] = value
            continue
        rows = value.float().flatten(1)
        scale = (rows.abs().amax(dim=1) / 127).clamp(min=2.0**-24).half()  # the smallest fp16 above zero
        codes = (rows / scale.float()[:, None]).round().clamp(-127, 127)
        stored[key] = codes.to(torch.int8).view(value.shape)
        stored[key + SCALE_SUFFIX] = scale
    return stored


def dequantise(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `quantise`, up to half a step of each row's scale; other tensors pass untouched."""
    state: dict[str, Tensor] = {}
    for key, value in stored.items():
        scale = stored.get(key + SCALE_SUFFIX)
        if scale is not None:
            state[key] = value.float() * scale.float().view(-1, *[1] * (value.ndim - 1))
        elif not key.endswith(SCALE_SUFFIX):
            state[key] = value
    return state


def _write_shards(folder: Path, state: Mapping[str, Tensor], max_shard_bytes: int) -> None:
    shards: list[dict[str, Tensor]] = [{}]
    size = 0
    for key, value in state.items():
        if shards[-1] and size + value.nbytes > max_shard_bytes:
            shards.append({})
            size = 0
        shards[-1][key] = value
        size += value.nbytes
    if len(shards) == 1:
        save_tensors(shards[0], folder / f"{WEIGHTS_STEM}.safetensors", metadata={"format": "pt"})
        return
    names = [f"{WEIGHTS_STEM}-{index:05d}-of-{len(shards):05d}.safetensors" for index in range(1, len(shards) + 1)]
    for name, shard in zip(names, shards):
        save_tensors(shard, folder / name, metadata={"format": "pt"})
    index = {
        "metadata": {"total_size": sum(value.nbytes for value in state.values())},
        "weight_map": {key: name for name, shard in zip(names, shards) for key in shard},
    }
    config_io.write_json(index, folder / INDEX_NAME)


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:5]) + (", ..." if len(keys) > 5 else "")

"""Published weights as they lie on disk: a diffusers folder, a safetensors file, or an original .pth or .ckpt.

Pickles are read here with `weights_only=True`: tensors and plain containers, no code. Nowhere else but in `text/t5.py`,
where transformers does the same for T5s that are published as nothing else.
"""

from __future__ import annotations

import json
import pickle
import struct
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from videosyn.core.config import read_json
from videosyn.core.errors import UserError
from videosyn.core.model_folder import CONFIG_NAME, WEIGHTS_STEM, load_state

TRANSFORMERS_NAME = "model.safetensors"
"""A folder's weights as transformers names them, and Open-Sora."""
PICKLED = (".pth", ".pt", ".ckpt", ".bin")
_WRAPPERS = ("state_dict", "model", "module")
"""Under these names training scripts put a model's tensors."""
_DAMAGED = (RuntimeError, OSError, EOFError, ValueError, LookupError, struct.error)
_CONFUSED = (AttributeError, TypeError, AssertionError)
"""What reading a pickle raises that is cut off, or none."""


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by the names that their authors gave them, and what is known beside them."""

    path: Path
    state: Mapping[str, Tensor]
    config: Mapping[str, Any] = field(default_factory=dict)
    """A folder's config.json, or what a safetensors file says under `config`."""
    unread: tuple[str, ...] = ()
    """First parts of the names of tensors that the file holds beside the model, such as an average of it."""

    def known(self, name: str, asked: int | float | None, default: int | float) -> Any:
        """What the file says, else what was asked for, else what is published. UserError where the first two differ."""
        said = self.config.get(name)
        if said is None:
            return default if asked is None else asked
        if asked is not None and asked != said:
            raise UserError(f"{self.path} says {name} {said}, got {asked}: leave it out")
        return said

    def width(self, name: str, axis: int) -> int:
        """The size of a tensor's axis. A UserError where there is no such tensor."""
        if name not in self.state or self.state[name].ndim <= axis:
            raise UserError(f"{self.path} is not what it is taken for: it has no tensor {name} of {axis + 1} axes")
        return self.state[name].shape[axis]

    def count(self, pattern: str) -> int:
        """How many numbers from 0 on, without a gap, fit the place of the {} in the beginning of a tensor's name."""
        number = 0
        while any(name.startswith(pattern.format(number)) for name in self.state):
            number += 1
        return number


def read_checkpoint(path: str | Path, part: str = "", prefix: str = "") -> Checkpoint:
    """Reads a diffusers folder (or its subfolder `part`, where it is a whole pipeline), or a file.

    prefix: what the model's names begin with in files that hold more than the model; there it is taken off.
    Raises UserError for what is missing, damaged, or holds more than tensors.
    """
    return _only(_read(Path(path).expanduser(), part), prefix)


def _read(path: Path, part: str) -> Checkpoint:
    if path.is_dir():
        folder = path / part if part and (path / part).is_dir() else path
        if not (folder / CONFIG_NAME).exists():
            raise UserError(f"{folder} is no diffusers folder: it has no {CONFIG_NAME}")
        said, file = read_json(folder / CONFIG_NAME), folder / TRANSFORMERS_NAME
        if file.is_file() and not any(folder.glob(f"{WEIGHTS_STEM}*.safetensors")):
            return replace(_read_safetensors(file), config=said)
        return Checkpoint(folder, load_state(folder), said)
    if not path.is_file():
        raise UserError(f"no weights at {path}: give a diffusers folder, or a .safetensors, .pth or .ckpt file")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix in PICKLED:
        content, unread = _unwrapped(_unpickled(path))
        return Checkpoint(path, _tensors(content, path), unread=unread)
    raise UserError(f"weights must be .safetensors, {', '.join(PICKLED)}, got {path.name}")


def _only(checkpoint: Checkpoint, prefix: str) -> Checkpoint:
    """Where names begin with the prefix, those tensors without it; the others are not read. Else all of them."""
    inside = {name.removeprefix(prefix): each for name, each in checkpoint.state.items() if name.startswith(prefix)}
    if not prefix or not inside:
        return checkpoint
    others = Counter(name.split(".")[0] for name in checkpoint.state if not name.startswith(prefix))
    unread = (*checkpoint.unread, *(name for name, _ in others.most_common()))
    return replace(checkpoint, state=inside, unread=unread)


def _read_safetensors(path: Path) -> Checkpoint:
    try:
        with safe_open(path, framework="pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
            said = json.loads((file.metadata() or {}).get("config", "{}"))
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise UserError(f"{path} is damaged ({error}): copy it again") from error
    return Checkpoint(path, state, said if isinstance(said, dict) else {})


def _unpickled(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(f"{path} holds more than tensors, or is damaged: it is not read") from error
    except (*_DAMAGED, *_CONFUSED) as error:
        why = (str(error).strip() or type(error).__name__).splitlines()[0][:100]
        raise UserError(f"{path} is damaged ({why}): copy it again") from error


def _unwrapped(content: Any) -> tuple[Any, tuple[str, ...]]:
    """-> the model inside its wrappers, and the names beside it that hold tensors as well."""
    beside: list[str] = []
    for wrapper in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            beside += [str(name) for name, value in content.items() if name != wrapper and _has_tensors(value)]
            content = content[wrapper]
    return content, tuple(beside)


def _has_tensors(content: Any) -> bool:
    if isinstance(content, (dict, list, tuple)):
        return any(map(_has_tensors, content.values() if isinstance(content, dict) else content))
    return isinstance(content, Tensor)


def _tensors(content: Any, path: Path) -> dict[str, Tensor]:
    if not isinstance(content, dict) or not content:
        raise UserError(f"{path} must hold tensors by name, got a {type(content).__name__}")
    found = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    if len(found) < len(content):
        others = [str(name) for name in content if name not in found]
        raise UserError(f"{path} must hold tensors by name alone, got also {', '.join(others[:5])}")
    return found


def renamed(checkpoint: Checkpoint, rename: Callable[[str], str]) -> dict[str, Tensor]:
    """The tensors by our names. A UserError where two would bear the same one; who loads them counts the rest."""
    found: dict[str, Tensor] = {}
    for theirs, tensor in checkpoint.state.items():
        if (ours := rename(theirs)) in found:
            raise UserError(f"{checkpoint.path} holds {ours} twice, the second time as {theirs}")
        found[ours] = tensor
    return found

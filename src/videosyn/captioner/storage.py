"""A captioner in one folder: `config.json`, safetensors, `tokenizer/`. Loading is strict. Next: `clip_captioner.py`."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import torch

from videosyn.captioner.config import CaptionerConfig
from videosyn.captioner.model import Captioner
from videosyn.core.config import load_json, read_json
from videosyn.core.errors import UserError
from videosyn.core.model_folder import CONFIG_NAME, load_state, load_strict, replace_model, save_module

TOKENIZER = "tokenizer"


def save_captioner(folder: str | os.PathLike, model: Captioner, int8: bool = False) -> None:
    """Writes the folder that `load_captioner` reads: all of it, or nothing. Tied weights are written once."""
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
        written = Path(scratch) / folder.name
        save_module(written, _Untied(model), model.config, int8=int8)
        model.tokenizer.save_pretrained(written / TOKENIZER)
        replace_model(folder, written)


def load_captioner(folder: str | os.PathLike) -> Captioner:
    """The captioner of a folder, on the CPU in fp32, in eval mode. A UserError for anything missing or foreign."""
    config = load_json(CaptionerConfig, Path(folder) / CONFIG_NAME)
    model = Captioner(config, load_tokenizer(Path(folder) / TOKENIZER))
    load_strict(_Untied(model), load_state(folder), folder)
    return model.eval()


def load_tokenizer(folder: str | os.PathLike) -> Any:
    """transformers' tokenizer of a folder or hub id. A UserError where there is none, or none with an end token."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder))
    except (OSError, ValueError, KeyError) as error:
        line = (str(error) or type(error).__name__).strip().splitlines()[0]
        raise UserError(f"no tokenizer at {folder} ({line}): copy the captioner's folder again") from error
    if tokenizer.eos_token_id is None:
        raise UserError(f"the tokenizer at {folder} has no end token: name that of a causal language model")
    return tokenizer


def is_captioner(folder: str | os.PathLike) -> bool:
    """Whether a folder holds a captioner of ours."""
    path = Path(folder) / CONFIG_NAME
    return path.is_file() and read_json(path).get("_class_name") == Captioner.__name__


class _Untied(torch.nn.Module):
    """A captioner's state without weights that stand in for others (an output layer that is the input's)."""

    def __init__(self, model: Captioner) -> None:
        super().__init__()
        self.model = model

    def _tied(self) -> set[str]:
        names: dict[int, str] = {}
        twice: set[str] = set()
        for name, parameter in self.model.named_parameters(remove_duplicate=False):
            if names.setdefault(id(parameter), name) != name:
                twice.add(name)
        return twice

    def state_dict(self, *args: Any, **how: Any) -> dict[str, torch.Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        tied = self._tied()
        return {name: value for name, value in self.model.state_dict().items() if name not in tied}

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """`load_strict` has compared the names; tied weights are their twins."""
        return self.model.load_state_dict(dict(state_dict), strict=False)

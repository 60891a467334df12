"""Whether other people's files hold all of a model and nothing else, which their own loaders only warn about.

Used by `foreign.py` and `foreign_vae.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import safe_open
from torch import nn

from videosyn.core.config import read_json
from videosyn.core.errors import UserError


def text_encoders(folder: Path, dtype: torch.dtype) -> dict[str, nn.Module]:
    """The pipeline's text encoders that are transformers' models, whole; those that share a tensor need it once.

    transformers renames tensors of older files as it loads, so it alone knows what is missing.
    """
    import transformers

    found = {}
    for name, entry in read_json(folder / "model_index.json").items():
        library, kind = entry if isinstance(entry, list) and len(entry) == 2 else (None, None)
        cls = getattr(transformers, str(kind), None)
        if not name.startswith("text_encoder") or library != "transformers" or cls is None:
            continue
        path = folder / name
        if not path.is_dir():  # diffusers says what it misses
            continue
        model, told = cls.from_pretrained(path, dtype=dtype, use_safetensors=True, output_loading_info=True)
        state = model.state_dict()
        there = {state[key].data_ptr() for key in state.keys() - set(told["missing_keys"])}
        missing = [key for key in told["missing_keys"] if key not in state or state[key].data_ptr() not in there]
        _check_none_left(path, model, missing, told["unexpected_keys"])
        found[name] = model.eval()
    return found


def check_complete(part: nn.Module, folder: Path) -> None:
    """Raises UserError, naming up to five, for tensors that are in the part but not its files, or the other way.

    diffusers renames tensors of older files as it loads, of those in one piece alone: so they are here.
    """
    names: dict[str, None] = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as opened:
            names |= dict.fromkeys(opened.keys())
    rename = getattr(part, "_fix_state_dict_keys_on_load", None)
    if rename is not None and not any(folder.glob("*.safetensors.index.json")):
        rename(names)  # in place
    stored, own = set(names), set(part.state_dict())
    _check_none_left(folder, part, own - stored, stored - own)


def _check_none_left(folder: Path, part: nn.Module, missing: Iterable[str], foreign: Iterable[str]) -> None:
    for what, keys in (("missing", missing), ("foreign", foreign)):
        if names := sorted(keys):
            raise UserError(
                f"{folder} does not fit {type(part).__name__}: {len(names)} {what} ({', '.join(names[:5])})"
            )

"""Weights of transformers, from a folder or the hub, every one accounted for. transformers itself only warns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from videosyn.core.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import nn


def load_strictly(kind: Any, model: str, whose: str, may_be_left: Sequence[str] = ()) -> Any:
    """`kind.from_pretrained(model)` in eval mode, every weight accounted for; UserError otherwise.

    whose: the config's parts that named the model. may_be_left: how the names of weights begin that are not wanted.
    """
    try:
        loaded, info = kind.from_pretrained(model, output_loading_info=True, use_safetensors=True)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError, SafetensorError) as error:
        line = (str(error) or type(error).__name__).strip().splitlines()[0]
        raise UserError(f"{whose}: cannot load {model!r} ({line}): give a folder or a hub id of weights") from error
    check_all_used(info, model, may_be_left)
    return loaded.eval().requires_grad_(False)


def check_all_used(info: Mapping[str, Any], model: str, may_be_left: Sequence[str] = ()) -> None:
    """Raises UserError where transformers' loading info tells of missing, foreign or misshapen weights."""
    foreign = [key for key in info["unexpected_keys"] if not key.startswith(tuple(may_be_left))]
    wrong = {"missing": info["missing_keys"], "foreign": foreign, "misshapen": info["mismatched_keys"]}
    problems = [f"{len(keys)} {what} ({sorted(map(str, keys))[0]}, ...)" for what, keys in wrong.items() if keys]
    if problems:
        raise UserError(f"{model} does not hold the weights its config asks for: {'; '.join(problems)}")


def place(model: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    """Moves a model to a device and what its files hold to a number type.

    Buffers that no file holds keep theirs: rotary frequencies rounded to bf16 turn far positions by wrong angles.
    """
    model.to(device)
    for stored in model.state_dict(keep_vars=True).values():
        if stored.is_floating_point():
            stored.data = stored.data.to(dtype)

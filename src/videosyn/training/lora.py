"""Low-rank adapters on a VDiT, in the layout of diffusers' files. Used by `run.py` and `saving.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from videosyn.core.errors import UserError
from videosyn.core.files import atomic_file
from videosyn.core.tensor_file import save_tensors

FILE = "pytorch_lora_weights.safetensors"
_NAME = "default"


def add_adapter(vdit: nn.Module, rank: int, targets: tuple[str, ...]) -> None:
    """Puts adapters of `rank` on the layers of the VDiT's blocks that `targets` name, in place; all else is frozen."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise UserError("lora_rank needs peft: pip install 'videosyn[train]'") from error
    names = {name.rpartition(".")[2] for name, _ in vdit.named_modules() if name.startswith("blocks.")}
    if unknown := [target for target in targets if target not in names]:
        raise UserError(f"no layer of the VDiT's blocks is called {unknown[0]!r}: they are {', '.join(sorted(names))}")
    pattern = rf"blocks\..*\.({'|'.join(targets)})"
    vdit.requires_grad_(False)
    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=pattern)
    inject_adapter_in_model(config, vdit, adapter_name=_NAME)


def save_adapter(vdit: nn.Module, folder: Path) -> None:
    """Writes `pytorch_lora_weights.safetensors`, whole or not at all."""
    from peft import get_peft_model_state_dict

    state: dict[str, Any] = get_peft_model_state_dict(vdit, adapter_name=_NAME)  # pyright: ignore[reportArgumentType]
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_file(folder / FILE) as hidden:
        save_tensors(
            {f"transformer.{name}": tensor.detach().cpu().contiguous() for name, tensor in state.items()},
            hidden,
            metadata={"format": "pt"},
        )

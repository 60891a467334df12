"""LoRA files in the twin pipeline, as diffusers' other pipelines have them. `sampling/adapter.py` says what is in one.

diffusers warns about keys that fit no layer and goes on; here a file fits as a whole, or is refused.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diffusers.loaders.lora_base import LoraBaseMixin
from diffusers.utils.import_utils import is_peft_available
from huggingface_hub import hf_hub_download
from torch import Tensor

from videosyn.core.errors import UserError
from videosyn.diffusers.folder import FROM_HABIT, HUB_OPTIONS
from videosyn.sampling.adapter import FILE, Adapter, check_adapter, read_adapter


class VideoSynLoraMixin(LoraBaseMixin):
    """`load_lora_weights`, and from the base `unload_lora_weights`, `set_adapters`, `disable_lora` and the others."""

    _lora_loadable_modules = ["transformer"]  # noqa: RUF012
    transformer_name = "transformer"
    transformer: Any

    @classmethod
    def lora_state_dict(
        cls,
        pretrained_model_name_or_path_or_dict: str | os.PathLike | Mapping[str, Tensor],
        weight_name: str = FILE,
        subfolder: str | None = None,
        return_lora_metadata: bool = False,
        **options: Any,
    ) -> Any:
        """The tensors of a file, a folder's, a hub id's or a mapping, by their keys; and (asked for) its config."""
        adapter = _adapter(pretrained_model_name_or_path_or_dict, weight_name, subfolder, **options)
        return (adapter.tensors, dict(adapter.config) or None) if return_lora_metadata else adapter.tensors

    def load_lora_weights(
        self,
        pretrained_model_name_or_path_or_dict: str | os.PathLike | Mapping[str, Tensor],
        adapter_name: str | None = None,
        hotswap: bool = False,
        weight_name: str = FILE,
        subfolder: str | None = None,
        **options: Any,
    ) -> None:
        """Puts the adapter of a file, a folder, a hub id or a mapping on the transformer, beside others, and uses it.

        Raises UserError unless every key fits a layer. options: those of huggingface_hub, see `folder.py`.
        """
        if not is_peft_available():
            raise UserError("LoRA files need peft: pip install peft")
        adapter = _adapter(pretrained_model_name_or_path_or_dict, weight_name, subfolder, **options)
        check_adapter(adapter, self.transformer)
        if adapter_name in self._loaded() and not hotswap:
            raise UserError(f"there is an adapter {adapter_name!r} already: give another adapter_name, or unload it")
        self.transformer.load_lora_adapter(
            adapter.tensors,
            adapter_name=adapter_name,
            metadata=dict(adapter.config) or None,
            hotswap=hotswap,
            _pipeline=self,
        )

    def set_adapters(self, adapter_names: list[str] | str, adapter_weights: Any = None) -> None:
        """Uses these adapters, each with its weight (default 1), and no others. Raises UserError for unknown names."""
        names = [adapter_names] if isinstance(adapter_names, str) else list(adapter_names)
        if unknown := [name for name in names if name not in self._loaded()]:
            have = ", ".join(self._loaded()) or "none: call load_lora_weights first"
            raise UserError(f"no adapter is called {unknown[0]!r}: there are {have}")
        if isinstance(adapter_weights, list) and len(adapter_weights) != len(names):
            raise UserError(f"adapter_weights must be one, or one for each of {len(names)}, got {len(adapter_weights)}")
        super().set_adapters(names, adapter_weights)

    @classmethod
    def save_lora_weights(
        cls,
        save_directory: str | os.PathLike,
        transformer_lora_layers: Mapping[str, Any],
        is_main_process: bool = True,
        weight_name: str = FILE,
        save_function: Any = None,
        safe_serialization: bool = True,
        transformer_lora_adapter_metadata: dict[str, Any] | None = None,
    ) -> None:
        """Writes tensors such as `peft.get_peft_model_state_dict(pipe.transformer)` as a file that loads again."""
        if not safe_serialization:
            raise UserError("weights are saved as safetensors only: leave out safe_serialization=False")
        cls._save_lora_weights(
            save_directory=save_directory,
            lora_layers={cls.transformer_name: dict(transformer_lora_layers)},
            lora_metadata={cls.transformer_name: transformer_lora_adapter_metadata},
            is_main_process=is_main_process,
            weight_name=weight_name,
            save_function=save_function,
            safe_serialization=True,
        )

    def fuse_lora(self, components: Sequence[str] = ("transformer",), **how: Any) -> None:
        """Adds the adapters in use to the weights. how: `lora_scale`, `safe_fusing`, `adapter_names`."""
        super().fuse_lora(components=list(components), **how)

    def unfuse_lora(self, components: Sequence[str] = ("transformer",), **how: Any) -> None:
        """Takes them out of the weights again."""
        super().unfuse_lora(components=list(components), **how)

    def _loaded(self) -> list[str]:
        return list(getattr(self.transformer, "peft_config", {}))


def _adapter(
    name: str | os.PathLike | Mapping[str, Tensor], weight_name: str, subfolder: str | None, **options: Any
) -> Adapter:
    hub = {key: value for key, value in options.items() if key not in FROM_HABIT and value is not None}
    if unknown := sorted(set(hub) - set(HUB_OPTIONS)):
        raise UserError(f"load_lora_weights knows {', '.join(HUB_OPTIONS)}, got {unknown[0]!r}: leave it out")
    if isinstance(name, Mapping):
        return Adapter(Path("the adapter"), dict(name), {})
    path = Path(name)
    if path.is_dir():
        return read_adapter(path / (subfolder or "") / weight_name)
    if path.suffix == ".safetensors" or path.exists():
        return read_adapter(path)
    try:
        return read_adapter(hf_hub_download(os.fspath(name), weight_name, subfolder=subfolder, **hub))
    except (OSError, ValueError) as error:
        raise UserError(f"no adapter {weight_name} at {name} ({' '.join(str(error).split())[:120]})") from error

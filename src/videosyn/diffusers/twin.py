"""What the twins share: a core (VidVAE, VDiT) that is also a diffusers model, in the same folders, strictly loaded.

A twin is its core's subclass: same parameters, same names. Only the config is two things at once.
"""

from __future__ import annotations

import dataclasses
import inspect
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from diffusers.configuration_utils import ConfigMixin, FrozenDict
from diffusers.models.modeling_utils import ModelMixin
from torch import nn

from videosyn.core import config as config_io
from videosyn.core.errors import UserError
from videosyn.core.model_folder import CONFIG_NAME, load_state, load_strict, save_module
from videosyn.diffusers.folder import model_folder, number_type


class TwinConfig(FrozenDict):
    """A core's dataclass config as diffusers' users read it (`config["width"]`, `config.width`, `**config`).

    For the core its derived properties (`config.space_factor`) work too; notes are diffusers' own entries.
    """

    def __init__(self, core: Any = None, notes: Mapping[str, Any] | None = None) -> None:
        fields = {} if core is None else {each.name: getattr(core, each.name) for each in dataclasses.fields(core)}
        super().__init__({**(notes or {}), **fields})
        object.__setattr__(self, "_core", core)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # a private name is never the core's; copying asks for some before `_core` is there
            raise AttributeError(name)
        return getattr(self._core, name)


class Twin(ModelMixin, ConfigMixin):
    """Base of the twins, behind the core in their bases. The subclass names its two classes."""

    config_name = CONFIG_NAME
    core_class: ClassVar[type[nn.Module]]
    config_class: ClassVar[type]

    @property
    def config(self) -> TwinConfig:
        """The core's config, frozen; as a mapping and by attribute."""
        return self._internal_dict

    @config.setter
    def config(self, core: Any) -> None:
        self._internal_dict = TwinConfig(core)

    @property
    def core_config(self) -> Any:
        """The dataclass behind `config`."""
        return self._internal_dict._core

    def register_to_config(self, **entries: Any) -> None:
        """diffusers' way to change the config: fields change the core's, anything else is a note beside them."""
        names = {field.name for field in dataclasses.fields(self.config_class)}
        fields = {key: value for key, value in entries.items() if key in names}
        core = config_io.from_dict(self.config_class, {**config_io.to_dict(self.core_config), **fields})
        self._internal_dict = TwinConfig(core, {**self._internal_dict, **entries})

    def save_config(self, save_directory: str | os.PathLike, **_: Any) -> None:
        """Writes config.json as our own code does, so that both worlds read it."""
        Path(save_directory).mkdir(parents=True, exist_ok=True)
        config_io.save_json(self.core_config, Path(save_directory) / CONFIG_NAME)

    @classmethod
    def from_core(cls, core: nn.Module) -> Self:
        """A twin that shares the core's tensors."""
        with torch.device("meta"):
            twin = cls(**config_io.to_dict(core.config))
        twin.load_state_dict(core.state_dict(), assign=True)
        return twin.train(core.training)

    def to_core(self) -> Any:
        """The core that shares this twin's tensors. A UserError where adapters or quantisation changed the weights."""
        with torch.device("meta"):
            core = self.core_class(self.core_config)
        state = self.state_dict()
        if changed := sorted(set(state) ^ set(core.state_dict())):
            raise UserError(f"{type(self).__name__} has other weights than its core ({changed[0]}): unload adapters")
        core.load_state_dict(state, assign=True)
        return core.train(self.training)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike,
        *,
        subfolder: str | None = None,
        dtype: torch.dtype | None = None,
        torch_dtype: torch.dtype | None = None,
        quantization_config: Any = None,
        device_map: Any = None,
        **options: Any,
    ) -> Self:
        """Reads a folder that either world wrote, int8 included; a UserError unless every key fits.

        dtype (or torch_dtype): default float32. options: see `folder.py`. With a quantization_config or a device_map
        the weights, once checked, are handed to diffusers' own loader as a plain folder of `dtype`.
        """
        folder = model_folder(pretrained_model_name_or_path, subfolder, **options)
        config = config_io.load_json(cls.config_class, folder / CONFIG_NAME)
        number = number_type(dtype, torch_dtype)
        core = cls.core_class(config).to(number)
        load_strict(core, load_state(folder), folder)
        if quantization_config is not None or device_map is not None:
            with tempfile.TemporaryDirectory() as plain:
                save_module(plain, core, config)
                del core
                twin = super().from_pretrained(
                    plain, torch_dtype=number, quantization_config=quantization_config, device_map=device_map
                )
        else:
            twin = cls.from_core(core)
        twin.register_to_config(_name_or_path=os.fspath(pretrained_model_name_or_path))
        return twin.eval()

    def save_pretrained(
        self,
        save_directory: str | os.PathLike,
        *,
        max_shard_size: int = 15_000_000,
        int8: bool = False,
        safe_serialization: bool = True,
        variant: str | None = None,
        push_to_hub: bool = False,
        **hub: Any,
    ) -> None:
        """Writes the folder that either world reads. max_shard_size: bytes; int8: a quarter of fp32's size.

        push_to_hub: afterwards also to the hub, as `repo_id` (default: the folder's name) with the other options.
        """
        check_saving(safe_serialization, variant)
        check_hub_options(push_to_hub, hub)
        if not isinstance(max_shard_size, int):
            raise UserError(f"max_shard_size is a number of bytes, got {max_shard_size!r}: use 15_000_000")
        core = self.to_core()
        save_module(save_directory, core, core.config, max_shard_bytes=max_shard_size, int8=int8)
        if push_to_hub:
            self.push_to_hub(hub.pop("repo_id", Path(save_directory).name), **hub)


def check_saving(safe_serialization: bool, variant: str | None) -> None:
    """A UserError for what diffusers can write and we do not: pickles, and several precisions in one folder."""
    if not safe_serialization:
        raise UserError("weights are saved as safetensors only: leave out safe_serialization=False")
    if variant is not None:
        raise UserError(f"a folder holds one precision, got variant {variant!r}: save into another folder")


def check_hub_options(push_to_hub: bool, options: Mapping[str, Any]) -> None:
    """A UserError for options that nothing would read: those of the hub, where nothing goes there, or misspelt ones."""
    if options and not push_to_hub:
        raise UserError(f"save_pretrained does not know {sorted(options)[0]!r} without push_to_hub: leave it out")


def takes_fields_of(config_class: type) -> Callable[[Callable], Callable]:
    """Gives an `__init__(self, **fields)` the signature that diffusers reads: the fields of a dataclass config."""

    def mark(init: Callable) -> Callable:
        parameters = inspect.signature(config_class).parameters.values()
        own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        keywords = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters]
        init.__signature__ = inspect.Signature([own, *keywords])  # pyright: ignore[reportFunctionMemberAccess]
        return init

    return mark

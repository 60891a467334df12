"""Either text encoder as one module, tokenizer included, as a pipeline's component must be: movable, offloadable."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import nn

from videosyn.core import config as config_io
from videosyn.core.errors import UserError
from videosyn.core.model_folder import CONFIG_NAME
from videosyn.diffusers.folder import model_folder, number_type
from videosyn.text.features import TextFeatures
from videosyn.text.nano import NanoTextEncoder
from videosyn.text.t5 import T5TextEncoder


class PromptEncoder(nn.Module):
    """Prompts in, features out. `encoder` is the NanoTextEncoder or T5TextEncoder within."""

    def __init__(self, encoder: NanoTextEncoder | T5TextEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        if isinstance(encoder, T5TextEncoder):  # no module itself, so its model would not be moved with this one
            self.model = encoder.model

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike,
        *,
        subfolder: str | None = None,
        dtype: torch.dtype | None = None,
        torch_dtype: torch.dtype | None = None,
        **options: Any,
    ) -> Self:
        """Reads the folder of either encoder, its tokenizer beside the weights; a UserError for any other."""
        folder = model_folder(pretrained_model_name_or_path, subfolder, **options)
        number = number_type(dtype, torch_dtype)
        config = config_io.read_json(folder / CONFIG_NAME)
        if config.get("_class_name") == "NanoTextEncoder":
            return cls(NanoTextEncoder.load(folder).to(number)).eval()
        if config.get("model_type") == "t5":
            return cls(T5TextEncoder(folder, dtype=number)).eval()
        name = config.get("_class_name") or config.get("model_type")
        raise UserError(f"{folder} must hold a NanoTextEncoder or a T5 encoder, got {name!r}")

    @property
    def width(self) -> int:
        """E"""
        return self.encoder.width

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype

    def forward(self, prompts: Sequence[str]) -> TextFeatures:
        """B prompts -> features (B, L, E) and mask (B, L). The empty prompt is "no prompt"."""
        return self.encoder.encode(prompts)

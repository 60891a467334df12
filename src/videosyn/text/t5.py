"""The paper's text encoder: T5's encoder of any size, from a path or a hub id, through transformers."""

from __future__ import annotations

import os
import pickle
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from videosyn.core.config import read_json, write_json
from videosyn.core.errors import UserError
from videosyn.core.runtime import is_out_of_memory
from videosyn.text.features import CutPrompt, TextFeatures

MAX_TOKENS = 250
"""Paper section 3.2."""
SETTINGS_NAME = "videosyn.json"
TOKENIZER_NAMES = ("tokenizer.json", "spiece.model")
TIED = {"encoder.embed_tokens.weight"}
"""Stored once, as `shared.weight`."""
OF_THE_DECODER = {"lm_head.weight"}
"""In files of the whole T5, beside what transformers knows by its name to be the decoder's."""


class T5TextEncoder:
    """Frozen. Features are T5's last hidden states; 250 tokens by default (paper section 3.2)."""

    def __init__(
        self,
        path_or_id: str | os.PathLike,
        max_tokens: int | None = None,
        dtype: torch.dtype = torch.bfloat16,
        device: str | torch.device = "cpu",
        pickled: bool = False,
    ) -> None:
        """path_or_id: a folder or a hub id of a T5 encoder, with its tokenizer in it, or beside it in `tokenizer/`.

        max_tokens: default what the folder says, as `save` left it, else MAX_TOKENS. pickled: a folder may hold
        its weights as pytorch_model.bin, read as tensors alone, as a hub id always may: older ones hold nothing else.
        Raises UserError where it does not load whole.
        """
        try:
            from transformers import AutoTokenizer, T5EncoderModel  # seconds to import; only users of T5 pay
        except ImportError as error:
            raise UserError("a T5 text encoder needs transformers: pip install 'videosyn[diffusers]'") from error

        folder = Path(path_or_id)
        settings = read_json(folder / SETTINGS_NAME) if (folder / SETTINGS_NAME).is_file() else {}
        self.max_tokens = max_tokens or settings.get("max_tokens", MAX_TOKENS)
        beside = folder.parent / "tokenizer"
        apart = beside.is_dir() and not any(folder.glob("tokenizer*")) and not any(folder.glob("spiece.model"))
        words = beside if apart else folder
        if folder.is_dir() and not any((words / name).is_file() for name in TOKENIZER_NAMES):  # none would be made up
            raise UserError(f"{words} holds no tokenizer ({' or '.join(TOKENIZER_NAMES)}): copy the T5 again")
        if not pickled and any(folder.glob("pytorch_model*.bin")) and not any(folder.glob("*.safetensors")):
            raise UserError(
                f"{folder} holds a pickle, but model.safetensors is wanted: write it once with transformers, "
                f"T5EncoderModel.from_pretrained(folder).save_pretrained(folder)"
            )
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(beside if apart else path_or_id)
            loaded: Any = T5EncoderModel.from_pretrained(
                path_or_id,
                dtype=dtype,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                use_safetensors=True if folder.is_dir() and not pickled else None,
            )
        except (pickle.UnpicklingError, EOFError) as error:
            raise UserError(
                f"{path_or_id} holds no weights in its pickle: copy it again, or get its model.safetensors"
            ) from error
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError, SafetensorError) as error:
            if is_out_of_memory(error):
                raise
            line = " ".join((str(error) or type(error).__name__).split())[:200]
            raise UserError(f"no T5 encoder loads from {path_or_id}, copy it again or name another: {line}") from error
        model, told = loaded
        wrong = {
            "missing": set(told["missing_keys"]) - TIED,
            "foreign": set(told["unexpected_keys"]) - OF_THE_DECODER,
            "of another shape": {key for key, *_ in told["mismatched_keys"]},
        }
        problems = [f"{len(keys)} {what} ({', '.join(sorted(keys)[:5])})" for what, keys in wrong.items() if keys]
        if problems:
            raise UserError(f"{path_or_id} is no whole T5 encoder: {'; '.join(problems)}")
        self.model = model.eval().requires_grad_(False)
        self.model.to(device)  # pyright: ignore[reportArgumentType]

    def save(self, folder: str | os.PathLike) -> None:
        """Writes model, tokenizer and settings: what `T5TextEncoder(folder)` reads."""
        self.model.save_pretrained(folder, safe_serialization=True)
        self.tokenizer.save_pretrained(folder)
        write_json({"max_tokens": self.max_tokens}, Path(folder) / SETTINGS_NAME)

    @property
    def width(self) -> int:
        """E"""
        return self.model.config.d_model

    @torch.no_grad()
    def encode(self, prompts: Sequence[str], max_tokens: int | None = None) -> TextFeatures:
        """B prompts -> features (B, L, E), L the longest prompt's tokens, at most `max_tokens`. No gradient."""
        limit = max_tokens or self.max_tokens
        for prompt, ids in zip(prompts, self.tokenizer(list(prompts), verbose=False).input_ids):
            if len(ids) > limit:
                lost = self.tokenizer.decode(ids[limit - 1 :], skip_special_tokens=True)
                line = f"prompt has {len(ids)} tokens, the model reads {limit}: {lost!r} is ignored"
                warnings.warn(CutPrompt(line, prompt), stacklevel=2)
        batch = self.tokenizer(list(prompts), padding=True, truncation=True, max_length=limit, return_tensors="pt")
        batch = batch.to(self.model.device)
        hidden = self.model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).last_hidden_state
        return TextFeatures(hidden, batch.attention_mask.bool())

    def null(self, batch: int) -> TextFeatures:
        return self.encode([""] * batch)

"""The small text encoder that is trained together with a VDiT. Its words: `tokenizer.py`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from videosyn.core import config as config_io
from videosyn.core.errors import UserError
from videosyn.core.model_folder import CONFIG_NAME, load_state, load_strict, save_module
from videosyn.text.config import NanoTextEncoderConfig
from videosyn.text.features import TextFeatures
from videosyn.text.tokenizer import WordTokenizer

TOKENIZER_NAME = "tokenizer.json"


class NanoTextEncoder(nn.Module):
    """Prompts -> features (B, L, E) of L tokens, L the longest prompt's; differentiable."""

    def __init__(self, config: NanoTextEncoderConfig, tokenizer: WordTokenizer) -> None:
        super().__init__()
        if len(tokenizer) != config.vocab_size:
            raise UserError(f"vocab_size must be the tokenizer's {len(tokenizer)}, got {config.vocab_size}")
        self.config = config
        self.tokenizer = tokenizer
        self.words = nn.Embedding(config.vocab_size, config.width)
        self.places = nn.Embedding(config.max_tokens, config.width)
        self.layers = nn.ModuleList([TextLayer(config.width, config.num_heads) for _ in range(config.depth)])
        self.norm = nn.LayerNorm(config.width)
        nn.init.normal_(self.words.weight, std=0.5)
        nn.init.normal_(self.places.weight, std=0.1)

    @classmethod
    def load(cls, folder: str | os.PathLike) -> NanoTextEncoder:
        """Reads config, weights and tokenizer.json of a folder, strictly. A UserError for anything missing."""
        config = config_io.load_json(NanoTextEncoderConfig, Path(folder) / CONFIG_NAME)
        encoder = cls(config, WordTokenizer.load(Path(folder) / TOKENIZER_NAME))
        load_strict(encoder, load_state(folder), folder)
        return encoder

    def save(self, folder: str | os.PathLike, int8: bool = False) -> None:
        save_module(folder, self, self.config, int8=int8)
        self.tokenizer.save(Path(folder) / TOKENIZER_NAME)

    @property
    def width(self) -> int:
        """E"""
        return self.config.width

    def encode(self, prompts: Sequence[str], max_tokens: int | None = None) -> TextFeatures:
        """B prompts -> features and mask. The empty prompt gives the end token alone: "no prompt"."""
        limit = min(max_tokens or self.config.max_tokens, self.config.max_tokens)
        sequences = [torch.tensor(ids) for ids in self.tokenizer.encode(prompts, limit)]
        tokens = pad_sequence(sequences, batch_first=True, padding_value=self.tokenizer.pad_id)
        tokens = tokens.to(self.words.weight.device)
        mask = tokens != self.tokenizer.pad_id
        return TextFeatures(self(tokens, mask), mask)

    def null(self, batch: int) -> TextFeatures:
        return self.encode([""] * batch)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Token numbers (B, L) and mask (B, L), False where padding -> features (B, L, E)."""
        text = self.words(tokens) + self.places.weight[: tokens.shape[1]]
        bias = torch.zeros_like(mask, dtype=text.dtype).masked_fill(~mask, torch.finfo(text.dtype).min)[:, None, None]
        for layer in self.layers:
            text = layer(text, bias)
        return self.norm(text)


class TextLayer(nn.Module):
    """Pre-norm attention and feed-forward: text (B, L, E), bias (B, 1, 1, L) -> (B, L, E)."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        for last in (self.proj, self.fc2):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, text: Tensor, bias: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm1(text)).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        weights = ((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2) + bias).softmax(dim=-1)  # (B, H, L, L)
        text = text + self.proj((weights @ v).transpose(1, 2).flatten(2))
        return text + self.fc2(F.gelu(self.fc1(self.norm2(text))))

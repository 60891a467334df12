"""The nano text encoder's shape. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass

from videosyn.core.errors import UserError


@dataclass(frozen=True)
class NanoTextEncoderConfig:
    """A bidirectional transformer over words."""

    vocab_size: int
    """number of tokens; the tokenizer's length"""
    width: int = 192
    """E, width of the features"""
    depth: int = 3
    """number of layers"""
    num_heads: int = 3
    """attention heads; divides width"""
    max_tokens: int = 64
    """longest prompt, its end token included"""

    def __post_init__(self) -> None:
        for name in ("vocab_size", "width", "depth", "num_heads"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.width % self.num_heads:
            raise UserError(f"width must be a multiple of num_heads = {self.num_heads}, got {self.width}")
        if self.max_tokens < 2:
            raise UserError(f"max_tokens must be at least 2, a word and the end, got {self.max_tokens}")

"""What every text encoder gives. Next: `nano.py`, the small one; `t5.py`, the paper's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True)
class TextFeatures:
    """features (B, L, E); mask (B, L) bool, False where padding. Each row has at least one True."""

    features: Tensor
    mask: Tensor


class TextEncoder(Protocol):
    """The empty prompt stands for "no prompt": train with captions replaced by "", guide away from `null`."""

    def encode(self, prompts: Sequence[str], max_tokens: int | None = None) -> TextFeatures:
        """B prompts -> features. max_tokens: longest sequence, default the encoder's own; a cut prompt is warned of."""
        ...

    def null(self, batch: int) -> TextFeatures:
        """The features of the empty prompt, `batch` times."""
        ...

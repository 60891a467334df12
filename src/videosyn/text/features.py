"""What every text encoder gives. Next: `nano.py`, the small one; `t5.py`, the paper's."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

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


class CutPrompt(UserWarning):
    """An encoder does not read all of a prompt. The message is one line that says what is ignored."""

    def __init__(self, line: str, prompt: str) -> None:
        super().__init__(line)
        self.prompt = prompt


@contextmanager
def cut_prompts() -> Iterator[dict[str, str]]:
    """Within the block such warnings are not shown but collected: prompt -> what is ignored of it."""
    found: dict[str, str] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("always", CutPrompt)
        show = warnings.showwarning

        def keep(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if isinstance(message, CutPrompt):
                found[message.prompt] = str(message)
            else:
                show(message, category, *where, **more)

        warnings.showwarning = keep
        yield found

"""A text encoder that is there only while prompts are read: T5-XXL weighs ten times what the VDiT does."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence

from videosyn.text.features import TextEncoder, TextFeatures


class TextOnDemand:
    """Fulfils `TextEncoder`; loads the encoder at each call, or once for a block of `loaded`, and drops it."""

    def __init__(self, load: Callable[[], TextEncoder], width: int | None = None) -> None:
        """width: E, where that is known before loading."""
        self.load = load
        self.width = width
        self._encoder: TextEncoder | None = None

    @contextmanager
    def loaded(self) -> Iterator[None]:
        """Within the block the encoder is there; blocks within it use the same. No name for it, which would keep it."""
        if self._encoder is not None:
            yield
            return
        self._encoder = self.load()
        try:
            yield
        finally:
            self._encoder = None
            gc.collect()  # hooks and modules point at each other
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def encode(self, prompts: Sequence[str], max_tokens: int | None = None) -> TextFeatures:
        with self.loaded():
            assert self._encoder is not None
            return self._encoder.encode(prompts, max_tokens)

    def null(self, batch: int) -> TextFeatures:
        with self.loaded():
            assert self._encoder is not None
            return self._encoder.null(batch)


def encode_prompts(encoder: TextEncoder, prompts: Sequence[str], at_once: int = 32) -> dict[str, TextFeatures]:
    """The features (L, E) and mask (L,) of each prompt, without padding, in host memory; one on demand is loaded once.

    All of a call's prompts are read before denoising begins, so that the encoder can go.
    """
    read: dict[str, TextFeatures] = {}
    different = list(dict.fromkeys(prompts))
    with encoder.loaded() if isinstance(encoder, TextOnDemand) else nullcontext():
        for start in range(0, len(different), at_once):
            some = different[start : start + at_once]
            text = encoder.encode(some)  # (B, L, E)
            for prompt, features, mask in zip(some, text.features.cpu(), text.mask.cpu()):
                length = int(mask.nonzero().max()) + 1
                read[prompt] = TextFeatures(features[:length], mask[:length])
    return read


def batch_of(read: dict[str, TextFeatures], prompts: Sequence[str], device: torch.device) -> TextFeatures:
    """Features (B, L, E) of some prompts, L the longest one's tokens, and their mask, on the device."""
    features = pad_sequence([read[prompt].features for prompt in prompts], batch_first=True)
    mask = pad_sequence([read[prompt].mask for prompt in prompts], batch_first=True)
    return TextFeatures(features.to(device), mask.to(device))


def padded(text: TextFeatures, multiple: int) -> TextFeatures:
    """The same with L the next multiple: what is added is masked."""
    missing = -text.mask.shape[1] % multiple
    return TextFeatures(pad(text.features, (0, 0, 0, missing)), pad(text.mask, (0, missing)))

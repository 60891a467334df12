"""A small tokenizer for a small language model: byte-level BPE, which reads and says any text. Next: `storage.py`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

END = "<end>"


def make_tokenizer(texts: Iterable[str], vocab_size: int) -> Any:
    """transformers' fast tokenizer of at most `vocab_size` tokens (257 or more), learned from texts. END is token 0."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=END, bos_token=END)

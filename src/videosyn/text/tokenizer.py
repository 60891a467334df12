"""Words as tokens, and an unknown word as its bytes, so that it is seen, not lost. One file: tokenizer.json."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from videosyn.core.errors import UserError
from videosyn.core.marks import plain_marks
from videosyn.text.features import CutPrompt

PAD, END = "<pad>", "<end>"
MARK = "▁"
"""begins every word; alone, it announces the bytes of an unknown one"""


class WordTokenizer:
    """Lower-cased words and punctuation signs, each one token; all other words one token a byte after a mark.

    A known word is never cut out of an unknown one: "reddish" is bytes, not "red" and bytes. Unknown signs are
    read as a comma or as nothing (`core/marks.py`).
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        ids = tokenizer.get_vocab()
        if missing := [token for token in (PAD, END, MARK, "<0x00>") if token not in ids]:
            raise UserError(f"the tokenizer lacks {missing[0]!r}: it must be one that videosyn wrote")
        self.pad_id: int = ids[PAD]
        self.end_id: int = ids[END]
        words = (piece.removeprefix(MARK) for piece in ids if piece.startswith(MARK))
        self._signs = frozenset(sign for word in words for sign in word if not sign.isalnum())

    @classmethod
    def from_words(cls, words: Iterable[str]) -> WordTokenizer:
        """A tokenizer that knows `words`, split and lower-cased as prompts are, numbered in alphabetical order."""
        tokenizer = Tokenizer(models.BPE())
        tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.WhitespaceSplit(),
                pre_tokenizers.Punctuation("isolated"),
                pre_tokenizers.Metaspace(MARK, prepend_scheme="always", split=False),
            ]
        )
        tokenizer.decoder = decoders.Sequence(
            [decoders.Replace(MARK, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        )
        pieces = {piece for word in words for piece in _split(tokenizer, word)}
        names = [PAD, END, *(f"<0x{byte:02X}>" for byte in range(256)), MARK, *sorted(pieces)]
        # BPE without merges: a whole word is looked up, anything else falls apart into bytes.
        tokenizer.model = models.BPE(
            vocab={name: index for index, name in enumerate(names)}, merges=[], byte_fallback=True, ignore_merges=True
        )
        return cls(tokenizer)

    @classmethod
    def load(cls, path: str | os.PathLike) -> WordTokenizer:
        """Reads a tokenizer.json. A UserError where it is missing or damaged."""
        if not Path(path).is_file():
            raise UserError(f"no tokenizer at {path}: the text encoder's folder needs a tokenizer.json")
        try:
            return cls(Tokenizer.from_file(str(path)))
        except Exception as error:  # tokenizers raises bare Exception
            raise UserError(f"{path} is damaged ({error}): copy the model again") from error

    def save(self, path: str | os.PathLike) -> None:
        Path(path).write_text(self._tokenizer.to_str(pretty=True), encoding="utf-8")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WordTokenizer) and self._tokenizer.to_str() == other._tokenizer.to_str()

    def __hash__(self) -> int:
        return hash(self._tokenizer.to_str())

    def __len__(self) -> int:
        return self._tokenizer.get_vocab_size()

    def encode(self, prompts: Sequence[str], max_tokens: int) -> list[list[int]]:
        """Prompts -> token numbers, each list closed by the end token and at most `max_tokens` long.

        A longer prompt is cut, and a warning says what is left out.
        """
        sequences = []
        for prompt, encoding in zip(prompts, self._tokenizer.encode_batch([self._plain(each) for each in prompts])):
            ids = encoding.ids
            if len(ids) >= max_tokens:
                words = encoding.word_ids
                start, _ = encoding.offsets[words.index(words[max_tokens - 1])]
                lost = prompt[start:].rstrip()
                line = f"prompt has {len(ids) + 1} tokens, the model reads {max_tokens}: {lost!r} is ignored"
                warnings.warn(CutPrompt(line, prompt), stacklevel=2)
            sequences.append([*ids[: max_tokens - 1], self.end_id])
        return sequences

    def decode(self, ids: Sequence[int]) -> str:
        """Token numbers -> text: lower case, a space before every word and sign."""
        return self._tokenizer.decode([index for index in ids if index not in (self.pad_id, self.end_id)])

    def unknown_words(self, text: str) -> list[str]:
        """The words of `text` that the tokenizer spells in bytes, each once, in order."""
        pieces = _split(self._tokenizer, self._plain(text))
        unknown = (piece for piece in pieces if self._tokenizer.token_to_id(piece) is None)
        return list(dict.fromkeys(piece.removeprefix(MARK) for piece in unknown))

    def _plain(self, text: str) -> str:
        return plain_marks(text, self._signs)


def _split(tokenizer: Tokenizer, text: str) -> list[str]:
    """Text -> marked, lower-cased words and signs."""
    assert tokenizer.normalizer is not None
    assert tokenizer.pre_tokenizer is not None
    return [piece for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(text))]

"""Punctuation that a reader of prompts does not know, as what it knows. Torch-free."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Set

PAUSES = frozenset(".!?;:,/|&+·•。、؟،؛।")
"""Between clauses, and between things that are listed; so are dashes. In NFKC, where full-width ones are ASCII's."""
HYPHENS = frozenset("-\u2010\u2212")
APOSTROPHES = frozenset("'`\u00b4\u02bc\u2018\u2019")
MARKS = ("Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "Cf", "Cc")
"""Unicode's categories of marks. "So", pictures such as emoji, are words."""
_POSSESSIVE = re.compile(rf"(?<=\w)[{''.join(APOSTROPHES)}]s\b", re.IGNORECASE)
_RUN = re.compile(r"[\s,:\0]+")


def plain_marks(text: str, known: Set[str]) -> str:
    """The text with each mark that is not `known` as a comma, where it parts what stands before from what comes after,
    else as a space: so are quotes, brackets, and the 's of "the ball's colour". No comma where that is not known.

    As long as the text, character by character, so that places in one are places in the other.
    """
    if not known & APOSTROPHES:
        text = _POSSESSIVE.sub("  ", text)
    signs = "".join(_plain(sign, known) for sign in text)

    def parted(run: re.Match[str]) -> str:
        parts = "," in known and run.start() > 0 and run.end() < len(signs) and not {",", ":"} & set(run[0])
        return run[0].replace("\0", "," if parts else " ", 1).replace("\0", " ")

    return _RUN.sub(parted, signs)


def _plain(sign: str, known: Set[str]) -> str:
    """One character, the zero character for a pause."""
    if sign.isspace() or not (sign in string.punctuation or unicodedata.category(sign) in MARKS):
        return sign
    plain = unicodedata.normalize("NFKC", sign)
    if all(part in known for part in plain):
        return sign
    if plain in HYPHENS:
        return "-" if "-" in known else " "
    if plain in APOSTROPHES and "'" in known:
        return "'"
    return "\0" if plain[0] in PAUSES or unicodedata.category(plain[0]) == "Pd" else " "

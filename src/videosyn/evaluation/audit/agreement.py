"""Whether a captioner, shown a clip, says what its caption says: all there is where nobody knows what a clip shows.

Agreement is not truth. Two texts agree as far as they have the same words, and, where both speak the language of the
world, as far as they say the same of its attributes. The same words fit many clips, so a clip's caption is also held
against what was said of another clip: what is above that is the caption's own. Next: `run.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from videosyn.captioner.clip_captioner import ClipCaptioner
from videosyn.curation.wording import SMALL_WORDS, words_of
from videosyn.evaluation.comparison import adherence
from videosyn.world.parser import parse

LEAST_KNOWN = 2 / 3
"""Share of a text's words that the world's parser must know for its attributes to be compared."""


@dataclass(frozen=True)
class Agreement:
    """How far a caption says what a captioner says."""

    attributes: dict[str, bool]
    """Attribute of the world that both name -> whether they say the same; empty outside the world's language."""
    overlap: float
    """Share of their content words that both have (F1); nan where either has none."""


def agreement(caption: str, said: str) -> Agreement:
    """Of a caption and what a captioner said of the same clip, in either order the same overlap."""
    return Agreement(_attributes(caption, said), overlap(caption, said))


def overlap(one: str, other: str) -> float:
    """F1 of the content words, each counted once: 1 the same words, 0 none in common; nan where a text has none."""
    first, second = content_words(one), content_words(other)
    if not first or not second:
        return float("nan")
    return 2 * len(first & second) / (len(first) + len(second))


def content_words(text: str) -> set[str]:
    """Lower-case words without those that every text has."""
    return {word for word in words_of(text) if word not in SMALL_WORDS}


def speaks_the_world(text: str) -> bool:
    """Whether the world's parser understands most of a text, and finds a thing in it."""
    words, read = words_of(text), parse(text)
    return bool(words) and read.count > 0 and 1 - len(read.unknown) / len(words) >= LEAST_KNOWN


def _attributes(caption: str, said: str) -> dict[str, bool]:
    if not (speaks_the_world(caption) and speaks_the_world(said)):
        return {}
    first, second = parse(caption), parse(said)
    named = adherence(second, second).keys()  # what the captioner is silent on neither agrees nor disagrees
    return {name: right for name, right in adherence(first, second).items() if name in named}


@dataclass(frozen=True)
class Opinion:
    """What a captioner says of a clip, and how that goes with its caption."""

    said: str
    own: Agreement
    by_chance: float
    """The overlap of the caption with what was said of the clip before; nan for the first."""


class SecondOpinion:
    """A captioner's captions beside those of a dataset, clip after clip."""

    def __init__(self, captioner: ClipCaptioner) -> None:
        self.captioner = captioner
        self._before = ""

    def __call__(self, frames: np.ndarray, caption: str) -> Opinion:
        """Of a clip, uint8 (T, H, W, 3), and its caption."""
        (said,) = self.captioner.caption([frames])
        before, self._before = self._before, said
        return Opinion(said, agreement(caption, said), overlap(caption, before))

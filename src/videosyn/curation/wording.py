"""What captions talk about, by their words alone: lengths, frequent words, topics. No model, English only.

A topic is a list of words; a caption belongs to every topic of which it uses a word, and to "none of these" where it
uses none. That is a rough measure, and the report says so. Next: `report.py`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

TOPICS = {
    "people": """person people man men woman women child children kid kids boy girl baby crowd face hand hands player
        dancer worker singer couple family figure pedestrian audience""",
    "animals": """animal dog cat bird horse fish rabbit bear cow sheep insect bee butterfly duck chicken lion tiger
        elephant monkey frog deer fox wolf squirrel pig owl penguin""",
    "plants and land": """tree forest grass flower leaf leaves plant mountain hill field meadow valley rock desert sand
        garden jungle snow ice cliff path park landscape""",
    "water": "water sea ocean river lake beach wave waves waterfall rain pool boat ship swim swims swimming coast pond",
    "sky and light": """sky cloud clouds sun sunset sunrise night moon star stars dusk dawn fog storm lightning rainbow
        noon shadow shadows""",
    "buildings and streets": """building house city street road bridge tower church castle skyscraper village window
        door wall roof lighthouse sidewalk square station""",
    "vehicles": "car truck bus train bicycle bike motorcycle plane airplane rocket taxi tram van vehicle traffic",
    "indoors": """room kitchen table chair desk bed office sofa lamp floor shelf studio bathroom bedroom living screen
        interior""",
    "food and drink": """food coffee cup bread fruit apple cake meat pizza bottle glass plate drink tea cooking cook
        vegetables meal bowl""",
    "sport and movement": """run runs running walk walks walking jump jumps jumping dance dances dancing ball game
        juggle juggles juggling ride rides riding climb climbs skate ski football basketball tennis spins bounces rolls
        slides""",
    "technology": "computer phone robot machine laptop keyboard monitor satellite tool engine drone",
    "drawings and text": """cartoon animation animated drawing painting text title logo subtitle subtitles pixel sketch
        illustration letters""",
}
"""Topic -> its words, in lower case."""

SMALL_WORDS = frozenset(
    """
    a about above across after again all along also an and another any are around as at away back be been before behind
    being below beside between both but by can down during each few first for from further has have having he her here
    his i if in into is it its itself just like more most near next no not of off on once one only onto or other out
    over own same scene seem seems several she shot show shown shows side so some still such than that the their them
    then there these they this those through to together toward towards two under until up upon very video clip was
    were what when where which while who whose with within without you your
    """.split()
)
"""Grammar's words, and those that captions of anything have."""


def words_of(caption: str) -> list[str]:
    """The words of a caption in lower case; digits count, punctuation does not."""
    return re.findall(r"[^\W_]+(?:['\u2019-][^\W_]+)*", caption.lower())


def frequent_words(captions: Iterable[str], most: int = 80) -> dict[str, int]:
    """The words that most captions use, with the number of those captions; grammar's small words left out."""
    counts = Counter(word for caption in captions for word in set(words_of(caption)))
    shown = [(word, count) for word, count in counts.items() if word not in SMALL_WORDS and len(word) > 2]
    return dict(sorted(shown, key=lambda pair: (-pair[1], pair[0]))[:most])


def topic_shares(captions: Sequence[str]) -> dict[str, float]:
    """Topic -> share of the captions that use one of its words, largest first; then "none of these"."""
    topics = {name: frozenset(words.split()) for name, words in TOPICS.items()}
    counts: Counter[str] = Counter()
    for caption in captions:
        words = {form for word in words_of(caption) for form in (word, word.removesuffix("s"))}
        found = [name for name, list_ in topics.items() if words & list_]
        counts.update(found or ["none of these"])
    ordered = sorted(counts.items(), key=lambda pair: (pair[0] == "none of these", -pair[1], pair[0]))
    return {name: count / len(captions) for name, count in ordered}

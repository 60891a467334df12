"""`videosyn evaluate loop`: prompts to films, films to captions; does the loop close?

    prompt -> film -> captioner's text -> what it says \\
                   -> pixel judge      -> what it sees  > each against the prompt, and against each other

Next on the path: `sources.py` (where films come from), `captioner/clip_captioner.py`, `judge/judge.py`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from tqdm import tqdm

from videosyn.captioner.clip_captioner import ClipCaptioner, is_ours, open_captioner
from videosyn.core.errors import UserError
from videosyn.core.files import atomic_file
from videosyn.evaluation.adherence import asked_of
from videosyn.evaluation.comparison import ATTRIBUTES, adherence
from videosyn.evaluation.document import Chart, Document, Film, Table, publish, settings_of
from videosyn.evaluation.judge.judge import judge
from videosyn.evaluation.loop_options import LoopConfig
from videosyn.evaluation.plots import whiskers
from videosyn.evaluation.report import ALL, Share
from videosyn.evaluation.sources import open_source
from videosyn.world.dense import read_dense
from videosyn.world.parsed import Parsed

SHOWN = 24
"""Films on the page."""


@dataclass(frozen=True)
class Closed:
    """One prompt and its film: what was asked, what the captioner says, what the judge sees."""

    prompt: str
    caption: str
    asked: Parsed
    said: Parsed
    seen: Parsed

    @property
    def verdicts(self) -> dict[str, dict[str, bool]]:
        """By column of the table: attribute -> right."""
        by_captioner, by_judge = adherence(self.asked, self.said), adherence(self.asked, self.seen)
        return {
            "captioner": by_captioner,
            "judge": by_judge,
            "same": adherence(self.seen, self.said),
            "same verdict": {name: by_captioner[name] == by_judge[name] for name in by_captioner},
        }


def run(config: LoopConfig) -> list[Closed]:
    """Makes, captions and judges every film, prints the table, writes the report into the output folder.

    A UserError for a vision language model: what it says is not read, and would count as wrong.
    """
    if not is_ours(config.captioner):
        raise UserError(
            "the loop reads what captioners of the world say: name nano, or a folder of train captioner, "
            f"got {config.captioner!r}"
        )
    asked = asked_of(config)
    captioner = open_captioner(config.captioner, config.device, config.dtype)
    make = open_source(config)
    closed: list[Closed] = []
    films: list[np.ndarray] = []
    seconds: dict[str, float] = dict.fromkeys(("make", "caption", "judge"), 0.0)
    with tqdm(total=len(asked), unit="clip", disable=None, file=sys.stderr) as bar:
        for start in range(0, len(asked), config.batch_size):
            batch = asked[start : start + config.batch_size]
            began = time.perf_counter()
            frames = make(batch, config.seed + start)  # uint8 (B, T, H, W, 3)
            made = time.perf_counter()
            texts = _told(captioner, frames)
            told = time.perf_counter()
            for number, (film, text) in enumerate(zip(frames, texts, strict=True)):
                place = start + number + (1 if config.wrong_prompts else 0)
                wanted = asked[place % len(asked)]
                said = read_dense(text, config.frames)
                closed.append(Closed(wanted.prompt, text, wanted.truth, said, judge(film)))
                if len(films) < SHOWN:
                    films.append(film)
                bar.update()
            judged = time.perf_counter()
            for name, spent in (("make", made - began), ("caption", told - made), ("judge", judged - told)):
                seconds[name] += spent / len(asked)
    config.output.mkdir(parents=True, exist_ok=True)
    with atomic_file(config.output / "captions.jsonl") as hidden:
        lines = (json.dumps({"prompt": each.prompt, "caption": each.caption}) for each in closed)
        hidden.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    publish(document_of(closed, settings_of(config), seconds, films, captioner.name), config.output)
    return closed


def _told(captioner: ClipCaptioner, frames: np.ndarray) -> list[str]:
    """Captions of films, each shown as many frames as the captioner wants."""
    from videosyn.captioner.frames import evenly_spaced

    numbers = evenly_spaced(frames.shape[1], captioner.num_frames)
    times = [number / max(1, frames.shape[1] - 1) for number in numbers]
    return captioner.caption(list(frames[:, numbers]), times=[times] * len(frames))


def shares(closed: Sequence[Closed], column: str) -> dict[str, Share]:
    """Of every attribute, over the films that name it, and of everything at once, over those that name any."""
    verdicts = [each.verdicts[column] for each in closed]
    out = {}
    for name in ATTRIBUTES:
        named = [verdict[name] for verdict in verdicts if name in verdict]
        if named:
            out[name] = Share(len(named), sum(named))
    if whole := [all(verdict.values()) for verdict in verdicts if verdict]:
        out[ALL] = Share(len(whole), sum(whole))
    return out


def document_of(
    closed: Sequence[Closed], settings: dict, seconds: dict[str, float], films: Sequence[np.ndarray], captioner: str
) -> Document:
    """Four columns of shares, attribute by attribute, and the first films with what was said of them."""
    columns = {column: shares(closed, column) for column in ("captioner", "judge", "same", "same verdict")}
    data = {
        "seconds": seconds,
        "shares": {
            column: {name: share.to_dict() for name, share in found.items()} for column, found in columns.items()
        },
        "clips": [asdict(each) for each in closed],
    }
    document = Document("The loop: prompt, film, caption", settings, data)
    rows = []
    for name in (*ATTRIBUTES, ALL):
        if any(name in found for found in columns.values()):
            cells = [_cell(found[name]) if name in found else "" for found in columns.values()]
            rows.append((name, str(columns["captioner"][name].count if name in columns["captioner"] else 0), *cells))
    head = ("attribute", "n", f"{captioner}: as asked", "judge: as asked", "captioner says what the judge sees",
            "same verdict")  # fmt: skip
    note = "Per cent, with Wilson's 95 % interval. What the judge could not tell is wrong, and does not count as seen."
    document.tables.append(Table("Agreement", head, rows, note))
    points = {name: share.percents for name, share in columns["same"].items()}
    document.charts.append(Chart("The captioner says what the judge sees", whiskers(points, "%"), note))
    for film, each in zip(films, closed):
        document.films.append((f"{each.prompt} -> {each.caption}", [Film.of(_differences(each), film)]))
    document.notes.append(
        f"{seconds['make']:.2f} s a clip to make, {seconds['caption']:.3f} s to caption "
        f"({1 / max(seconds['caption'], 1e-9):.0f} a second), {seconds['judge']:.2f} s to judge."
    )
    return document


def _cell(share: Share) -> str:
    value, low, high = share.percents
    return f"{value:.1f} ({low:.1f} to {high:.1f})"


def _differences(each: Closed) -> str:
    verdict = each.verdicts["same"]
    if not verdict:
        return "the judge sees nothing"
    wrong = [name for name, same in verdict.items() if not same]
    return f"captioner and judge differ in {', '.join(wrong)}" if wrong else "captioner and judge agree"

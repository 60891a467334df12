"""`videosyn evaluate adherence`: prompts to films, films to the judge, verdicts to a report.

Next on the path: `sources.py` (where films come from), `judge/judge.py` (what they show), `comparison.py`, `report.py`.
"""

from __future__ import annotations

import sys
import time

import numpy as np
from tqdm import tqdm

from videosyn.core.errors import UserError
from videosyn.evaluation.comparison import adherence
from videosyn.evaluation.document import publish, settings_of
from videosyn.evaluation.judge.judge import judge
from videosyn.evaluation.options import AdherenceConfig
from videosyn.evaluation.report import SHEET_ROWS, Judged, document_of, write_sheet
from videosyn.evaluation.sources import Asked, open_source
from videosyn.world.parsed import to_parsed
from videosyn.world.prompts import free_prompts, held_out_prompts


def run(config: AdherenceConfig) -> list[Judged]:
    """Makes every film, judges it, prints the tables and writes `report.json`, `report.html` and `sheet.png`
    into the output folder.
    """
    asked = asked_of(config)
    make = open_source(config)
    judged: list[Judged] = []
    films: list[np.ndarray] = []
    making = judging = 0.0
    with tqdm(total=len(asked), unit="clip", disable=None, file=sys.stderr) as bar:
        for start in range(0, len(asked), config.batch_size):
            batch = asked[start : start + config.batch_size]
            began = time.perf_counter()
            frames = make(batch, config.seed + start)  # uint8 (B, T, H, W, 3)
            made = time.perf_counter()
            for number, (each, film) in enumerate(zip(batch, frames, strict=True)):
                wanted = asked[(start + number + 1) % len(asked)] if config.wrong_prompts else each
                seen = judge(film)
                judged.append(Judged(wanted.prompt, wanted.truth, seen, adherence(wanted.truth, seen)))
                if len(films) < SHEET_ROWS:
                    films.append(film)
                bar.update()
            making, judging = making + made - began, judging + time.perf_counter() - made
    seconds = {"make": making / len(asked), "judge": judging / len(asked)}
    config.output.mkdir(parents=True, exist_ok=True)
    write_sheet(config.output / "sheet.png", films, judged[: len(films)])
    publish(document_of(judged, settings_of(config), seconds, films), config.output)
    return judged


def asked_of(config: AdherenceConfig) -> list[Asked]:
    """The prompts with their truths, and their scenes where they have one."""
    if config.phrasing == "held-out":
        prompts = held_out_prompts(config.num_prompts, config.seed)
        return [Asked(text, to_parsed(scene, config.frames), scene) for text, scene in prompts]
    if config.source != "model":
        raise UserError(
            f"--source {config.source} needs scenes, which free prompts have none of: use --phrasing held-out"
        )
    return [Asked(text, truth, None) for text, truth in free_prompts(config.num_prompts, config.seed)]

"""`videosyn evaluate compare A B`: the same prompts and seeds through two models or two settings, film by film.

Next on the path: `figures.py` (what is measured of a film), `paired.py` (what the differences mean), `study.py`.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from videosyn.core.errors import UserError
from videosyn.evaluation.compare.figures import DIGITS, Figures
from videosyn.evaluation.compare.options import CompareConfig, Side
from videosyn.evaluation.compare.paired import Difference, difference
from videosyn.evaluation.compare.study import write_study
from videosyn.evaluation.document import Chart, Document, Film, Table, clip_url, publish, said, said_with, settings_of
from videosyn.evaluation.notes import told
from videosyn.evaluation.plots import whiskers
from videosyn.sampling.foreign import ForeignPipeline, open_pipeline
from videosyn.sampling.pipeline import VideoSynPipeline
from videosyn.world.parsed import Parsed, to_parsed
from videosyn.world.prompts import held_out_prompts

SHOWN = 12
WORLD_PROMPTS = 100
STUDY = Path(__file__).with_name("study_prompts.txt")


def run(config: CompareConfig) -> dict[str, Difference]:
    """Makes both films of every prompt, measures them, and writes the report and the study. Returns the differences."""
    prompts = read_prompts(config)
    first = open_pipeline(config.a, config.device, config.dtype)
    second = first if config.b == config.a else open_pipeline(config.b, config.device, config.dtype)
    figures = Figures(config.clip, config.device)
    found: list[tuple[dict[str, float], dict[str, float]]] = []
    shown: list[tuple[str, str]] = []
    shape: dict[str, Any] = {"num_frames": config.frames, "height": config.height, "width": config.width}
    for number, (prompt, truth) in enumerate(tqdm(prompts, unit="pair", disable=None, file=sys.stderr)):
        pair, urls = [], []
        for pipeline, side in ((first, config.of_a), (second, config.of_b)):
            frames, fps, seconds = _film(pipeline, side, prompt, config.seed + number, shape)
            shape = {"num_frames": len(frames), "height": frames.shape[1], "width": frames.shape[2]}
            if not number:  # the first calls also warm up, one side's more than the other's
                seconds = float("nan")
            pair.append({**figures.of(frames, fps, prompt, truth), "seconds": seconds})
            urls.append(clip_url(frames, fps))
        found.append((pair[0], pair[1]))
        shown.append((urls[0], urls[1]))
    names = list(found[0][0])
    differences = {
        name: difference([a[name] for a, _ in found], [b[name] for _, b in found])
        for name in names
        if any(not np.isnan(a[name]) for a, _ in found)
    }
    config.output.mkdir(parents=True, exist_ok=True)
    texts = [prompt for prompt, _ in prompts]
    write_study(config.output, config.names, texts, shown, config.seed)
    publish(_document(config, differences, found, texts, shown), config.output)
    print(config.output / "study.html")
    return differences


def read_prompts(config: CompareConfig) -> list[tuple[str, Parsed | None]]:
    """The prompts, and what each names where the judge of the world can look for it."""
    if config.prompts == "world":
        count = config.num_prompts or WORLD_PROMPTS
        return [(text, to_parsed(scene, config.frames or 17)) for text, scene in held_out_prompts(count, config.seed)]
    path = STUDY if config.prompts == "study" else Path(config.prompts)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read prompts from {config.prompts}: {error}") from error
    texts = [line.strip() for line in lines if line.strip()][: config.num_prompts]
    if not texts:
        raise UserError(f"{config.prompts} holds no prompts")
    return [(text, None) for text in texts]


def _film(
    pipeline: VideoSynPipeline | ForeignPipeline, side: Side, prompt: str, seed: int, shape: dict[str, Any]
) -> tuple[np.ndarray, float, float]:
    """uint8 (T, H, W, 3), frames a second, and the seconds it took."""
    asked: dict[str, Any] = {"num_steps": side.steps, "guidance": side.guidance, "negative_prompt": side.negative}
    began = time.perf_counter()
    made = pipeline(prompt, **shape, **asked, sampler=side.sampler, seed=seed)
    took = time.perf_counter() - began
    return told(made).frames[0], made.fps, took


def _document(
    config: CompareConfig,
    differences: dict[str, Difference],
    found: list[tuple[dict[str, float], dict[str, float]]],
    prompts: list[str],
    shown: list[tuple[str, str]],
) -> Document:
    a, b = config.names
    document = Document(f"{a} against {b}", settings_of(config), facts={"pairs": f"{len(found)}"})
    document.data = {
        "names": {"a": a, "b": b},
        "differences": {name: each.to_dict() for name, each in differences.items()},
        "pairs": [{"prompt": text, "a": one, "b": other} for text, (one, other) in zip(prompts, found)],
    }
    rows = []
    for name, each in differences.items():
        digits = DIGITS.get(name, 3)
        cells = (said(each.mean_a, digits), said(each.mean_b, digits))
        gap = said_with(each.mean, each.low, each.high, digits)
        rows.append(
            (name, *cells, gap, said(each.p, 4), f"{each.num_b_higher} : {each.num_a_higher}", str(each.num_pairs))
        )
    head = ("figure", f"A: {a}", f"B: {b}", "B - A, 95 % interval", "p", "B higher : A higher", "pairs")
    note = (
        "Paired by prompt and seed. p: sign-flip test, each figure by itself (of twenty, one is below 0.05 by chance)."
    )
    document.tables.append(Table("Differences", head, rows, note))
    for name, each in differences.items():
        picture = whiskers({"B - A": (each.mean, each.low, each.high)}, name, mark=0.0)
        document.charts.append(Chart(name, picture))
    for text, (one, other) in list(zip(prompts, shown))[:SHOWN]:
        document.films.append((text, [Film(a, one), Film(b, other)]))
    document.notes.append(
        "study.html shows the same pairs without names, for people to choose; evaluate study counts their files."
    )
    return document

"""`videosyn evaluate vbench`: a suite's films, measured here and by the vbench package, merged into one report.

Next on the path: `suite.py`, `films.py`, then `flicker.py`, `classical_flow.py`, `weighted.py`, `handed.py`, and
`table4.py`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from videosyn.core.errors import UserError
from videosyn.core.files import atomic_file
from videosyn.evaluation.document import Chart, Document, Film, Table, publish, said, settings_of
from videosyn.evaluation.footage import fps_of, frames_of
from videosyn.evaluation.plots import whiskers
from videosyn.evaluation.running import Running
from videosyn.evaluation.vbench.classical_flow import dynamic_degree, motion_smoothness
from videosyn.evaluation.vbench.dimensions import BY_FLOW, BY_WEIGHTS, DIMENSIONS, HERE, RANGES, normalised
from videosyn.evaluation.vbench.films import make_films, present
from videosyn.evaluation.vbench.flicker import flickering_of
from videosyn.evaluation.vbench.handed import hand_over, only_films, read_results
from videosyn.evaluation.vbench.options import VBenchConfig
from videosyn.evaluation.vbench.suite import SuitePrompt, read_suite, write_full_info
from videosyn.evaluation.vbench.table4 import PAPER, Score, grouped, lacking, order_of

if TYPE_CHECKING:
    from videosyn.evaluation.vbench.weighted import Clip, Dino

SHOWN = 6
PER_FRAME = {"subject_consistency": 1, "background_consistency": 1, "appearance_style": 0}
"""VBench takes the mean over all films' frames of these, without so many, and of the others over films."""


def run(config: VBenchConfig) -> dict[str, Score]:
    """Makes what films lack, measures, and writes report.json, report.html and films.jsonl. Returns all scores."""
    prompts = _wanted(config)
    measures = Measures(config)
    folder = config.films or config.output / "films"
    if config.films is None:
        made = make_films(config, prompts, folder)
        print(f"{made} films made, {len(prompts) * config.samples - made} were there", file=sys.stderr)
    films = {prompt: present(prompt, folder, config.samples) for prompt in prompts}
    if not any(films.values()):
        raise UserError(f"{folder} holds none of the suite's films, such as {prompts[0].film(0)!r}")
    config.output.mkdir(parents=True, exist_ok=True)
    with atomic_file(config.output / "films.jsonl") as hidden:
        found = _measured(measures, films, hidden)
    scores = {name: Score(each.value, measures.sources[name], each.count) for name, each in found.items() if each.count}
    scores |= _elsewhere(config, prompts, films, scores)
    scores = dict(sorted(scores.items(), key=lambda item: order_of(item[0])))
    publish(_document(config, scores, found, films), config.output)
    return scores


def _wanted(config: VBenchConfig) -> list[SuitePrompt]:
    prompts = read_suite(config.suite, config.num_prompts, config.seed)
    if config.dimensions:
        prompts = [each for each in prompts if set(each.dimensions) & set(config.dimensions)]
        if not prompts:
            raise UserError(f"the suite has no prompts for {', '.join(config.dimensions)}")
    return prompts


@dataclass(frozen=True)
class Watched:
    """A film, read."""

    path: Path
    frames: Sequence[np.ndarray]
    fps: float


class Measures:
    """What can be measured here: figure -> function of (prompt, film), and where its figures come from."""

    def __init__(self, config: VBenchConfig) -> None:
        asked = config.dimensions or DIMENSIONS
        self.sources: dict[str, str] = {}
        self._needed: dict[str, str] = {}
        self._of: dict[str, Callable[[SuitePrompt, Watched], float]] = {}
        self._add(asked, HERE[0], HERE[0], "here", lambda _, film: flickering_of(film.path))
        flow = "here, classical flow: not VBench's figure"
        by_flow: dict[str, Callable] = {
            "dynamic_degree": lambda _, film: dynamic_degree(film.frames, film.fps),
            "motion_smoothness": lambda _, film: motion_smoothness(film.frames),
        }
        for name, measure in by_flow.items():
            self._add(asked, name, BY_FLOW[name], flow, measure)
        if config.dino:
            dino = self._dino(config)
            self._add(asked, BY_WEIGHTS[0], BY_WEIGHTS[0], f"here, {config.dino}", lambda _, film: dino(film.frames))
        if config.clip_b32:
            clip = self._clip(config.clip_b32, config.device)
            self._add(
                asked,
                "background_consistency",
                "background_consistency",
                f"here, {config.clip_b32}",
                lambda _, film: clip.background_consistency(film.frames),
            )
            self._add(
                asked,
                "appearance_style",
                "appearance_style",
                f"here, {config.clip_b32}",
                lambda prompt, film: clip.appearance_style(film.frames, prompt.auxiliary["appearance_style"]),
            )
        if config.clip_l14:
            large = self._clip(config.clip_l14, config.device, config.aesthetic_head)
            source = f"here, {config.clip_l14} and {config.aesthetic_head}"
            self._add(
                asked,
                "aesthetic_quality",
                "aesthetic_quality",
                source,
                lambda _, film: large.aesthetic_quality(film.frames),
            )

    def of_film(self, prompt: SuitePrompt, film: Watched) -> Iterator[tuple[str, float]]:
        """(figure, value) of every figure whose dimension the prompt is for."""
        for name, measure in self._of.items():
            if self._needed[name] in prompt.dimensions:
                yield name, measure(prompt, film)

    def _add(self, asked: Sequence[str], dimension: str, figure: str, source: str, measure: Callable) -> None:
        if dimension in asked:
            self._of[figure], self._needed[figure], self.sources[figure] = measure, dimension, source

    @staticmethod
    def _dino(config: VBenchConfig) -> Dino:
        from videosyn.evaluation.vbench.weighted import Dino

        return Dino(config.dino, config.device)

    @staticmethod
    def _clip(model: str, device: str, head: str = "") -> Clip:
        from videosyn.evaluation.vbench.weighted import Clip

        return Clip(model, device, head)


def _measured(measures: Measures, films: dict[SuitePrompt, list[Path]], lines: Path) -> dict[str, Running]:
    found = {name: Running() for name in measures.sources}
    with (
        open(lines, "w", encoding="utf-8") as file,
        tqdm(total=sum(map(len, films.values())), unit="film", disable=None, file=sys.stderr) as bar,
    ):
        for prompt, paths in films.items():
            for path in paths:
                film = Watched(path, list(frames_of(path)), fps_of(path))
                for name, value in measures.of_film(prompt, film):
                    weight = len(film.frames) - PER_FRAME[name] if name in PER_FRAME else 1
                    found[name].add(value, weight)
                    row = {"film": path.name, "figure": name, "value": value if value == value else None}
                    file.write(json.dumps(row) + "\n")
                bar.update()
    return found


def _elsewhere(
    config: VBenchConfig,
    prompts: Sequence[SuitePrompt],
    films: dict[SuitePrompt, list[Path]],
    here: dict[str, Score],
) -> dict[str, Score]:
    """Scores of the dimensions that are not computed here: of files, of the vbench package, or why there is none."""
    asked = [name for name in config.dimensions or DIMENSIONS if name not in here]
    scores: dict[str, Score] = {}
    for path in config.merge:
        for name, outcome in read_results(path).items():
            if name in asked and name not in scores:
                scores[name] = Score(outcome.score, f"vbench package, {path}", len(outcome.films))
    suite, package = config.output / "suite.json", config.output / "vbench_package"
    write_full_info(prompts, suite)
    handed = package / "films"
    if config.vbench_python:
        only_films((path for paths in films.values() for path in paths), handed)
    for name in asked:
        if name in scores:
            continue
        if not any(name in prompt.dimensions and paths for prompt, paths in films.items()):
            scores[name] = Score(None, "the suite has no prompts for it")
        elif not config.vbench_python:
            scores[name] = Score(None, _how_to_get(name))
        else:
            outcome = hand_over(config.vbench_python, config.vbench_device, name, suite, handed, package)
            source = f"failed: {outcome.problem}" if outcome.problem else "vbench package"
            scores[name] = Score(outcome.score, source, len(outcome.films))
    return scores


def _how_to_get(name: str) -> str:
    flags = {
        "subject_consistency": "--dino",
        "background_consistency": "--clip-b32",
        "appearance_style": "--clip-b32",
        "aesthetic_quality": "--clip-l14 and --aesthetic-head",
    }
    why = {"imaging_quality": ": transformers has no MUSIQ", "overall_consistency": ": transformers has no ViCLIP"}
    own = f"{flags[name]}, or " if name in flags else ""
    return f"not computed: needs {own}--vbench-python{why.get(name, '')}"


def _document(
    config: VBenchConfig, scores: dict[str, Score], found: dict[str, Running], films: dict[SuitePrompt, list[Path]]
) -> Document:
    document = Document("VBench", settings_of(config))
    raw, whole = grouped(scores), grouped(scores, normalise=True)
    document.data = {
        "dimensions": {
            name: {
                "score": score.value,
                "normalised": normalised(name, score.value) if name in RANGES and score.value is not None else None,
                "source": score.source,
                "films": score.num_films,
            }
            for name, score in scores.items()
        },
        "groups": raw,
        "groups_normalised": whole,
    }
    rows = [(config.model, *(said(value) for value in raw.values()))]
    rows.append((f"{config.model}, normalised", *(said(value) for value in whole.values())))
    rows += [(name, *(f"{value:.3f}" for value in values)) for name, values in PAPER.items()]
    why = "; ".join(f"{group} lacks {', '.join(names)}" for group, names in lacking(scores).items())
    note = "The paper's rows are means of scores as they are."
    document.tables.append(Table("As the paper's Table 4", ("model", *raw), rows, f"{why}. {note}" if why else note))
    rows = []
    for name, score in scores.items():
        scaled = normalised(name, score.value) if name in RANGES and score.value is not None else float("nan")
        value = float("nan") if score.value is None else score.value
        rows.append((name, said(value, 4), said(scaled, 4), str(score.num_films or ""), score.source))
    head = ("dimension", "score", "normalised", "films", "source")
    document.tables.append(Table("Dimensions", head, rows, "Figures named _flow stand beside, and enter no group."))
    points = {name: (each.value, *each.interval) for name, each in found.items() if each.count}
    document.charts.append(Chart("Measured here", whiskers(points, "score"), "Means over films with 95 % intervals."))
    for prompt, paths in list(films.items())[:SHOWN]:
        shown = [
            Film.of(f"film {n}", np.stack(list(frames_of(path))), fps_of(path)) for n, path in enumerate(paths[:5])
        ]
        document.films.append((prompt.text, shown))
    count = sum(map(len, films.values()))
    wanted = len(films) * config.samples
    document.facts = {"films": f"{count:,}", "prompts": f"{len(films):,}", "films a prompt": f"{config.samples}"}
    if count < wanted:
        document.notes.append(f"{wanted - count} of {wanted} films are missing, which makes the comparison unfair.")
    return document

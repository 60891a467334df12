"""`videosyn evaluate domains`: where a model is good, where it is not, and how that falls with length and size.

Next on the path: `steadiness.py`, `measuring.py`, `tables.py`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO

import numpy as np
from tqdm import tqdm

from videosyn.core.files import atomic_file
from videosyn.curation.slots import cores
from videosyn.evaluation.document import Film, plain, publish, settings_of
from videosyn.evaluation.domains.measuring import Measuring
from videosyn.evaluation.domains.options import DomainsConfig
from videosyn.evaluation.domains.steadiness import Steadiness
from videosyn.evaluation.domains.tables import Measured, document_of
from videosyn.evaluation.notes import told
from videosyn.sampling.foreign import open_pipeline
from videosyn.world.parsed import to_parsed
from videosyn.world.prompts import held_out_prompts, prompts_of
from videosyn.world.render import render
from videosyn.world.scene import Scene

SHOWN = 8
ON, OFF = "on", "off"


@dataclass(frozen=True)
class Asked:
    """A prompt, the scene it asks for, and whether such combinations were trained on."""

    prompt: str
    scene: Scene
    distribution: str


def run(config: DomainsConfig) -> list[Measured]:
    """Makes and measures all films, writes report.json, report.html and films.jsonl. Returns what was measured."""
    base = (config.lengths[0], config.sizes[0])
    asked = prompts(config)
    sweep = [each for each in asked if each.distribution == OFF][: config.sweep_prompts]
    shapes = [(frames, config.sizes[0]) for frames in config.lengths[1:]]
    shapes += [(config.lengths[0], side) for side in config.sizes[1:]]
    pipeline = open_pipeline(config.model, config.device, config.dtype)

    def generated(some: Sequence[Asked], shape: tuple[int, int], seed: int) -> np.ndarray:
        made = pipeline(
            [each.prompt for each in some],
            num_frames=shape[0],
            height=shape[1],
            width=shape[1],
            num_steps=config.steps,
            guidance=config.guidance,
            seed=seed,
        )
        return told(made).frames

    def rendered(some: Sequence[Asked], shape: tuple[int, int], seed: int) -> np.ndarray:
        return render([each.scene for each in some], shape[0], shape[1], shape[1]).numpy()

    found: list[Measured] = []
    films: list[tuple[str, list[Film]]] = []
    began = time.perf_counter()
    total = len(asked) * (1 + config.ceiling) + len(sweep) * len(shapes)
    config.output.mkdir(parents=True, exist_ok=True)
    with (
        atomic_file(config.output / "films.jsonl") as hidden,
        open(hidden, "w", encoding="utf-8") as lines,
        tqdm(total=total, unit="film", disable=None, file=sys.stderr) as bar,
        Measuring(config.workers or cores()) as measure,
    ):

        def all_of(some: Sequence[Asked], shape: tuple[int, int], source: str, make: Callable) -> list[np.ndarray]:
            kept = []
            for start in range(0, len(some), config.batch_size):
                batch = some[start : start + config.batch_size]
                made = make(batch, shape, config.seed + start)
                results = measure(made, [to_parsed(each.scene, shape[0]) for each in batch])
                found.extend(_told(*each, shape, source, lines) for each in zip(batch, results, strict=True))
                kept.extend(made[: SHOWN - len(kept)])
                bar.update(len(batch))
            return kept

        shown = all_of(asked, base, "model", generated)
        perfect = all_of(asked, base, "render", rendered) if config.ceiling else []
        for number, film in enumerate(shown):
            row = [Film.of("model", film), *(Film.of("the world's own", each) for each in perfect[number : number + 1])]
            films.append((f"{asked[number].distribution} distribution: {asked[number].prompt}", row))
        for shape in shapes:
            longer = all_of(sweep, shape, "model", generated)
            if longer:
                films.append((f"{shape[0]} frames of {shape[1]}: {sweep[0].prompt}", [Film.of("model", longer[0])]))
    document = document_of(settings_of(config), base, found, films)
    document.data["seconds"] = time.perf_counter() - began
    document.facts["minutes"] = f"{document.data['seconds'] / 60:.1f}"
    publish(document, config.output)
    return found


def prompts(config: DomainsConfig) -> list[Asked]:
    """Half of them on the training distribution, half off it; alike in numbers of things, styles and pans."""
    on = prompts_of("train", config.num_prompts, config.seed)
    off = held_out_prompts(config.num_prompts, config.seed)
    return [
        *(Asked(text, scene, ON) for text, scene in on),
        *(Asked(text, scene, OFF) for text, scene in off),
    ]


def _told(asked: Asked, result: Steadiness, shape: tuple[int, int], source: str, lines: IO[str]) -> Measured:
    scene = asked.scene
    domains = {
        "distribution": (f"{asked.distribution} the training distribution",),
        "scene": (scene.place,),
        "light": (scene.light,),
        "style": (scene.style,),
        "object": tuple(dict.fromkeys(thing.kind for thing in scene.things)),
        "things": ("one thing" if len(scene.things) == 1 else f"{len(scene.things)} things",),
        "camera": ("still camera" if scene.camera == "still" else "panning camera",),
    }
    row = {"prompt": asked.prompt, "source": source, "frames": shape[0], "size": shape[1], "domains": domains}
    lines.write(json.dumps(plain({**row, **result.figures, "verdict": result.verdict})) + "\n")
    return Measured(source, shape, domains, result.figures)

"""A suite's films, made once each: a run that is stopped goes on, and the films are those of an undisturbed one.

Next: `run.py`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from videosyn.core.config import read_json
from videosyn.core.errors import UserError
from videosyn.core.files import atomic_file
from videosyn.core.video_file import write_video
from videosyn.evaluation.notes import told
from videosyn.evaluation.vbench.options import VBenchConfig
from videosyn.evaluation.vbench.suite import SuitePrompt

SETTINGS = ("model", "seed", "frames", "height", "width", "steps", "guidance")
"""What films of one folder have in common."""


def make_films(config: VBenchConfig, prompts: Sequence[SuitePrompt], folder: Path) -> int:
    """Makes what `folder` lacks; returns how many films that were. A UserError where it holds films made otherwise."""
    folder.mkdir(parents=True, exist_ok=True)
    _same_settings(config, folder)
    wanted = {
        prompt: [n for n in range(config.samples) if not (folder / prompt.film(n)).exists()] for prompt in prompts
    }
    lacking = sum(map(len, wanted.values()))
    if not lacking:
        return 0
    from videosyn.sampling.foreign import open_pipeline

    pipeline = open_pipeline(config.model, config.device, config.dtype)
    with tqdm(total=lacking, unit="film", disable=None, file=sys.stderr) as bar:
        for prompt, numbers in wanted.items():
            for first, count in _runs(numbers):
                made = pipeline(
                    prompt.text,
                    num_frames=config.frames,
                    height=config.height,
                    width=config.width,
                    num_steps=config.steps,
                    guidance=config.guidance,
                    seed=prompt.seed(config.seed) + first,
                    num_videos=count,
                )
                told(made)
                for number, frames, seed in zip(range(first, first + count), made.frames, made.seeds):
                    note = {"prompt": prompt.text, "seed": str(seed), "model": config.model}
                    write_video(folder / prompt.film(number), frames, made.fps, note)
                    bar.update()
    return lacking


def present(prompt: SuitePrompt, folder: Path, samples: int) -> list[Path]:
    """Those of a prompt's films that are there, in order."""
    return [path for number in range(samples) if (path := folder / prompt.film(number)).is_file()]


def _same_settings(config: VBenchConfig, folder: Path) -> None:
    now = {name: getattr(config, name) for name in SETTINGS}
    path = folder.with_name(f"{folder.name}.json")  # beside it: the folder holds films alone
    if path.exists() and any(folder.glob("*.mp4")):  # what a run noted that made no film binds nobody
        before = read_json(path)
        differing = [name for name in SETTINGS if before.get(name) != now[name]]
        if differing:
            said = ", ".join(f"{name} {before.get(name)} and not {now[name]}" for name in differing)
            raise UserError(f"{folder} holds films made with {said}: choose another output")
        return
    with atomic_file(path) as hidden:
        hidden.write_text(json.dumps(now, indent=1), encoding="utf-8")


def _runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Numbers in order -> (first, count) of those that follow each other: their seeds do too."""
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and sum(found[-1]) == number:
            found[-1] = (found[-1][0], found[-1][1] + 1)
        else:
            found.append((number, 1))
    return found

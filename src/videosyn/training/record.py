"""What a run leaves to read: a bar, `train.log`, `metrics.jsonl`, `curve.png`, its options and environment, and the
batch that broke it; the same figures for TensorBoard and wandb where asked. Next: `loop.py`."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from videosyn.core.config import read_json, to_dict
from videosyn.core.errors import UserError
from videosyn.core.files import atomic_file, writing_to
from videosyn.core.tensor_file import save_tensors
from videosyn.training.curve import write_curve
from videosyn.training.environment import environment
from videosyn.training.options import Training
from videosyn.training.trackers import Tracker, trackers


class Record:
    """Writes metrics of a run into its folder and shows them; of several processes, only the first does."""

    def __init__(self, folder: Path, writes: bool, options: Training) -> None:
        self.folder, self.writes, self._options = folder, writes, options
        self._metrics_path, self._log_path = folder / "metrics.jsonl", folder / "train.log"
        self._trackers: list[Tracker] = []
        if writes:
            with writing_to(folder):
                folder.mkdir(parents=True, exist_ok=True)
        self._bar = tqdm(
            total=100,
            unit="%",
            disable=not (writes and sys.stderr.isatty()),
            bar_format="{l_bar}{bar}| {postfix}",
            leave=False,
        )

    def begin(self, first_step: int) -> None:
        """Drops lines of steps that a resumed run repeats, and says where it runs, with which options, and which of
        them are others than before. A UserError where the disk refuses it.
        """
        if not self.writes:
            return
        if first_step and (changes := self._changes()):
            self.line(f"{self.folder} goes on with other options than it had: {', '.join(changes)}")
        with writing_to(self.folder):
            if self._metrics_path.exists():
                lines = self._metrics_path.read_text(encoding="utf-8").splitlines(keepends=True)
                _write(self._metrics_path, "".join(line for line in lines if _step_of(line) <= first_step))
            _write(self.folder / "options.json", json.dumps(to_dict(self._options), indent=2) + "\n")
            _write(self.folder / "environment.json", json.dumps(environment(), indent=2) + "\n")
            self._trackers = trackers(self._options, self.folder, first_step)

    def _changes(self) -> list[str]:
        """`NAME BEFORE -> NOW` of every option that the run had when it was here last, and has not now."""
        path = self.folder / "options.json"
        if not path.exists():
            return []
        try:
            before = read_json(path)
        except UserError:  # an older run's, that a kill cut short
            return []
        now = json.loads(json.dumps(to_dict(self._options)))
        return [f"{key} {before[key]} -> {now[key]}" for key in now if key in before and before[key] != now[key]]

    def metrics(self, values: dict[str, Any]) -> None:
        """One JSON line; `step` is among the values."""
        if not self.writes:
            return
        self._append(self._metrics_path, json.dumps(values))
        numbers = {key: value for key, value in values.items() if key != "step"}
        self._track(lambda tracker: tracker.numbers(values["step"], numbers))

    def picture(self, step: int, path: Path) -> None:
        self._track(lambda tracker: tracker.picture(step, path))

    def _track(self, act: Callable[[Tracker], None]) -> None:
        """A tracker that fails is told of and left: it costs its own figures, not the run."""
        for tracker in list(self._trackers):
            try:
                act(tracker)
            except Exception as error:  # each has its own
                self._trackers.remove(tracker)
                why = " ".join(str(error).split()) or type(error).__name__
                self.line(f"{type(tracker).__name__.lower()} gets no more figures ({why})")

    def curve(self) -> None:
        """Draws the loss so far."""
        if self.writes and self._metrics_path.exists():
            write_curve(self._metrics_path, self.folder / "curve.png")

    def line(self, text: str) -> None:
        """One line for people: into train.log, and to the terminal (above the bar, if there is one)."""
        if not self.writes:
            return
        stamped = f"{time.strftime('%H:%M:%S')} {text}"
        tqdm.write(stamped, file=sys.stderr)
        self._append(self._log_path, stamped)

    def _append(self, path: Path, line: str) -> None:
        """A full disk costs the line, not the run."""
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            tqdm.write(f"a line of {path.name} could not be written ({error})", file=sys.stderr)

    def show(self, progress: float, text: str) -> None:
        """Moves the bar to `progress` (0 to 1) with `text` beside it."""
        self._bar.n = round(100 * progress, 1)
        self._bar.set_postfix_str(text, refresh=True)

    def close(self) -> None:
        self._bar.close()
        self._track(lambda tracker: tracker.close())


def write_batch(folder: str | os.PathLike, batch: Any, facts: dict[str, Any]) -> None:
    """A batch, a dataclass, as `batch.safetensors` (its tensors) and `batch.json` (its other fields and `facts`)."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    fields = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
    tensors = {name: value.cpu().contiguous() for name, value in fields.items() if isinstance(value, Tensor)}
    save_tensors(tensors or {"empty": torch.zeros(1)}, folder / "batch.safetensors")
    plain = {name: value for name, value in fields.items() if not isinstance(value, Tensor)}
    (folder / "batch.json").write_text(json.dumps({**facts, **plain}, indent=2, default=str) + "\n", encoding="utf-8")


def _write(path: Path, text: str) -> None:
    with atomic_file(path) as hidden:
        hidden.write_text(text, encoding="utf-8")


def _step_of(line: str) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):  # a line that a kill cut short
        return sys.maxsize

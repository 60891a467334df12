"""What a run leaves to read: a bar, `train.log`, `metrics.jsonl`, and the batch that broke it. Next: `loop.py`."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm


class Record:
    """Writes metrics of a run into its folder and shows them. Lines of steps that a resumed run repeats are dropped."""

    def __init__(self, folder: Path, first_step: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._metrics_path = folder / "metrics.jsonl"
        self._log_path = folder / "train.log"
        if self._metrics_path.exists():
            lines = self._metrics_path.read_text(encoding="utf-8").splitlines(keepends=True)
            self._metrics_path.write_text(
                "".join(line for line in lines if _step_of(line) <= first_step), encoding="utf-8"
            )
        self._bar = tqdm(
            total=100, unit="%", disable=not sys.stderr.isatty(), bar_format="{l_bar}{bar}| {postfix}", leave=False
        )

    def metrics(self, values: dict[str, Any]) -> None:
        """One JSON line; `step` is among the values."""
        with self._metrics_path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")

    def line(self, text: str) -> None:
        """One line for people: into train.log, and to the terminal (above the bar, if there is one)."""
        stamped = f"{time.strftime('%H:%M:%S')} {text}"
        with self._log_path.open("a", encoding="utf-8") as file:
            file.write(stamped + "\n")
        tqdm.write(stamped, file=sys.stderr)

    def show(self, progress: float, text: str) -> None:
        """Moves the bar to `progress` (0 to 1) with `text` beside it."""
        self._bar.n = round(100 * progress, 1)
        self._bar.set_postfix_str(text, refresh=True)

    def close(self) -> None:
        self._bar.close()


def write_batch(folder: str | os.PathLike, batch: Any, facts: dict[str, Any]) -> None:
    """A batch, a dataclass, as `batch.safetensors` (its tensors) and `batch.json` (its other fields and `facts`)."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    fields = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
    tensors = {name: value.cpu().contiguous() for name, value in fields.items() if isinstance(value, Tensor)}
    save_file(tensors or {"empty": torch.zeros(1)}, folder / "batch.safetensors")
    plain = {name: value for name, value in fields.items() if not isinstance(value, Tensor)}
    (folder / "batch.json").write_text(json.dumps({**facts, **plain}, indent=2, default=str) + "\n", encoding="utf-8")


def _step_of(line: str) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):  # a line that a kill cut short
        return sys.maxsize

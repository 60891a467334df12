"""The figures of a run in TensorBoard and wandb, where they are asked for and installed. Used by `record.py`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from videosyn.core.config import to_dict
from videosyn.core.errors import UserError
from videosyn.training.options import Training


class Tracker(Protocol):
    def numbers(self, step: int, values: Mapping[str, float]) -> None: ...

    def picture(self, step: int, path: Path) -> None: ...

    def close(self) -> None: ...


def trackers(options: Training, folder: Path, first_step: int) -> list[Tracker]:
    """Those that the options ask for. A UserError where one is not installed."""
    asked: list[Tracker] = []
    if options.tensorboard:
        asked.append(TensorBoard(folder / "tensorboard", first_step))
    if options.wandb:
        asked.append(Wandb(options, folder))
    return asked


class TensorBoard:
    def __init__(self, folder: Path, first_step: int) -> None:
        """Events of steps from `first_step` on, which an earlier process may have written, are shown no more."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UserError("tensorboard is not installed: pip install 'videosyn[train]'") from error
        self._writer: Any = SummaryWriter(str(folder), purge_step=first_step + 1)

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def picture(self, step: int, path: Path) -> None:
        import numpy as np
        from PIL import Image

        with Image.open(path) as image:
            self._writer.add_image("sheet", np.asarray(image.convert("RGB")), step, dataformats="HWC")

    def close(self) -> None:
        self._writer.close()


class Wandb:
    """A resumed run goes on under the same id, which is kept in the run folder."""

    def __init__(self, options: Training, folder: Path) -> None:
        try:
            import wandb  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise UserError("wandb is not installed: pip install wandb, or leave the option wandb empty") from error
        kept = folder / "wandb_id.txt"
        known = kept.read_text(encoding="utf-8").strip() if kept.exists() else None
        self._wandb: Any = wandb
        self._run: Any = wandb.init(
            project=options.wandb, dir=str(folder), id=known, resume="allow", config=to_dict(options)
        )
        kept.write_text(self._run.id, encoding="utf-8")

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def picture(self, step: int, path: Path) -> None:
        self._run.log({"sheet": self._wandb.Image(str(path))}, step=step)

    def close(self) -> None:
        self._run.finish()

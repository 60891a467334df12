"""The options of `videosyn evaluate compare` and `evaluate study`. Torch-free. Next: `run.py`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from videosyn.core.errors import UserError
from videosyn.core.shapes import check_num_frames, check_size
from videosyn.evaluation.options import SMALLEST_PX, Dtype, check_counts, check_folder


@dataclass(frozen=True)
class Side:
    """How one of the two is asked; what is left out is its model's own."""

    steps: int | None = None
    """Sampling steps."""
    guidance: float | None = None
    """Guidance scale."""
    sampler: str | None = None
    """euler, ddpm, ddim, dpm++ or unipc."""
    negative: str | None = None
    """What its films should not show."""


@dataclass(frozen=True)
class CompareConfig:
    """Films of two models, or of one with two settings, from the same prompts and seeds: paired differences with
    intervals, clips side by side, and a page for a blind user study.
    """

    a: Annotated[Positional[str], arg(metavar="A")]
    """A model: nano, a folder, or a hub id."""
    b: Annotated[Positional[str], arg(metavar="B")]
    """Another, or the same with other settings."""
    of_a: Side = field(default_factory=Side)
    """How A is asked."""
    of_b: Side = field(default_factory=Side)
    """How B is asked."""
    prompts: str = "world"
    """world: prompts of the world, whose films are also judged for what was asked; study: a hundred of about 55
    words, as in the paper's user study; else a text file with a prompt a line.
    """
    num_prompts: int | None = None
    """The first so many of them; all if left out (100 of the world)."""
    seed: int = 0
    """The first prompt's seed; the next ones count up."""
    frames: int | None = None
    """Frames a film, of both; A's own number if left out. Height and width likewise."""
    height: int | None = None
    """Pixels."""
    width: int | None = None
    """Pixels."""
    clip: str = ""
    """CLIP, folder or hub id: how near films are to their prompts, and their frames to each other."""
    output: Annotated[Path, arg(aliases=["-o"])] = Path("compare")
    """The folder for report.html, report.json, study.html and study_key.json."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1 or mps."""
    dtype: Dtype = "auto"
    """auto is bf16 where the machine computes in it, else fp32."""

    def check(self) -> None:
        """Everything that can be checked without a model. Raises UserError."""
        check_counts(("num-prompts", self.num_prompts))
        for side in (self.of_a, self.of_b):
            check_counts(("steps", side.steps))
        if self.frames is not None:
            check_num_frames(self.frames, time_factor=1)  # the model asks for its own rule later
        height, width = (SMALLEST_PX if side is None else side for side in (self.height, self.width))
        check_size(height, width, SMALLEST_PX)
        if self.a == self.b and self.of_a == self.of_b:
            raise UserError("A and B are the same: name another model, or another setting such as --of-b.steps 10")
        check_folder(self.output)

    @property
    def names(self) -> tuple[str, str]:
        """What the report calls the two: the model, with its settings where both are of one model."""
        return self._name(self.a, self.of_a), self._name(self.b, self.of_b)

    def _name(self, model: str, side: Side) -> str:
        said = [f"{name} {value}" for name, value in vars(side).items() if value is not None]
        return f"{model}, {', '.join(said)}" if said else model


@dataclass(frozen=True)
class StudyConfig:
    """Count the choices of a blind user study: which side people preferred, and whether chance explains it."""

    choices: Annotated[Positional[tuple[Path, ...]], arg(metavar="CHOICES.json ...")]
    """What the page saved, a file a participant."""
    key: Path = Path("compare/study_key.json")
    """Which film stood where, as `evaluate compare` wrote it; that of an earlier study is found beside it."""
    output: Annotated[Path, arg(aliases=["-o"])] = Path("study")
    """The folder for report.html and report.json."""

    def check(self) -> None:
        """Raises UserError where a file is missing."""
        if not self.choices:
            raise UserError("a study needs choices: videosyn evaluate study choices-*.json")
        for path in (*self.choices, self.key):
            if not path.is_file():
                raise UserError(f"there is no file {path}")
        check_folder(self.output)

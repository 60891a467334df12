"""The options of `videosyn evaluate domains`. Torch-free. Next: `run.py`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from videosyn.core.errors import UserError
from videosyn.core.shapes import check_num_frames, check_size
from videosyn.evaluation.options import SMALLEST_PX, Dtype, check_counts, check_folder


@dataclass(frozen=True)
class DomainsConfig:
    """Films of prompts on and off the training distribution: what was asked, steadiness and object permanence per
    scene, style and object, and how they fall with length and size.
    """

    model: str = "nano"
    """The shipped model, a model folder, or an id on the Hugging Face hub."""
    num_prompts: int = 48
    """Prompts on the training distribution, and as many off it: combinations kept from training."""
    sweep_prompts: int = 8
    """Of those off it, how many are also made longer and larger."""
    lengths: tuple[int, ...] = (17, 33, 65)
    """Frames a film, each 1 + 4k; the first is the one that all prompts are made with."""
    sizes: tuple[int, ...] = (96, 128, 160)
    """Height and width in pixels; the first is the one that all prompts are made with."""
    ceiling: bool = True
    """Also measure the world's own renders of the same scenes: what a perfect model would get."""
    seed: int = 0
    """Chooses the prompts and the films' noise."""
    output: Annotated[Path, arg(aliases=["-o"])] = Path("domains")
    """The folder for report.html, report.json and films.jsonl, a line a film."""
    steps: int | None = None
    """Sampling steps; the model's own number if left out."""
    guidance: float | None = None
    """Guidance scale; the model's own if left out."""
    batch_size: int = 8
    """Films generated at once."""
    workers: int = 0
    """Processes that measure films; 0: one a core."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1 or mps."""
    dtype: Dtype = "auto"
    """auto is bf16 where the machine computes in it, else fp32."""

    def check(self) -> None:
        """Everything that can be checked without a model. Raises UserError."""
        check_counts(("num-prompts", self.num_prompts), ("batch-size", self.batch_size), ("steps", self.steps))
        if self.workers < 0:
            raise UserError(f"workers must not be negative, got {self.workers}: 0 is one a core")
        if not 0 <= self.sweep_prompts <= self.num_prompts:
            raise UserError(f"sweep-prompts must lie in 0 to num-prompts, {self.num_prompts}, got {self.sweep_prompts}")
        if not self.lengths or not self.sizes:
            raise UserError("--lengths and --sizes need a value each, such as 17 and 96")
        for frames in self.lengths:
            check_num_frames(frames)
        for side in self.sizes:
            check_size(side, side, SMALLEST_PX)
        check_folder(self.output)

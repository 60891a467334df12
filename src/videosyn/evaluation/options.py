"""The options of `videosyn evaluate`, as the command line shows them. Torch-free. Next: `adherence.py`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import arg

from videosyn.core.errors import UserError


@dataclass(frozen=True)
class AdherenceConfig:
    """Generate films from prompts of the world and measure in the pixels whether they show what was asked."""

    model: str = "nano"
    """The shipped model, a model folder, or an id on the Hugging Face hub."""
    num_prompts: int = 1000
    """How many prompts, none of them in the training set."""
    phrasing: Literal["held-out", "free"] = "held-out"
    """held-out: combinations kept from training; free: short, reordered and reworded."""
    seed: int = 0
    """Chooses the prompts and the films' noise."""
    output: Annotated[Path, arg(aliases=["-o"])] = Path("adherence")
    """The folder for the JSON report and the contact sheet."""
    steps: int | None = None
    """Sampling steps; the model's own number if left out."""
    guidance: float | None = None
    """Guidance scale; the model's own if left out."""
    batch_size: int = 16
    """Films generated at once."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1 or mps."""
    dtype: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """auto is bf16 where the machine computes in it, else fp32."""

    def check(self) -> None:
        """Everything that can be checked without a model. Raises UserError."""
        for name, value in (("num-prompts", self.num_prompts), ("steps", self.steps), ("batch-size", self.batch_size)):
            if value is not None and value < 1:
                raise UserError(f"{name} must be at least 1, got {value}: use 1 or more")

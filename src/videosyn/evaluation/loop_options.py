"""The options of `videosyn evaluate loop`. Torch-free. Next: `loop.py`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from videosyn.evaluation.options import AdherenceConfig


@dataclass(frozen=True)
class LoopConfig(AdherenceConfig):
    """Generate films from prompts of the world, caption them, and compare what the captioner says of each with the
    prompt and with what the pixel judge sees.
    """

    captioner: str = "nano"
    """The shipped captioner, or a folder that `train captioner` wrote. It must say what the world's dense captions do.
    """
    num_prompts: int = 500
    """How many prompts, none of them in the training set."""
    output: Annotated[Path, arg(aliases=["-o"])] = Path("loop")
    """The folder for report.html, report.json and captions.jsonl, a line a film."""

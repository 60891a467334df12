"""What families of diffusers' text-to-video pipelines are meant to be used with. Torch-free. Next: `foreign.py`.

Read off diffusers 0.42: the defaults and the checks of each `__call__`, and what its VAE and patches divide by.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from videosyn.core.config import read_json


@dataclass(frozen=True)
class Family:
    """Rules and defaults of one family."""

    fps: float = 8.0
    """Frames a second at which its films are meant to be shown."""
    guidance: float = 5.0
    size_multiple: int = 8
    """Pixels that height and width must be a multiple of."""
    time_factor: int = 1
    """Frames are 1 + a multiple of it."""
    num_frames: int = 25
    """Of a served film for which no number is asked."""


FAMILIES = {
    "Wan": Family(16.0, 5.0, 16, 4),
    "LTX": Family(25.0, 3.0, 32, 8),
    "CogVideoX": Family(8.0, 6.0, 16, 4),
    "HunyuanVideo": Family(24.0, 6.0, 16, 4),
    "Mochi": Family(30.0, 4.5, 16, 6),
    "Latte": Family(8.0, 7.5, 16, 1, 16),
    "SanaVideo": Family(16.0, 6.0, 32, 4),
}
"""By the beginning of its pipelines' names."""


def family_of(pipeline_name: str) -> Family:
    """The family of a pipeline's class; of one that is not listed, no rules but its own."""
    return next((family for start, family in FAMILIES.items() if pipeline_name.startswith(start)), Family())


def family_in(folder: Path) -> Family:
    """The same for a pipeline folder."""
    return family_of(str(read_json(folder / "model_index.json").get("_class_name")))

"""The options of `videosyn evaluate vbench`. Torch-free. Next: `run.py`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from videosyn.core.errors import UserError
from videosyn.evaluation.options import Dtype, check_counts, check_folder
from videosyn.evaluation.vbench.dimensions import DIMENSIONS


@dataclass(frozen=True)
class VBenchConfig:
    """Make films for a prompt suite in VBench's layout, measure them, and group the figures as the paper's Table 4.

    Run it again to go on: films that are there are kept.
    """

    model: str = "nano"
    """The shipped model, a model folder, or an id on the Hugging Face hub."""
    suite: str = "world"
    """world: prompts of the world, for nano; else VBench_full_info.json, or a text file with a prompt a line."""
    num_prompts: int | None = None
    """The first so many of them; all if left out (12 of the world)."""
    dimensions: tuple[str, ...] = ()
    """Only these; all that the suite has prompts for if left out."""
    films: Path | None = None
    """A folder of films made elsewhere, named PROMPT-0.mp4 and so on: nothing is generated."""
    samples: int = 5
    """Films a prompt. VBench asks for 5, and 25 for temporal_flickering."""
    seed: int = 0
    """Chooses the films' noise, and the world's prompts."""
    output: Annotated[Path, arg(aliases=["-o"])] = Path("vbench")
    """The folder for films/, report.html, report.json and films.jsonl, a line a figure of a film."""
    clip_b32: str = ""
    """CLIP ViT-B/32, folder or hub id: background_consistency and appearance_style."""
    clip_l14: str = ""
    """CLIP ViT-L/14, folder or hub id: aesthetic_quality, with --aesthetic-head."""
    aesthetic_head: str = ""
    """LAION's linear head (sa_0_4_vit_l_14_linear), a file or OWNER/REPO/FILE."""
    dino: str = ""
    """DINO ViT-B/16, folder or hub id: subject_consistency."""
    vbench_python: str = ""
    """The Python of an environment with the vbench package: it computes what is left, a dimension a process."""
    vbench_device: str = "cuda"
    """Where the vbench package computes."""
    merge: tuple[Path, ...] = ()
    """Files *_eval_results.json that the vbench package wrote elsewhere, for dimensions not computed here."""
    frames: int | None = None
    """Frames a film; the model's own if left out. Height, width and steps likewise."""
    height: int | None = None
    """Pixels."""
    width: int | None = None
    """Pixels."""
    steps: int | None = None
    """Sampling steps."""
    guidance: float | None = None
    """Guidance scale; the model's own if left out."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1 or mps."""
    dtype: Dtype = "auto"
    """auto is bf16 where the machine computes in it, else fp32."""

    def check(self) -> None:
        """Everything that can be checked without a model. Raises UserError."""
        check_counts(("samples", self.samples), ("num-prompts", self.num_prompts), ("steps", self.steps))
        for name in self.dimensions:
            if name not in DIMENSIONS:
                raise UserError(f"no dimension {name!r}: VBench's are {', '.join(DIMENSIONS)}")
        if bool(self.clip_l14) != bool(self.aesthetic_head):
            raise UserError("aesthetic_quality needs --clip-l14 and --aesthetic-head: give both, or none")
        if self.films is not None and not self.films.is_dir():
            raise UserError(f"there is no folder {self.films}: leave --films out to make the films")
        if self.vbench_python and not (Path(self.vbench_python).is_file() and os.access(self.vbench_python, os.X_OK)):
            raise UserError(f"{self.vbench_python} is no program: give ENVIRONMENT/bin/python")
        for path in self.merge:
            if not path.is_file():
                raise UserError(f"no file {path}: give what the vbench package wrote, *_eval_results.json")
        check_folder(self.output)

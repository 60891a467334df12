"""The options of `videosyn evaluate ablation`. Torch-free. Next: `run.py`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from videosyn.core.errors import UserError
from videosyn.core.shapes import check_num_frames, check_size
from videosyn.evaluation.footage import Shape
from videosyn.evaluation.options import SMALLEST_PX, Dtype, check_counts, check_folder

BLOCKS = 28
"""Of the paper's VDiT."""


@dataclass(frozen=True)
class AblationConfig:
    """Latents with and without time compression, and divide and merge, side by side: tokens, seconds and memory at the
    paper's size, with random weights; quality with trained models that a user names (examples/ablation.sh trains two).
    """

    compressed: str = ""
    """A trained model with time compression: a VidVAE's folder, or a whole model's, whose films are then judged too."""
    uncompressed: str = ""
    """One without, trained on the same budget with the same channels."""
    num_clips: int = 100
    """Held-out clips of the world for the quality of the two."""
    shape: str = "17x96x96"
    """FRAMESxHEIGHTxWIDTH of those clips."""
    segment_frames: int = 9
    """Frames of a segment of divide and merge on those clips, 1 + 4k."""
    num_prompts: int = 60
    """Held-out prompts, where whole models are named."""
    seed: int = 0
    """Chooses clips and prompts."""
    cost: bool = True
    """Measure seconds and memory at the paper's size; else only count."""
    cost_shapes: tuple[str, ...] = ("17x256x256",)
    """Shapes at which they are measured. The paper's, 17x512x512 and 65x256x256, want an accelerator."""
    depth: int = 4
    """Blocks of the VDiT that are measured; seconds and memory are scaled to all 28, and said to be."""
    output: Annotated[Path, arg(aliases=["-o"])] = Path("ablation")
    """The folder for report.html and report.json."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1 or mps."""
    dtype: Dtype = "auto"
    """auto is bf16 where the machine computes in it, else fp32."""

    def check(self) -> None:
        """Everything that can be checked without a model. Raises UserError."""
        check_counts(("num-clips", self.num_clips), ("num-prompts", self.num_prompts), ("depth", self.depth))
        if self.depth > BLOCKS:
            raise UserError(f"depth must be at most {BLOCKS}, got {self.depth}")
        if bool(self.compressed) != bool(self.uncompressed):
            raise UserError("quality needs --compressed and --uncompressed: give both, or none for the cost alone")
        if not self.compressed and not self.cost:
            raise UserError("--no-cost leaves nothing to do: name --compressed and --uncompressed")
        for word, multiple in ((self.shape, SMALLEST_PX), *((word, 16) for word in self.cost_shapes)):
            shape = Shape.parse(word)
            check_num_frames(shape.frames)
            check_size(shape.height, shape.width, multiple)
        check_num_frames(self.segment_frames)
        if not 1 < self.segment_frames < Shape.parse(self.shape).frames:
            raise UserError(f"segments of {self.segment_frames} frames do not divide clips of {self.shape}: use 9")
        check_folder(self.output)

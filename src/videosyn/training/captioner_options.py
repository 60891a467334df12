"""What a captioner's training run can be told: YAML, flags and help text. Torch-free. Next: `captioner_run.py`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from tyro.conf import Suppress

from videosyn.core.errors import UserError
from videosyn.dataset.buckets import parse_buckets, parse_mix
from videosyn.training.options import AnyStage, Training, check_names, staged_runs


@dataclass(frozen=True)
class CaptionerStage(AnyStage):
    """Of a captioner's run."""

    frozen: tuple[Literal["vision", "language"], ...] | None = None
    naming_weight: float | None = None
    retelling_share: float | None = None


@dataclass(frozen=True)
class CaptionerTraining(Training):
    """Trains a captioner on clips of the world, or of `data`. The loss counts the captions' tokens alone."""

    out: str = "runs/captioner"
    cache: str = "runs/cache/captioner"
    vision: str = ""
    """Folder or hub id of a vision encoder of transformers to begin with. Empty: the preset's, with random weights."""
    language: str = ""
    """Folder or hub id of a causal language model to begin with, and its tokenizer. Empty: the preset's, random."""
    frozen: tuple[Literal["vision", "language"], ...] = ()
    """Parts that stay as they are."""
    buckets: tuple[str, ...] = ("17x96x96:80", "33x96x96:12", "1x96x96:8")
    """Shapes FRAMESxHEIGHTxWIDTH:SHARE of the batches. Of the world, images are frames of the clips of their size."""
    clips: tuple[str, ...] = ("17x96x96:85", "33x96x96:15")
    """Shapes and shares of the world's clips that are rendered."""
    num_clips: int = 20000
    """How many of them."""
    kept_frames: int = 9
    """Frames of each rendered clip that are kept, spread evenly."""
    max_batch_size: int = 64
    prompt: str = ""
    """What is asked. Empty: the preset's prompt."""
    retelling: str = "say it in other words"
    """The prompt that is answered, of clips of the world, as people may phrase a prompt, in many ways."""
    retelling_share: float = 0.2
    """Part of the world's captions that are retellings; the rest is the dense caption."""
    naming_weight: float = 0.0
    """Weight of a second lesson, of the world alone: the vision encoder's tokens name the kind and colour of what lies
    in their cells, and together the place, light and style. 0: no such lesson."""
    worn_share: float = 0.3
    """Part of the clips that are seen blurred and noisy, as generated films can be."""
    stages: Annotated[tuple[CaptionerStage, ...], Suppress] = ()
    """Parts of the run, one after the other, each beginning with the last one's averaged weights: only in the file."""
    validation_clips: int = 128
    """Held-out clips whose captions are compared."""

    def __post_init__(self) -> None:
        super().__post_init__()
        parse_mix(self.buckets)
        if any(clip.frames == 1 for clip in parse_buckets(self.clips)):
            raise UserError("clips must have more than 1 frame: images are frames of clips, put them into buckets")
        if self.naming_weight < 0:
            raise UserError(f"naming_weight must not be negative, got {self.naming_weight:g}")
        if self.naming_weight and self.data:
            raise UserError("naming_weight is a lesson of the world: leave data out, or set it to 0")
        for name in ("retelling_share", "worn_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} must lie in 0 to 1, got {getattr(self, name)}")
        if self.kept_frames < 2:
            raise UserError(f"kept_frames must be at least 2, got {self.kept_frames}")
        for name in ("compile", "gradient_checkpointing"):
            if getattr(self, name):
                raise UserError(f"{name} has not been made to work for captioners: leave it out")
        check_names(self.stages)
        self.staged()

    def staged(self) -> list[CaptionerTraining]:
        """The run's stages as runs of their own, each beginning with the last one's model; without stages, itself."""
        runs = staged_runs(self, self.stages)
        begun = {"vision": "", "language": ""}  # the first stage's weights, and init has them all
        return [runs[0], *(replace(run, **begun) for run in runs[1:])]

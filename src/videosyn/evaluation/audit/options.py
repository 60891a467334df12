"""The options of `videosyn evaluate dataset`. Torch-free. Next: `run.py`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from videosyn.core.errors import UserError
from videosyn.evaluation.options import check_counts, check_folder


@dataclass(frozen=True)
class AuditConfig:
    """Measure what is left in a dataset of what curation should have kept out, and whether captions are true: a sample
    of its clips, with confidence intervals.
    """

    folder: Annotated[Positional[Path], arg(metavar="DATASET")]
    """A dataset folder: clips, and metadata.parquet, .jsonl or .csv with file_name and text or caption."""
    num_clips: int = 200
    """Clips in the sample; all where there are fewer."""
    duplicates_among: int = 2000
    """Clips, at most, that are compared with each other: a small sample would miss most pairs."""
    seed: int = 0
    """Chooses the sample."""
    read_text: bool = True
    """Look for overlaid text: the slowest part, and it needs rapidocr."""
    captioner: str = ""
    """Captions are held against what this captioner says of the same clips: nano, a folder that `train captioner`
    wrote, or a vision language model. Empty: they are not."""
    clip_model: str = ""
    """CLIP ViT-L/14, folder or hub id: LAION's aesthetic score in place of the photometric one, with the head."""
    aesthetic_head: str = ""
    """LAION's aesthetic head, a file or OWNER/REPO/FILE."""
    output: Annotated[Path, arg(aliases=["-o"])] = Path("audit")
    """The folder for report.html, report.json and clips.jsonl, a line a clip."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1 or mps."""

    def check(self) -> None:
        """Everything that can be checked without a clip. Raises UserError."""
        check_counts(("num-clips", self.num_clips), ("duplicates-among", self.duplicates_among))
        if not self.folder.is_dir():
            raise UserError(f"there is no folder {self.folder}: give a dataset folder")
        if bool(self.clip_model) != bool(self.aesthetic_head):
            raise UserError("LAION's score needs --clip-model and --aesthetic-head: give both, or none")
        check_folder(self.output)

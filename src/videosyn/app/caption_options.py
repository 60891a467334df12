"""The options of `videosyn caption`, as the command line shows them. Torch-free. Next: `caption.py`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from videosyn.core.errors import UserError
from videosyn.core.files import check_writable

Dtype = Literal["auto", "fp32", "bf16", "fp16"]
METADATA = "metadata.parquet"
MAX_TOKENS = 200
BATCH_SIZE = 32


def is_dataset(source: Path) -> bool:
    """Whether a source is a folder with a table, as curate makes it."""
    return (source / METADATA).is_file()


@dataclass(frozen=True)
class CaptionConfig:
    """Say what videos and pictures show.

    A dataset folder gets the captions in its metadata.parquet; its shards and report.html get them when
    `videosyn curate` runs again. Of files, each caption is printed, and with --output
    written to a file of JSON lines, which the same command goes on with.
    """

    sources: Annotated[Positional[tuple[Path, ...]], arg(metavar="FILE_OR_FOLDER ...")]
    """Videos, pictures, folders of them, or datasets that `videosyn curate` made."""
    captioner: str = "nano"
    """nano, which knows the world alone; a folder that `train captioner` wrote; or the folder or hub id of a vision
    language model."""
    prompt: str | None = None
    """What is asked; the captioner's own question if left out."""
    output: Annotated[Path | None, arg(aliases=["-o"], metavar="FILE.jsonl")] = None
    """JSON lines with file_name, text, captioner, num_frames, of files; a dataset's captions go into its table."""
    overwrite: bool = False
    """Captions again what has a caption already; captions of files that are not named stay."""
    every_frame: bool = False
    """A captioner of ours watches every frame of a clip, not only a few; its memory does not grow."""
    max_tokens: int | None = None
    """Longest answer of a vision language model; 200 if left out."""
    batch_size: int | None = None
    """Clips captioned together, 32 if left out; a vision language model takes them one by one."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1 or mps."""
    dtype: Dtype = "auto"
    """auto is bf16 where the machine computes in it, else fp32."""

    def check(self) -> None:
        """Everything that can be checked without a model. Raises UserError."""
        if not self.sources:
            raise UserError("name what to caption: videosyn caption FILE_OR_FOLDER ...")
        for source in self.sources:
            if not source.exists():
                raise UserError(f"there is no {source}: name a video, a picture or a folder")
        for name in ("batch_size", "max_tokens"):
            given = getattr(self, name)
            if given is not None and given < 1:
                raise UserError(f"{name.replace('_', '-')} must be at least 1, got {given}")
        if self.every_frame and self.batch_size is not None:
            raise UserError("with every-frame clips are watched one by one: leave the batch-size out")
        if self.prompt is not None and not self.prompt.strip():
            raise UserError("the prompt must not be empty: leave it out for the captioner's own question")
        if self.output is not None:
            if datasets := [source for source in self.sources if is_dataset(source)]:
                raise UserError(f"the captions of {datasets[0]} go into its table: leave the output out")
            if self.output.suffix.lower() != ".jsonl":
                raise UserError(f"the output must be a file of JSON lines, got {self.output}: name it captions.jsonl")
            check_writable(self.output)
        for source in filter(is_dataset, self.sources):
            check_writable(source / METADATA)

"""The options of `videosyn evaluate`, as the command line shows them. Torch-free. Next: `adherence.py`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import arg

from videosyn.core.errors import UserError
from videosyn.core.files import check_writable
from videosyn.core.shapes import check_num_frames, check_size

Dtype = Literal["auto", "fp32", "bf16", "fp16"]
SMALLEST_PX = 8  # every VidVAE divides sides by 8 or more; the model asks for its own multiple later


@dataclass(frozen=True)
class AdherenceConfig:
    """Generate films from prompts of the world and measure in the pixels whether they show what was asked."""

    model: str = "nano"
    """The shipped model, a model folder, or an id on the Hugging Face hub."""
    source: Literal["model", "render", "reconstruct"] = "model"
    """model: films generated from the prompts; render: the world's own, to measure the judge; reconstruct: those
    through the model's VidVAE, to measure the judge on what a perfect generator could show.
    """
    wrong_prompts: bool = False
    """Judge each film against another one's prompt: what chance gives."""
    num_prompts: int = 1000
    """How many prompts, none of them in the training set."""
    phrasing: Literal["held-out", "free"] = "held-out"
    """held-out: combinations kept from training; free: short, reordered and reworded."""
    seed: int = 0
    """Chooses the prompts and the films' noise."""
    output: Annotated[Path, arg(aliases=["-o"])] = Path("adherence")
    """The folder for report.html, report.json and the contact sheet."""
    frames: int = 17
    """Frames a film, 1 + 4k."""
    height: int = 96
    """Pixels."""
    width: int = 96
    """Pixels."""
    steps: int | None = None
    """Sampling steps; the model's own number if left out."""
    guidance: float | None = None
    """Guidance scale; the model's own if left out."""
    best_of: int = 1
    """Films made for each one, of which the nano captioner chooses the one that the prompt tells best."""
    batch_size: int = 16
    """Films generated at once."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1 or mps."""
    dtype: Dtype = "auto"
    """auto is bf16 where the machine computes in it, else fp32."""

    def check(self) -> None:
        """Everything that can be checked without a model. Raises UserError."""
        check_counts(("num-prompts", self.num_prompts), ("steps", self.steps), ("batch-size", self.batch_size))
        check_counts(("best-of", self.best_of))
        if self.best_of > 1 and self.source != "model":
            raise UserError(
                f"--best-of chooses among a model's films, and --source {self.source} has none: leave it out"
            )
        if self.guidance is not None and not 0 <= self.guidance < math.inf:
            raise UserError(f"guidance must be a number of at least 0, got {self.guidance:g}: use 1 or more")
        if self.wrong_prompts and self.num_prompts < 2:
            raise UserError(
                f"--wrong-prompts needs another film's prompt, but --num-prompts is {self.num_prompts}: use 2"
            )
        check_num_frames(self.frames)
        check_size(self.height, self.width, SMALLEST_PX)
        check_folder(self.output)


@dataclass(frozen=True)
class ReconstructionConfig:
    """Encode and decode clips with one VAE or more and measure what is kept, in the layout of the paper's Table 3."""

    model: tuple[str, ...] = ("nano",)
    """The shipped model, model folders, folders of a VidVAE or of any diffusers AutoencoderKL*, hub ids."""
    clips: str = "world"
    """world: its held-out clips; else a video file, or a folder with videos, such as a dataset."""
    shapes: tuple[str, ...] = ("1x768x768", "17x512x512", "65x256x256")
    """FRAMESxHEIGHTxWIDTH, the paper's three; frames are 1 + 4k."""
    num_clips: int = 16
    """How many clips of each shape; the paper took 1,000."""
    seed: int = 0
    """Chooses the clips."""
    output: Annotated[Path, arg(aliases=["-o"])] = Path("reconstruction")
    """The folder for report.html, report.json and clips.jsonl, a line a clip."""
    batch_size: int = 1
    """Clips at once."""
    seams: bool = True
    """Also take clips longer than 17 frames through a VidVAE by the paper's divide and merge."""
    lpips_backbone: str = ""
    """For LPIPS: torchvision's weights of AlexNet or VGG16, a .safetensors or .pth file."""
    lpips_heads: str = ""
    """For LPIPS: the heads that belong to them, alex.pth or vgg.pth of the lpips package."""
    video_model: str = ""
    """For rFVD: a transformers video model such as VideoMAE, a folder or hub id."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1 or mps."""
    dtype: Dtype = "auto"
    """auto is bf16 where the machine computes in it, else fp32."""

    def check(self) -> None:
        """Everything that can be checked without a model. Raises UserError."""
        from videosyn.evaluation.footage import Shape

        check_counts(("num-clips", self.num_clips), ("batch-size", self.batch_size))
        for word in self.shapes:
            shape = Shape.parse(word)
            check_num_frames(shape.frames)
            check_size(shape.height, shape.width, SMALLEST_PX)
        for name, given in (("model", self.model), ("shapes", self.shapes)):
            if not given or len(set(given)) < len(given):
                raise UserError(f"--{name} needs different values, at least one, got {' '.join(given) or 'none'}")
        if bool(self.lpips_backbone) != bool(self.lpips_heads):
            raise UserError("LPIPS needs --lpips-backbone and --lpips-heads: give both, or none")
        check_folder(self.output)


@dataclass(frozen=True)
class SeamsConfig:
    """Take clips of the world through a VidVAE in pieces and compare with the whole-video result, at borders and
    inside: by streaming, by divide and merge, in tiles.
    """

    model: str = "nano"
    """The shipped model, a model folder, a VidVAE's folder, or an id on the Hugging Face hub."""
    num_clips: int = 8
    """How many clips, none of them in the training set."""
    seed: int = 0
    """Chooses the clips."""
    output: Annotated[Path, arg(aliases=["-o"])] = Path("seams")
    """The folder for report.html and report.json."""
    frames: int = 65
    """Frames a clip, 1 + 4k."""
    height: int = 96
    """Pixels."""
    width: int = 160
    """Pixels."""
    segment_frames: int = 17
    """Frames of a segment, 1 + 4k; streaming takes one less a piece."""
    overlap_frames: int = 1
    """Frames that segments share, 1 + 4k."""
    tile: int = 64
    """Side of a tile in pixels."""
    overlap: int = 16
    """By how many pixels tiles overlap."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1 or mps."""
    dtype: Dtype = "fp32"
    """auto is bf16 where the machine computes in it, else fp32."""

    def check(self) -> None:
        """Everything that can be checked without a model. Raises UserError."""
        check_counts(("num-clips", self.num_clips))
        for frames in (self.frames, self.segment_frames, self.overlap_frames):
            check_num_frames(frames)
        if self.overlap_frames >= self.segment_frames:
            raise UserError(f"segments of {self.segment_frames} frames cannot share {self.overlap_frames}: share fewer")
        if self.segment_frames >= self.frames:
            raise UserError(f"clips of {self.frames} frames have no seams in segments of {self.segment_frames}")
        check_size(self.height, self.width, SMALLEST_PX)
        check_folder(self.output)


def check_counts(*counts: tuple[str, int | None]) -> None:
    """Raises UserError for numbers below 1, by the name of their flag; None is no number."""
    for name, value in counts:
        if value is not None and value < 1:
            raise UserError(f"{name} must be at least 1, got {value}: use 1 or more")


def check_folder(folder: Path) -> None:
    """Raises UserError where a command cannot write its folder."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"the output must be a folder, but {folder} is a file: choose another name")
    check_writable(folder / "report.json" if folder.is_dir() else folder)

"""What the command line shows: a frozen dataclass a command, its flags, defaults, help. Torch-free. Next: `cli.py`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from videosyn.core.errors import UserError
from videosyn.core.files import check_writable
from videosyn.core.shapes import check_num_frames, check_size
from videosyn.core.video_file import check_fps, check_suffix
from videosyn.sampling.memory_mode import Memory

Dtype = Literal["auto", "fp32", "bf16", "fp16"]
Sampler = Literal["euler", "heun", "ab2", "ddpm", "ddim", "dpm++", "unipc"]
SMALLEST_PX = 8  # every VidVAE divides sides by 8 or more; the model asks for its own multiple later


@dataclass(frozen=True)
class GenerateConfig:
    """Generate films from prompts.

    What is left out comes from the model: its frames, size, steps, guidance and fps.
    """

    prompt: Annotated[Positional[tuple[str, ...]], arg(metavar="PROMPT ...")] = ()
    """What the film shows; several prompts give several films."""
    output: Annotated[Path, arg(aliases=["-o"])] = Path("film.mp4")
    """The file: .mp4, .gif, .webp, or .png for a contact sheet. Several films become NAME-1, NAME-2, ..."""
    prompts: Annotated[Path | None, arg(metavar="FILE")] = None
    """A text file with one prompt a line, after those given directly."""
    image: Annotated[Path | None, arg(metavar="FILE")] = None
    """A picture that the film begins with."""
    extend: Annotated[Path | None, arg(metavar="FILE")] = None
    """A clip that the film goes on from: the clip, then as many new frames as fit the film's length."""
    last_image: Annotated[Path | None, arg(metavar="FILE")] = None
    """A picture that the film ends with."""
    model: str = "nano"
    """The shipped model, a model folder, or an id on the Hugging Face hub."""
    lora: Annotated[Path | None, arg(metavar="FILE")] = None
    """A LoRA file for this model, or its folder, such as RUN/model of `train dit --lora-rank`."""
    lora_scale: float = 1.0
    """How strongly it acts; 0 not at all."""
    frames: Annotated[int | None, arg(metavar="INT")] = None
    """Frames a film, 1 + 4k."""
    height: Annotated[int | None, arg(metavar="INT")] = None
    """Pixels."""
    width: Annotated[int | None, arg(metavar="INT")] = None
    """Pixels."""
    fps: Annotated[float | None, arg(metavar="FLOAT")] = None
    """Frames a second of the film."""
    steps: Annotated[int | None, arg(metavar="INT")] = None
    """Sampling steps; fewer are faster and coarser."""
    guidance: Annotated[float | None, arg(metavar="FLOAT")] = None
    """How strongly the prompt pulls; 1 switches guidance off."""
    guidance_interval: Annotated[tuple[float, float] | None, arg(metavar="LOW HIGH")] = None
    """Times between 0, clean, and 1, noise, at which to guide; steps outside cost half."""
    best_of: int = 1
    """Films made for each one, of which a captioner chooses the one that the prompt tells best."""
    captioner: str = "nano"
    """Who chooses: the shipped captioner, or a folder that `train captioner` wrote."""
    negative: Annotated[str | None, arg(metavar="TEXT")] = None
    """What the film should not show."""
    seed: int = 0
    """The first film's seed; the next ones count up. The same seed gives the same frames."""
    num_videos: int = 1
    """Films a prompt."""
    sampler: Annotated[Sampler | None, arg(metavar="{euler,heun,ab2,ddpm,ddim,dpm++,unipc}")] = None
    """euler, heun, ab2, dpm++, unipc for flow models; ddpm, ddim, dpm++, unipc, through diffusers, for the paper's."""
    shift: Annotated[float | None, arg(metavar="FLOAT")] = None
    """Of a flow's steps: above 1 more of them where noise is strong; left out as in training."""
    cache_threshold: Annotated[float | None, arg(metavar="FLOAT")] = None
    """Keep blocks' results from step to step while the first block's changes by less than this share, such as 0.1."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1 or mps."""
    dtype: Dtype = "auto"
    """auto is bf16 where the machine computes in it, else fp32."""
    memory: Memory = "full"
    """full keeps all weights on the device; free-text loads the text encoder only to read the prompts; int8 and fp8
    also keep the VDiT's weights in 8 bits; offload keeps them in host memory, and brings block after block."""
    compile: bool = False
    """Let torch compile the VDiT's block: a minute or two once, then faster steps. Wants a C++ or a GPU compiler."""

    def check(self) -> None:
        """Everything that can be checked without a model. Raises UserError."""
        check_suffix(self.output)
        check_writable(self.output)
        if self.image is not None and self.extend is not None:
            raise UserError("--image and --extend both say how a film begins: give one of them")
        for path in (self.image, self.extend, self.last_image):
            if path is not None and not path.is_file():
                raise UserError(f"there is no file {path}: give a picture for --image, a video for --extend")
        if self.frames is not None:
            check_num_frames(self.frames, time_factor=1)  # the model asks for its own rule later
        height, width = (SMALLEST_PX if side is None else side for side in (self.height, self.width))
        check_size(height, width, SMALLEST_PX)
        for name, value in (("steps", self.steps), ("num-videos", self.num_videos)):
            if value is not None and value < 1:
                raise UserError(f"{name} must be at least 1, got {value}: use 1 or more")
        if self.fps is not None and not 0 < self.fps <= 240:
            raise UserError(f"fps must lie above 0 and up to 240, got {self.fps:g}: use 8")
        if self.guidance is not None and not 0 <= self.guidance < math.inf:
            raise UserError(f"guidance must be a number of at least 0, got {self.guidance:g}: use 1 or more")
        if not math.isfinite(self.lora_scale):
            raise UserError(f"lora-scale must be a number, got {self.lora_scale:g}: use 1")
        if self.lora_scale != 1.0 and self.lora is None:
            raise UserError(f"--lora-scale {self.lora_scale:g} scales nothing without --lora: give a LoRA file")
        if self.best_of < 1:
            raise UserError(f"best-of must be at least 1, got {self.best_of}: use 4")
        if self.captioner != "nano" and self.best_of == 1:
            raise UserError(f"--captioner {self.captioner} chooses nothing without --best-of: use --best-of 4")
        if self.guidance_interval is not None:
            low, high = self.guidance_interval
            if not 0 <= low <= high <= 1:
                raise UserError(f"guidance-interval must be ordered within 0 and 1, got {low:g} {high:g}: use 0 0.9")
            if self.guidance == 1:
                raise UserError("--guidance-interval says when to guide, and --guidance 1 never does: leave one out")
        if self.shift is not None and not 0 < self.shift <= 100:
            raise UserError(f"shift must lie above 0 and up to 100, got {self.shift:g}: use 1 for none")
        if self.cache_threshold is not None and not 0 <= self.cache_threshold <= 1:
            raise UserError(f"cache-threshold must lie within 0 and 1, got {self.cache_threshold:g}: use 0.1")
        if self.compile and self.memory not in ("full", "free-text"):
            raise UserError(f"--compile needs whole weights on the device, not --memory {self.memory}: use free-text")
        if not 0 <= self.seed < 2**63:
            raise UserError(f"seed must lie between 0 and 2^63 - 1, got {self.seed}: use 0")


@dataclass(frozen=True)
class WorldConfig:
    """Render captioned clips of the procedural world into a dataset folder."""

    output: Annotated[Path, arg(aliases=["-o"])] = Path("world")
    """A new folder: clips as mp4 and metadata.jsonl, the layout of Hugging Face's VideoFolder."""
    clips: int = 16
    """How many clips."""
    split: Literal["any", "train", "held-out"] = "any"
    """train: no combination kept from training; held-out: only those."""
    seed: int = 0
    """The first clip's seed; the next ones count up."""
    frames: int = 17
    """Frames a clip."""
    height: int = 96
    """Pixels, even."""
    width: int = 96
    """Pixels, even."""
    fps: float = 8.0
    """Frames a second."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1 or mps."""

    def check(self) -> None:
        """Raises UserError for what cannot be rendered or written."""
        for name, value in (("clips", self.clips), ("frames", self.frames)):
            if value < 1:
                raise UserError(f"{name} must be at least 1, got {value}: use 16")
        if min(self.height, self.width) < 16 or self.height % 2 or self.width % 2:
            raise UserError(f"height and width must be even and at least 16, got {self.height}x{self.width}: use 96x96")
        if not 0 < self.fps <= 240:
            raise UserError(f"fps must lie above 0 and up to 240, got {self.fps:g}: use 8")
        check_fps("clip.mp4", self.fps, self.frames)
        if self.seed < 0:
            raise UserError(f"seed must not be negative, got {self.seed}: use 0")
        if self.output.exists():
            raise UserError(f"{self.output} exists already: choose a new folder")
        check_writable(self.output)


def read_prompts(config: GenerateConfig) -> list[str]:
    """All prompts of a command, in order, stripped. A UserError where there is none or one is empty."""
    prompts = [prompt.strip() for prompt in config.prompt]
    if config.prompts is not None:
        try:
            text = config.prompts.read_text(encoding="utf-8-sig")  # editors on Windows begin files with a mark
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"cannot read prompts from {config.prompts}: {error}") from error
        prompts += [line.strip() for line in text.splitlines() if line.strip()]
    if not prompts:
        raise UserError('a prompt is needed: videosyn generate "a red ball bounces on the grass at sunset"')
    for text in (*prompts, config.negative or ""):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise UserError(f"a prompt must be valid UTF-8, got {text!a}: type it again") from error
    if not all(prompts):
        raise UserError("a prompt must not be empty: say what the film shows, such as 'a red ball bounces'")
    return prompts

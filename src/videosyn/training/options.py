"""What a training run can be told: one frozen dataclass per model, which is the YAML file, the flags and the help text.

Torch-free. Next: `run.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, Literal, TypeVar

from tyro.conf import Suppress

from videosyn.core.errors import UserError
from videosyn.dataset.buckets import Bucket, parse_buckets, parse_mix
from videosyn.dataset.places import is_url

R = TypeVar("R", bound="Training")


@dataclass(frozen=True)
class Training:
    """What every model's run has in common."""

    out: str
    """Run folder: checkpoints, logs, sample sheets, and the model in `model/`. The same command continues the run."""
    cache: str
    """Folder for rendered or encoded clips; made once, continued when interrupted, shared by runs."""
    preset: str = "nano"
    """Size of the model."""
    init: str = ""
    """Folder of a model whose weights the run begins with, of the same size; empty: random ones. A run that has a
    checkpoint of its own goes on from that."""
    seed: int = 0
    """Decides initial weights, batches and noise."""
    max_minutes: float = 0.0
    """Minutes of training, counted over all restarts, without the making of the cache. 0: no limit."""
    max_steps: int = 0
    """Steps of training. 0: no limit."""
    batch_size: int = 32
    """Clips of the first bucket in a batch; other buckets get as many as fill the same volume."""
    max_batch_size: int = 256
    """Most clips or images in a batch of any bucket."""
    accumulate: int = 1
    """Parts in which a batch is computed one after the other: the same update in less memory."""
    optimizer: Literal["muon", "adamw"] = "muon"
    """muon: Muon for hidden matrices and kernels, AdamW for the rest. adamw: AdamW for all."""
    muon_lr: float = 1.5e-3
    """Learning rate of hidden matrices and kernels, on AdamW's scale."""
    muon_steps: int = 5
    """Newton-Schulz iterations of Muon."""
    muon_every: int = 1
    """Steps over which the orthogonalisation of all matrices is spread: 2 halves the optimizer's cost."""
    adamw_lr: float = 1e-3
    """Learning rate of embeddings, norms, biases, first and last layers; of everything where the optimizer is adamw."""
    weight_decay: float = 0.0
    """Weight decay of hidden matrices and kernels, times the learning rate each step."""
    warmup_steps: int = 50
    """Steps over which the learning rates rise."""
    decay_fraction: float = 0.5
    """Last part of the budget, over which the learning rates fall by a cosine."""
    final_lr: float = 0.015
    """Learning rates at the end, as a part of their height."""
    clip_norm: float = 1.0
    """Largest norm of all gradients; 0: no limit."""
    ema_decay: float = 0.998
    """Decay per step of the moving average of the weights, which is the result."""
    on_broken: Literal["stop", "skip"] = "stop"
    """What follows a loss or gradient that is not a number, or a spike: the batch is written down, and the run stops
    or goes on without it."""
    max_broken: int = 20
    """As many such batches may be skipped; one more stops the run."""
    spike_factor: float = 0.0
    """A loss this many times its usual height, in its bucket, is a spike. 0: none is."""
    keep_checkpoints: int = 2
    """Checkpoints kept."""
    save_minutes: float = 10.0
    """Minutes between checkpoints; each also writes the averaged weights to `model/`."""
    validate_minutes: float = 4.0
    """Minutes between measurements on held-out scenes."""
    sample_minutes: float = 10.0
    """Minutes between sample sheets."""
    log_seconds: float = 20.0
    """Seconds between lines of `train.log` and `metrics.jsonl`."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1."""
    dtype: str = "auto"
    """Number type of the weights that compute (masters are fp32): auto, bf16, fp32."""
    compile: bool = False
    """Compiles the model's blocks with torch.compile: slow first steps, faster later ones."""
    gradient_checkpointing: bool = False
    """Computes each block a second time in the backward pass instead of keeping what is inside it: a third more
    arithmetic, a fraction of the memory."""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """Under torchrun: ddp, every process has the whole model; fsdp, each keeps a part of it."""
    tensorboard: bool = False
    """Also writes the figures for TensorBoard, into the run folder's `tensorboard`."""
    wandb: str = ""
    """Also sends the figures to this project of wandb. Empty: does not."""
    data: str = ""
    """Folder of captioned clips: a curated dataset, any VideoFolder, or *.tar shards; or its fsspec URL, such as
    s3://bucket/dataset. Empty: clips of the world."""
    clip_fps: float = 0.0
    """Frames a second taken from the clips of `data`; 0: all frames."""
    max_windows: int = 4
    """Most pieces of one clip of `data` in one bucket."""
    max_crop: float = 0.3
    """Largest part of a picture's area that may be cut off to give it a bucket's shape."""
    drop_unfit: bool = False
    """Leaves out clips that fit no bucket, clips without a caption, and buckets without clips, instead of refusing."""
    max_damaged: int = 20
    """As many clips of `data` may turn out to be unreadable while training; one more stops the run."""
    prefetch: int = 2
    """Batches made ahead of the step."""
    dry_run: bool = False
    """Prints the table of buckets (clips, batches, tokens, memory) and what would be left out, and trains nothing."""
    threads: int = 0
    """CPU threads of the step; 0: all cores."""
    workers: int = 2
    """Processes that render or decode, and encode the cache."""
    fps: float = 8.0
    """Frames per second at which the world is rendered."""

    def __post_init__(self) -> None:
        if not (self.max_minutes > 0 or self.max_steps > 0 or getattr(self, "stages", ())):
            raise UserError("a run needs an end: set max_minutes or max_steps above 0")
        for name in (
            "max_minutes",
            "max_steps",
            "clip_norm",
            "warmup_steps",
            "threads",
            "workers",
            "weight_decay",
            *_NOT_NEGATIVE,
        ):
            if getattr(self, name) < 0:
                raise UserError(f"{name} must not be negative, got {getattr(self, name)}")
        for name in ("batch_size", "max_batch_size", "muon_steps", "muon_every", "fps", "log_seconds", *_ABOVE_0):
            if getattr(self, name) <= 0:
                raise UserError(f"{name} must be above 0, got {getattr(self, name)}")
        for name in ("decay_fraction", "final_lr", "ema_decay"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} must lie in 0 to 1, got {getattr(self, name)}")
        for name in ("out", "cache", "init", "vae", "rendered"):
            if is_url(getattr(self, name, "")):
                raise UserError(
                    f"{name} must be a folder on a disk here, got {getattr(self, name)}: only data may be a URL"
                )
        if not 0 <= self.max_crop < 1:
            raise UserError(f"max_crop must lie in 0 to below 1, got {self.max_crop:g}")

    def check_flags(self, file: Training) -> None:
        """A UserError where this differs from what the file says in a field that one of its stages sets for itself."""
        for stage in getattr(self, "stages", ()):
            for field in fields(stage):
                name, own = field.name, getattr(stage, field.name)
                if name != "name" and own is not None and getattr(self, name) != getattr(file, name):
                    flag = f"--{name.replace('_', '-')}"
                    raise UserError(
                        f"{flag} does not reach stage {stage.name}, which sets {name} itself: change it in the file"
                    )


_NOT_NEGATIVE = ("max_broken", "spike_factor", "clip_fps", "max_damaged")
_ABOVE_0 = ("accumulate", "keep_checkpoints", "max_windows", "prefetch")


@dataclass(frozen=True)
class VAETraining(Training):
    """Trains a VidVAE on clips of the world, or of `data`."""

    out: str = "runs/vae"
    cache: str = "runs/cache/clips"
    batch_size: int = 4
    muon_lr: float = 1e-3
    adamw_lr: float = 2e-3
    clips: tuple[str, ...] = ("17x96x96",)
    """Shapes FRAMESxHEIGHTxWIDTH:SHARE of the rendered clips that crops are cut from."""
    num_clips: int = 1536
    """Clips rendered up front. 0: every batch is rendered anew, for accelerators."""
    crops: tuple[str, ...] = ("17x64x64:80", "9x64x64:8", "5x64x64:4", "1x96x96:8")
    """Shapes and shares of the crops that make batches; the first one sets the volume of a batch."""
    late_crops: tuple[str, ...] = ("17x64x64:50", "17x96x96:42", "1x96x96:8")
    """The same for the last part of the budget."""
    late_fraction: float = 0.25
    """How long that last part is."""
    perceptual: str = ""
    """Safetensors file of VGG16's weights, and LPIPS's. Empty: no such loss, that of gradients stays."""
    perceptual_weight: float = 1.0
    """Weight of the distance of VGG16's features."""
    adversarial_weight: float = 0.0
    """Part of a discriminator's verdict, against a reconstruction of equal gradients. 0: no discriminator."""
    adversarial_start: float = 0.5
    """Part of the budget after which the discriminator begins, and its verdict counts."""
    discriminator_width: int = 64
    """Channels of the discriminator's first layer. Its learning rate is adamw_lr."""
    validation_clips: int = 24
    """Held-out clips of the first clip shape, whose PSNR and SSIM are measured."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.parallel == "fsdp":
            raise UserError("parallel fsdp divides VDiTs; a VidVAE fits into every process: use ddp")
        self.crop_buckets()
        for name in ("perceptual_weight", "adversarial_weight"):
            if getattr(self, name) < 0:
                raise UserError(f"{name} must not be negative, got {getattr(self, name):g}")
        if not 0 <= self.adversarial_start <= 1:
            raise UserError(f"adversarial_start must lie in 0 to 1, got {self.adversarial_start:g}")
        if self.data:
            return
        clips = parse_buckets(self.clips)
        largest = (
            max(clip.frames for clip in clips),
            max(clip.height for clip in clips),
            max(clip.width for clip in clips),
        )
        for crop in self.crop_buckets():
            if not any(_fits(crop, clip) for clip in clips):
                raise UserError(f"crop {crop.name} fits in no clip: crops reach at most {'x'.join(map(str, largest))}")

    def crop_buckets(self) -> tuple[Bucket, ...]:
        """All shapes that batches have, early or late."""
        return parse_mix(self.crops) + parse_mix(self.late_crops)


@dataclass(frozen=True)
class AnyStage:
    """A part of a run with buckets of its own. What is None is as in the run's other fields."""

    name: str
    """Its run folder is OUT/NAME."""
    buckets: tuple[str, ...] | None = None
    max_steps: int | None = None
    max_minutes: float | None = None
    batch_size: int | None = None
    max_batch_size: int | None = None
    accumulate: int | None = None
    muon_lr: float | None = None
    adamw_lr: float | None = None
    warmup_steps: int | None = None
    data: str | None = None
    clip_fps: float | None = None


@dataclass(frozen=True)
class Stage(AnyStage):
    """Of a VDiT's run."""

    image_phase_fraction: float | None = None
    gradient_checkpointing: bool | None = None
    sequence_parallel: int | None = None
    compile: bool | None = None


@dataclass(frozen=True)
class DiTTraining(Training):
    """Trains a VDiT, and its text encoder with it, on latents of clips of the world, or of `data`."""

    out: str = "runs/dit"
    cache: str = "runs/cache/latents"
    vae: str = "runs/vae/model"
    """Folder of the trained VidVAE; for `cache` alone, of any of diffusers' AutoencoderKL*."""
    buckets: tuple[str, ...] = ("17x96x96:62", "17x80x112:12", "17x112x80:12", "33x96x96:6", "1x96x96:8")
    """Shapes FRAMESxHEIGHTxWIDTH:SHARE of the batches. Images are also first frames of the clips of their size."""
    num_clips: int = 20000
    """Clips in the cache, of all shapes with more than one frame."""
    num_images: int = 10000
    """Further single images in the cache."""
    max_batch_size: int = 128
    cached: bool = True
    """Whether clips of `data` are encoded once, into `cache`; else they are decoded and encoded as they are needed."""
    stages: Annotated[tuple[Stage, ...], Suppress] = ()
    """Parts of the run, one after the other, each beginning with the last one's averaged weights: only in the file."""
    text: str = ""
    """Folder or hub id of a T5 encoder, which stays as it is. Empty: a small encoder that is trained along."""
    sequence_parallel: int = 1
    """Under torchrun: as many processes compute each clip together, where one alone has not the memory for it. Clips
    of fewer latent frames than that, such as pictures, are computed one by one, shared by all processes."""
    objective: Literal["flow", "epsilon"] = "flow"
    """flow: velocity of the rectified flow. epsilon: the paper's noise prediction."""
    lora_rank: int = 0
    """Trains low-rank adapters of this rank on the weights of `init`, and nothing else. 0: trains the weights."""
    lora_targets: tuple[str, ...] = ("qkv", "proj", "q", "kv", "fc1", "fc2")
    """Layers of the VDiT's blocks that get an adapter, by the end of their names."""
    prompts: tuple[str, ...] = ()
    """Prompts of the sample sheets. Empty: some of the world, or the captions of held-out clips."""
    rendered: str = ""
    """Folder of clips rendered before, used where it has those that the cache wants. Empty: none."""
    caption_dropout: float = 0.1
    """Part of the captions left out, for guidance."""
    thing_weight: float = 1.0
    """Weight of the error where the scene's things are, against 1 elsewhere. They are small; prompts speak of them."""
    map_weight: float = 3.0
    """Weight of the map's error, of a VDiT that denoises a map of which thing lies where beside the latents."""
    routed_share: float = 1.0
    """Part of a frame's tokens that pass the VDiT's middle blocks in training, those of things first; the others go
    around them, which costs nothing. Not where processes share a clip. 1: all."""
    given_share: float = 0.0
    """Share of the batches in which some frames are given: the first, the first few, the last, or both ends."""
    naming_weight: float = 0.0
    """Weight of a second lesson: tokens of a middle block name the kind, colour and motion of what lies in their cells.
    0: no such lesson."""
    text_steps: int = 0
    """Steps of 128 captions in which the text encoder first learns, alone, to read what captions say."""
    image_phase_fraction: float = 0.15
    """First part of the budget, in which images are most of the batches."""
    image_phase_share: float = 0.8
    """Share of image batches in that part."""
    base_tokens: int = 64
    """Tokens of a clip whose noise levels are not shifted; longer and larger clips are trained at more noise."""
    calibration_clips: int = 256
    """Clips from which the mean and spread of the latents are measured, when the VidVAE does not have them yet."""
    validation_clips: int = 64
    """Held-out clips of the first bucket for the validation loss."""
    sheet_steps: int = 20
    """Sampling steps of the sample sheets. 0: no sheets."""
    guidance: float = 3.0
    """Guidance of the sample sheets."""

    def __post_init__(self) -> None:
        super().__post_init__()
        buckets = parse_mix(self.buckets)
        if all(bucket.frames == 1 for bucket in buckets) and not self.data:
            raise UserError(f"at least one bucket must have more than 1 frame, got {', '.join(self.buckets)}")
        if self.map_weight < 0:
            raise UserError(f"map_weight must not be negative, got {self.map_weight:g}")
        if not 0 < self.routed_share <= 1:
            raise UserError(f"routed_share must lie above 0 and at most at 1, got {self.routed_share:g}: use 0.5")
        if self.thing_weight <= 0:
            raise UserError(f"thing_weight must be above 0, got {self.thing_weight:g}")
        if self.naming_weight < 0:
            raise UserError(f"naming_weight must not be negative, got {self.naming_weight:g}")
        if self.text_steps < 0:
            raise UserError(f"text_steps must not be negative, got {self.text_steps}")
        if self.sequence_parallel < 1:
            raise UserError(f"sequence_parallel must be at least 1, got {self.sequence_parallel}")
        if self.sequence_parallel > 1 and self.compile:
            raise UserError("compile and sequence_parallel have not been made to work together: leave one of them out")
        if self.sequence_parallel > 1 and self.naming_weight:
            raise UserError("naming_weight reads whole clips, which sequence_parallel divides: leave one of them out")
        if self.lora_rank < 0:
            raise UserError(f"lora_rank must not be negative, got {self.lora_rank}")
        if self.lora_rank and self.stages:
            raise UserError("lora_rank has no stages: an adapter is no model that the next stage could begin with")
        if self.lora_rank and not self.init:
            raise UserError("lora_rank needs the weights that adapters are put on: set init to a model's folder")
        if (self.data or self.text) and (self.thing_weight != 1.0 or self.naming_weight or self.text_steps):
            raise UserError(
                "thing_weight, naming_weight and text_steps are lessons of the world: leave data and text out"
            )
        if self.sheet_steps < 0:
            raise UserError(f"sheet_steps must not be negative, got {self.sheet_steps}: use 0 for no sample sheets")
        if not all(prompt.strip() for prompt in self.prompts):
            raise UserError("prompts must not be empty: leave prompts out for some of the world, or held-out captions")
        if self.parallel == "fsdp" and self.optimizer != "adamw":
            raise UserError("parallel fsdp divides matrices, which Muon needs whole: set optimizer adamw")
        if self.parallel == "fsdp" and (self.naming_weight or self.lora_rank):
            raise UserError("naming_weight and lora_rank are not for parallel fsdp: use ddp")
        check_names(self.stages)
        self.staged()
        for name in ("caption_dropout", "given_share", "image_phase_fraction", "image_phase_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} must lie in 0 to 1, got {getattr(self, name)}")

    def staged(self) -> list[DiTTraining]:
        """The run's stages as runs of their own, each beginning with the last one's model; without stages, itself."""
        return staged_runs(self, self.stages)


def check_names(stages: Sequence[AnyStage]) -> None:
    names = [stage.name for stage in stages]
    if len(set(names)) < len(names) or not all(name and "/" not in name for name in names):
        raise UserError(f"stages need names of their own, without '/', got {', '.join(map(repr, names))}")


def staged_runs(run: R, stages: Sequence[AnyStage]) -> list[R]:
    """A run for each stage, whose fields that are not None stand instead of the run's; without stages, the run."""
    runs: list[R] = []
    for stage in stages:
        own = {field.name: getattr(stage, field.name) for field in fields(stage) if field.name != "name"}
        own = {name: value for name, value in own.items() if value is not None}
        init = f"{runs[-1].out}/model" if runs else run.init
        runs.append(replace(run, stages=(), out=f"{run.out}/{stage.name}", init=init, **own))
    return runs or [run]


def _fits(crop: Any, clip: Any) -> bool:
    return crop.frames <= clip.frames and crop.height <= clip.height and crop.width <= clip.width

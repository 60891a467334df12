"""Every threshold of curation in one typed config: YAML and flags. Torch-free. Next: `stages.py`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from videosyn.core.errors import UserError


@dataclass(frozen=True)
class ShotsConfig:
    """Where the cuts are, and how long a clip may be."""

    detector: Literal["adaptive", "content"] = "adaptive"
    """PySceneDetect's detector that proposes cuts."""
    threshold: float = 0.0
    """The detector's threshold. 0: its own (adaptive 3, content 27), or a lower one where cuts are confirmed."""
    confirm: bool = True
    """Whether a proposed cut must also change the picture for good: flashes and fast motion do not."""
    min_seconds: float = 2.0
    """Shorter shots are dropped."""
    max_seconds: float = 20.0
    """Longer shots are divided evenly."""
    frames_per_clip: int = 3
    """Full-resolution frames kept for the stages that look at pictures."""
    span_seconds: float = 300.0
    """Sources are scanned in spans of this length, so that no task lasts long."""


@dataclass(frozen=True)
class DedupConfig:
    """Which clips show the same."""

    enabled: bool = True
    """Off: the stage is left out, and rejects nothing."""
    clip_model: str = ""
    """Folder or hub id of CLIP weights; empty: perceptual hashes."""
    max_cosine: float = 0.9
    """With CLIP: of a pair above it the shorter goes."""
    max_hash_distance: int = 8
    """With hashes: bits of 64 in which frames that show the same may differ."""
    min_overlap: float = 0.5
    """With hashes: part of the shorter clip that must be found in the longer."""


@dataclass(frozen=True)
class AestheticsConfig:
    """How good a clip looks."""

    enabled: bool = True
    """Off: the stage is left out, and rejects nothing."""
    clip_model: str = ""
    """Folder or hub id of CLIP weights (ViT-L/14 for LAION's head)."""
    head: str = ""
    """LAION's aesthetic head: a file or hub id. Empty: the photometric score."""
    min_score: float = 4.5
    """With the head, 0 to 10: below it a clip goes."""
    min_photometric: float = 2.0
    """Without the head, the photometric score, 0 to 10: below it a clip goes."""


@dataclass(frozen=True)
class MotionConfig:
    """How much moves, and whether something jumps."""

    enabled: bool = True
    """Off: the stage is left out, and rejects nothing."""
    threshold: float = 12.0
    """Grey levels (of 255) that a pixel must change by to count as moving."""
    min_score: float = 0.002
    """Mean share of moving pixels below which a clip is static."""
    peak: float = 0.5
    """A frame whose share exceeds this, and its neighbours' by `peak_rise`, is an abrupt change."""
    peak_rise: float = 0.35
    """How far an abrupt change's share must stand out from its neighbours'."""


@dataclass(frozen=True)
class TextConfig:
    """Subtitles, titles, logos."""

    enabled: bool = True
    """Off: the stage is left out, and rejects nothing."""
    max_area_px: int = 20000
    """Largest area of overlaid text, in pixels."""
    max_line_px: int = 2000
    """Largest line of it, such as a subtitle, in pixels; only with `confirm`."""
    reference_height_px: int = 720
    """Size at which those are meant, 16:9; 0: the frame's own pixels, the paper's plain rule if not `confirm`."""
    confirm: bool = True
    """Whether a box counts only if it is a crisp, level line of text that can be read."""
    min_confidence: float = 0.8
    """How sure the recognition must be for a text to count as read, 0 to 1."""
    min_characters: int = 2
    """How long a text must be to count as read."""


@dataclass(frozen=True)
class CaptionsConfig:
    """Who says what a clip shows."""

    captioner: str = "none"
    """`none`, `sidecar` (SOURCE.txt, .json or .jsonl), `nano` (the shipped one, which knows the world alone), the
    folder of a captioner that `train captioner` wrote, or the folder or hub id of a vision language model."""
    prompt: str = ""
    """What the model is asked; empty: its own question."""
    num_frames: int = 3
    """Frames that it is shown; at most `shots.frames_per_clip`. nano learned from 6: give it as many of both."""
    max_tokens: int = 200
    """Longest answer."""

    @property
    def is_model(self) -> bool:
        """Whether a model looks at the clip's frames."""
        return self.captioner not in ("none", "sidecar")


@dataclass(frozen=True)
class WriteConfig:
    """How clips are stored."""

    stream_copy: bool = True
    """Copy packets where a clip begins and ends on keyframes; else encode H.264."""
    crf: int = 18
    """H.264 constant rate factor: 18 looks like the source."""
    preset: Literal["ultrafast", "veryfast", "fast", "medium", "slow"] = "veryfast"
    """How long x264 looks for smaller files of the same quality."""
    shards: bool = False
    """Also write WebDataset shards and partitioned Parquet, for millions of clips."""


@dataclass(frozen=True)
class CurationConfig:
    """All of it."""

    shots: ShotsConfig = field(default_factory=ShotsConfig)
    dedup: DedupConfig = field(default_factory=DedupConfig)
    aesthetics: AestheticsConfig = field(default_factory=AestheticsConfig)
    motion: MotionConfig = field(default_factory=MotionConfig)
    text: TextConfig = field(default_factory=TextConfig)
    captions: CaptionsConfig = field(default_factory=CaptionsConfig)
    write: WriteConfig = field(default_factory=WriteConfig)
    device: str = "auto"
    """For the stages that run models."""

    def __post_init__(self) -> None:
        if not 0 < self.shots.min_seconds <= self.shots.max_seconds:
            raise UserError(
                f"shots.min_seconds must be above 0 and at most max_seconds {self.shots.max_seconds:g}, "
                f"got {self.shots.min_seconds:g}"
            )
        for name, (low, high) in _RANGES.items():
            part, key = name.split(".")
            value = getattr(getattr(self, part), key)
            if not low <= value <= high:
                nearest = min(max(value, low), high)
                raise UserError(f"{name} must lie in {low:g} to {high:g}, got {value:g}: use {nearest:g}")

    def check_effect(self) -> None:
        """Raises UserError for a value that would be another one silently, or that nothing reads. Datasets that are
        there already are read without this check.
        """
        shown, kept = self.captions.num_frames, self.shots.frames_per_clip
        if self.captions.is_model and shown > kept:
            raise UserError(
                f"captions.num_frames must be at most shots.frames_per_clip {kept}, got {shown}: "
                f"use --captions.num-frames {kept}, or --shots.frames-per-clip {shown}"
            )
        for name, read, fix in (
            (
                "aesthetics.min_score",
                self.aesthetics.head,
                "name an aesthetics.head, or use aesthetics.min_photometric",
            ),
            ("dedup.max_cosine", self.dedup.clip_model, "name a dedup.clip_model, or use dedup.max_hash_distance"),
            ("captions.prompt", self.captions.is_model, "name a captions.captioner that is a model, or leave it out"),
        ):
            part, key = name.split(".")
            value = getattr(getattr(self, part), key)
            if not read and value != getattr(getattr(CurationConfig(), part), key):
                raise UserError(f"{name} {value!r} acts on nothing here: {fix}")


_RANGES = {
    "shots.threshold": (0, 1000),
    "shots.max_seconds": (0, 3600),
    "shots.frames_per_clip": (1, 64),
    "shots.span_seconds": (10, 3600),
    "dedup.max_cosine": (-1, 1),
    "dedup.max_hash_distance": (0, 32),
    "dedup.min_overlap": (0, 1),
    "aesthetics.min_score": (0, 10),
    "aesthetics.min_photometric": (0, 10),
    "motion.threshold": (0, 255),
    "motion.min_score": (0, 1),
    "motion.peak": (0, 1),
    "motion.peak_rise": (0, 1),
    "text.max_area_px": (0, 1_000_000_000),
    "text.max_line_px": (0, 1_000_000_000),
    "text.reference_height_px": (0, 100_000),
    "text.min_confidence": (0, 1),
    "text.min_characters": (0, 1000),
    "captions.num_frames": (1, 64),
    "captions.max_tokens": (1, 4096),
    "write.crf": (0, 51),
}

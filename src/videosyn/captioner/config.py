"""What distinguishes one captioner from another. Torch-free. Next on the path: `model.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from videosyn.core.errors import UserError

CONV = "conv"
"""The `model_type` of the small vision encoder of our own; all others are transformers'."""
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
"""Of levels of 0 to 1 of CLIP's pictures, red, green, blue."""


@dataclass(frozen=True)
class ConvVisionConfig:
    """A small convolutional encoder: sides are halved twice at the entrance, then once before every further scale."""

    widths: tuple[int, ...] = (48, 96, 192)
    """Channels at 1/4, 1/8, 1/16, ... of the sides; the last are the tokens' width."""
    blocks: tuple[int, ...] = (0, 1, 1)
    """Residual blocks at each of these scales."""

    def __post_init__(self) -> None:
        if len(self.widths) != len(self.blocks) or not self.widths:
            raise UserError(f"blocks must have one value a scale ({len(self.widths)}), got {len(self.blocks)}")

    @property
    def patch_px(self) -> int:
        """Pixels a side that a token stands for."""
        return 2 ** (len(self.widths) + 1)


@dataclass(frozen=True)
class CaptionerConfig:
    """A captioner from nano to the paper's size: vision encoder, Resampler, Token Turing Machine, language model."""

    vision: dict[str, Any]
    """The vision encoder: `model_type` "conv" and the fields of ConvVisionConfig, or a configuration of transformers
    (clip_vision_model, siglip_vision_model)."""
    language: dict[str, Any]
    """The language model: a configuration of transformers with its `model_type` (phi3, llama, any causal one)."""
    width: int = 1024
    """Channels of Resampler and memory."""
    num_heads: int = 16
    """Attention heads of Resampler and memory."""
    frame_tokens: int = 128
    """Tokens that the Resampler leaves of a frame."""
    resampler_depth: int = 6
    """Layers of the Resampler."""
    memory_tokens: int = 128
    """Tokens of the memory, whatever the length of the video: what the language model sees of it."""
    read_tokens: int = 128
    """Tokens that the Token Turing Machine reads at each frame."""
    memory_depth: int = 4
    """Layers that process what was read."""
    num_frames: int = 4
    """Frames taken from a clip, spread evenly."""
    image_px: int = 378
    """Side of the pictures that the vision encoder sees."""
    keep_aspect: bool = False
    """Whether pictures keep their aspect ratio and about image_px x image_px pixels; else they become square."""
    image_mean: tuple[float, float, float] = CLIP_MEAN
    """Subtracted from levels of 0 to 1, red, green, blue."""
    image_std: tuple[float, float, float] = CLIP_STD
    """What the difference is then divided by."""
    prompt: str = "Describe this video in detail, in one paragraph."
    """What the language model is asked."""
    retelling: str = ""
    """A prompt that is answered in many phrasings, as people write prompts; empty: there is none."""
    max_new_tokens: int = 200
    """Longest caption."""

    def __post_init__(self) -> None:
        for name in ("width", "num_heads", "frame_tokens", "resampler_depth", "memory_tokens", "read_tokens",
                     "memory_depth", "num_frames", "image_px", "max_new_tokens"):  # fmt: skip
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.width % self.num_heads:
            raise UserError(f"width must be a multiple of num_heads {self.num_heads}, got {self.width}")
        for name in ("vision", "language"):
            if "model_type" not in getattr(self, name):
                raise UserError(f"{name} needs a model_type, such as {'conv' if name == 'vision' else 'phi3'}")

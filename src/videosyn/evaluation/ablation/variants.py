"""The ways from video to tokens that are compared, and what can be counted of them. Torch-free. Next: `probe.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from videosyn.core.shapes import latent_shape
from videosyn.evaluation.footage import Shape
from videosyn.vdit.config import VDiTConfig

Way = Literal["frames", "whole", "divided", "streamed"]
PAPER_SHAPES = ("1x768x768", "17x512x512", "65x256x256", "101x720x1280")
"""Table 3's, and a film of more than 100 frames at 720p."""
TEXT_TOKENS = 250


@dataclass(frozen=True)
class Variant:
    """A way from video to latents."""

    name: str
    way: Way
    time_factor: int

    def latents(self, shape: Shape) -> tuple[int, int, int]:
        return latent_shape(shape.frames, shape.height, shape.width, self.time_factor)

    def num_tokens(self, shape: Shape) -> int:
        """Of the paper's VDiT: 2x2 latent pixels each."""
        frames, height, width = self.latents(shape)
        return frames * (height // 2) * (width // 2)

    def operations(self, shape: Shape, config: VDiTConfig) -> float:
        """Floating-point operations of one forward of the VDiT: weights and attention, one video, no guidance."""
        frames, height, width = self.latents(shape)
        places, channels = (height // 2) * (width // 2), config.width
        tokens = frames * places
        weights = 2 * tokens * channels**2 * (4 + 4 + 2 + 2 * config.mlp_ratio) + 2 * TEXT_TOKENS * 2 * channels**2
        attention = 4 * tokens * channels * (places + frames + TEXT_TOKENS)
        return float(config.depth * (weights + attention))


VARIANTS = (
    Variant("no time compression, 1x8x8", "frames", 1),
    Variant("4x8x8, whole", "whole", 4),
    Variant("4x8x8, divide and merge", "divided", 4),
    Variant("4x8x8, streaming", "streamed", 4),
)

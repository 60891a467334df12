"""How much memory generation takes beside the weights, from shapes alone, and what would fit. Torch-free.

The parts: `vdit/cost.py`, `vidvae/cost.py`. Whether they are right: `benchmarks/cost_model.py`. Next: `fitting.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from videosyn.core.memory import FIXED_BYTES
from videosyn.vdit.config import VDiTConfig
from videosyn.vdit.cost import Load, working_bytes
from videosyn.vidvae.config import VidVAEConfig
from videosyn.vidvae.cost import decoder_bytes, piece_frames

FRAME_BYTES_PER_PIXEL = 3
"""uint8 frames, in host memory."""
BLENDING_BYTES_PER_PIXEL = 12
"""The float32 sums that tiles are laid into, in host memory, too."""
PIECE_BYTES_PER_PIXEL = 30
"""A decoded piece, its float32 levels and their uint8 copies on the way to frames."""


@dataclass(frozen=True)
class Footprint:
    """The working memory of one pipeline's models, beside their weights."""

    vdit: VDiTConfig
    vae: VidVAEConfig
    number_bytes: int
    """of the type that they compute in"""
    device: str
    """its kind: cpu, cuda, ..."""
    text_tokens: int = 250
    """L, of the longest prompt"""
    cached: bool = False
    """whether a block cache keeps what blocks added"""

    @property
    def size_multiple(self) -> int:
        """Pixels a side of one token."""
        return self.vae.space_factor * self.vdit.patch_size

    def load(self, num_videos: int, num_frames: int, height: int, width: int, guided: bool = True) -> Load:
        """What the VDiT gets."""
        latent_frames = 1 + (num_frames - 1) // self.vae.time_factor
        places = (height // self.size_multiple) * (width // self.size_multiple)
        return Load(num_videos * (2 if guided else 1), latent_frames, places, self.text_tokens)

    def denoising_bytes(self, num_videos: int, num_frames: int, height: int, width: int) -> int:
        """The VDiT's, guidance included."""
        load = self.load(num_videos, num_frames, height, width)
        return working_bytes(self.vdit, load, self.number_bytes, self.device, self.cached)

    def decoding_bytes(self, num_videos: int, num_frames: int, height: int, width: int, tile_px: int = 0) -> int:
        """The decoder's; tile_px: frames go in square tiles of that side; 0: whole."""
        if tile_px:
            height, width, pieces = min(height, tile_px), min(width, tile_px), 1
        else:
            pieces = piece_frames(self.vae, num_videos, height, width, self.device)
        pieces = min(pieces, 1 + (num_frames - 1) // self.vae.time_factor)
        piece_pixels = num_videos * min(num_frames, pieces * self.vae.time_factor) * height * width
        passing = decoder_bytes(self.vae, pieces, num_videos, height, width, self.number_bytes, self.device)
        return passing + piece_pixels * PIECE_BYTES_PER_PIXEL

    def host_bytes(self, num_videos: int, num_frames: int, height: int, width: int, tile_px: int = 0) -> int:
        """The finished frames, and what tiles are put together in: always in host memory."""
        each = FRAME_BYTES_PER_PIXEL + (BLENDING_BYTES_PER_PIXEL if tile_px else 0)
        return num_videos * num_frames * height * width * each

    def predicted_bytes(self, num_videos: int, num_frames: int, height: int, width: int, tile_px: int = 0) -> int:
        """The peak on the device for `num_videos` at once: VDiT or decoder, the larger, for they take turns."""
        size = (num_videos, num_frames, height, width)
        decoding = self.decoding_bytes(*size, tile_px)
        if self.device == "cpu":
            decoding += self.host_bytes(*size, tile_px)
        return FIXED_BYTES + max(self.denoising_bytes(*size), decoding)

    def fits(
        self, available_bytes: int, num_videos: int, num_frames: int, height: int, width: int, tile_px: int = 0
    ) -> bool:
        return self.predicted_bytes(num_videos, num_frames, height, width, tile_px) <= available_bytes

    def what_fits(self, available_bytes: int, num_frames: int, height: int, width: int) -> str:
        """The nearest requests below this one that fit, as words: fewer frames of this size, or smaller frames."""
        fixes = []
        factor, unit = self.vae.time_factor, self.size_multiple
        fewer = range(num_frames - factor, 0, -factor)
        frames = next((n for n in fewer if self.fits(available_bytes, 1, n, height, width)), None)
        if frames:
            fixes.append(f"{frames} frames of {height}x{width}")
        for side in range(min(height, width) - unit, 0, -unit):
            scaled = [max(1, each * side // min(height, width) // unit) for each in (height, width)]
            size = scaled[0] * unit, scaled[1] * unit
            if self.fits(available_bytes, 1, num_frames, *size):
                fixes.append(f"{num_frames} frames of {size[0]}x{size[1]}")
                break
        return " or ".join(fixes) or "nothing, free some memory first"

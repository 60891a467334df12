"""How much memory generation takes, from shapes alone, and what would fit. Torch-free. Next: `sampling/fitting.py`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

OUTPUT_BYTES_PER_PIXEL = 48  # three channels: decoded pieces, their sum, float32 levels, uint8 frames
BLENDING_BYTES_PER_PIXEL = 14  # the float32 sums that tiles are laid into, and a tile's own frames
FIXED_BYTES = 64_000_000  # thread pools, workspaces and kernels of the first call


@dataclass(frozen=True)
class Footprint:
    """The working memory of one pipeline's models, beside their weights."""

    bytes_per_token: int
    """The VDiT's, for one token of one video, guidance included."""
    bytes_per_pixel: int
    """The decoder's, for one pixel of one frame while it passes through."""
    carried_bytes_per_pixel: int
    """What the decoder's causal layers keep from piece to piece, for one pixel of one frame."""
    piece_pixels: int
    """Pixels that pass through the decoder at once; longer videos go in pieces, of a latent frame or more."""
    space_multiple: int
    """Pixels a side of one token."""
    time_factor: int
    """T = 1 + time_factor * k."""

    def predicted_bytes(self, num_videos: int, num_frames: int, height: int, width: int, tile_px: int = 0) -> int:
        """The peak for `num_videos` at once: the VDiT or the decoder, whichever is larger, for they take turns.

        tile_px: the decoder takes frames in square tiles of that side; 0: whole.
        """
        latent_frames = 1 + (num_frames - 1) // self.time_factor
        tokens = latent_frames * (height // self.space_multiple) * (width // self.space_multiple)
        frame_pixels = num_videos * height * width
        piece = min(num_frames * frame_pixels, max(self.piece_pixels, self.time_factor * frame_pixels))
        output = num_frames * frame_pixels * OUTPUT_BYTES_PER_PIXEL
        if tile_px:
            frame_pixels = num_videos * min(height * width, tile_px**2)
            piece = self.time_factor * frame_pixels
            output += num_videos * num_frames * height * width * BLENDING_BYTES_PER_PIXEL
        decoder = piece * self.bytes_per_pixel + frame_pixels * self.carried_bytes_per_pixel + output
        return FIXED_BYTES + max(num_videos * tokens * self.bytes_per_token, decoder)

    def fits(
        self, available_bytes: int, num_videos: int, num_frames: int, height: int, width: int, tile_px: int = 0
    ) -> bool:
        return self.predicted_bytes(num_videos, num_frames, height, width, tile_px) <= available_bytes

    def what_fits(self, available_bytes: int, num_frames: int, height: int, width: int) -> str:
        """The nearest requests below this one that fit, as words: fewer frames of this size, or smaller frames."""
        fixes = []
        fewer = range(num_frames - self.time_factor, 0, -self.time_factor)
        frames = next((n for n in fewer if self.fits(available_bytes, 1, n, height, width)), None)
        if frames:
            fixes.append(f"{frames} frames of {height}x{width}")
        for side in range(min(height, width) - self.space_multiple, 0, -self.space_multiple):
            scaled = [max(1, each * side // min(height, width) // self.space_multiple) for each in (height, width)]
            size = scaled[0] * self.space_multiple, scaled[1] * self.space_multiple
            if self.fits(available_bytes, 1, num_frames, *size):
                fixes.append(f"{num_frames} frames of {size[0]}x{size[1]}")
                break
        return " or ".join(fixes) or "nothing, free some memory first"


def available_cpu_bytes() -> int | None:
    """Memory this process may still take: the system's, or its control group's where that is less. None: unknown."""
    limits = [limit for limit in (_system_bytes(), _group_bytes()) if limit is not None]
    return min(limits, default=None)


def _system_bytes() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:  # not Linux
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None


def _group_bytes() -> int | None:
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = (group / "memory.max").read_text().strip(), (group / "memory.current").read_text().strip()
    except OSError:
        return None
    return None if limit == "max" else max(0, int(limit) - int(used))

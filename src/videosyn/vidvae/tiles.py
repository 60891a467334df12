"""Frames too large for memory, in tiles that overlap and fade into each other; through time every tile is streamed.

Norms and attention see a tile instead of the frame, so the result is near the whole-frame result, not equal to it:
`videosyn evaluate seams` measures the difference. Used where a frame does not fit (`sampling/fitting.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from videosyn.core.errors import UserError
from videosyn.vidvae.streaming import decode_stream, encode_stream

if TYPE_CHECKING:
    from videosyn.vidvae.model import VidVAE


@dataclass(frozen=True)
class Tiling:
    """Square tiles, in pixels; multiples of the VidVAE's space factor."""

    tile_px: int = 512
    """Side of a tile. A side of the frame that is shorter is not divided."""
    overlap_px: int = 64
    """How much neighbours overlap, and fade into each other; at most half a tile."""

    def __post_init__(self) -> None:
        if not 0 < self.overlap_px <= self.tile_px // 2:
            raise UserError(
                f"tiles of {self.tile_px} px must overlap by 1 to {self.tile_px // 2} px, got {self.overlap_px}"
            )

    def check(self, space_factor: int) -> None:
        """Raises UserError unless tiles end where latents do."""
        for name, value in (("tile_px", self.tile_px), ("overlap_px", self.overlap_px)):
            if value % space_factor:
                raise UserError(f"{name} must be a multiple of {space_factor}, got {value}")


@dataclass(frozen=True)
class _Tile:
    """A tile of a frame of (height, width), in units of latent positions."""

    top: int
    left: int
    height: int
    width: int
    frame: tuple[int, int]
    overlap: int

    def cut(self, x: Tensor, unit: int) -> Tensor:
        """Its part of x (..., H, W), which has `unit` pixels to a latent position."""
        rows = slice(self.top * unit, (self.top + self.height) * unit)
        return x[..., rows, self.left * unit : (self.left + self.width) * unit]

    def weight(self, unit: int, like: Tensor) -> Tensor:
        """(rows, columns): 1 inside, falling linearly over the overlap at edges that have a neighbour."""
        down = self._fade(self.top, self.height, self.frame[0], unit, like)
        across = self._fade(self.left, self.width, self.frame[1], unit, like)
        return down[:, None] * across

    def _fade(self, start: int, length: int, whole: int, unit: int, like: Tensor) -> Tensor:
        place = torch.arange(length * unit, device=like.device, dtype=torch.float32) + 0.5
        weight, reach = torch.ones_like(place), self.overlap * unit
        if start > 0:
            weight = torch.minimum(weight, place / reach)
        if start + length < whole:
            weight = torch.minimum(weight, (length * unit - place) / reach)
        return weight


def encode_tiled(vae: VidVAE, video: Tensor, tiling: Tiling, frames_per_piece: int = 4) -> Tensor:
    """video (B, 3, T, H, W) in [-1, 1] -> normalised latents (B, Z, t, h, w), the posterior's modes."""
    vae.check_video(video)
    unit = vae.space_factor
    size = (video.shape[3] // unit, video.shape[4] // unit)
    parts = (
        (tile, 1, encode_stream(vae, tile.cut(video, unit).split(frames_per_piece, 2)))
        for tile in _tiles(*size, tiling, unit)
    )
    return _blended(parts, 1 + (video.shape[2] - 1) // vae.time_factor, video.device).to(video.dtype)


def decode_tiled(
    vae: VidVAE, latents: Tensor, tiling: Tiling, frames_per_piece: int = 1, device: torch.device | None = None
) -> Tensor:
    """normalised latents (B, Z, t, h, w) -> video (B, 3, T, H, W).

    One tile after the other, each through all of time in pieces of so many latent frames: beside the video, memory
    is that of one tile's piece and of what one tile carries through time. device: where the video is put together,
    which takes 12 bytes a pixel; by default where the latents are.
    """
    vae.check_latents(latents)
    unit = vae.space_factor
    parts = (
        (tile, unit, decode_stream(vae, tile.cut(latents, 1).split(frames_per_piece, 2)))
        for tile in _tiles(latents.shape[3], latents.shape[4], tiling, unit)
    )
    num_frames = 1 + (latents.shape[2] - 1) * vae.time_factor
    return _blended(parts, num_frames, device or latents.device).to(latents.dtype)


def shared_pixels(height: int, width: int, tiling: Tiling, space_factor: int) -> Tensor:
    """(H, W) bool: where tiles of a frame of H x W pixels overlap."""
    count = torch.zeros(height, width)
    for tile in _tiles(height // space_factor, width // space_factor, tiling, space_factor):
        tile.cut(count, space_factor).add_(1)
    return count > 1


def _blended(parts: Iterable[tuple[_Tile, int, Iterable[Tensor]]], num_frames: int, device: torch.device) -> Tensor:
    """Tiles, each with its unit and its pieces (B, C, n, rows, columns) -> (B, C, num_frames, H, W), float32."""
    total = weights = torch.zeros(())
    for tile, unit, pieces in parts:
        start = 0
        for piece in pieces:
            if total.ndim == 0:
                size = (tile.frame[0] * unit, tile.frame[1] * unit)
                total = torch.zeros(*piece.shape[:2], num_frames, *size, device=device)
                weights = torch.zeros(size, device=device)
            weight = tile.weight(unit, total)
            place = tile.cut(total, unit)[:, :, start : start + piece.shape[2]]
            place.addcmul_(piece.to(device, torch.float32), weight)
            if start == 0:
                tile.cut(weights, unit).add_(weight)
            start += piece.shape[2]
    return total.div_(weights)


def _tiles(height: int, width: int, tiling: Tiling, space_factor: int) -> list[_Tile]:
    """The tiles of a frame of (height, width) latent positions, row by row."""
    tiling.check(space_factor)
    side, overlap = tiling.tile_px // space_factor, tiling.overlap_px // space_factor
    return [
        _Tile(top, left, min(side, height), min(side, width), (height, width), overlap)
        for top in _starts(height, side, overlap)
        for left in _starts(width, side, overlap)
    ]


def _starts(length: int, side: int, overlap: int) -> list[int]:
    """Where tiles begin along an axis; the last ends with it."""
    if length <= side:
        return [0]
    return [*range(0, length - side, side - overlap), length - side]

"""Numbers as vectors: time and size (sinusoids and a small network), places in space, places in time (RoPE)."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FREQUENCY_WIDTH = 256
MAX_PERIOD = 10_000.0
PROGRESS_SPAN = 4.0
"""radians from the first frame of a clip to its last, at the highest frequency"""


def sinusoids(numbers: Tensor, width: int = FREQUENCY_WIDTH) -> Tensor:
    """Numbers (...) -> cosines, then sines, at `width` / 2 geometric frequencies from 1 down to 1e-4: (..., width)."""
    half = width // 2
    frequencies = torch.exp(-math.log(MAX_PERIOD) * torch.arange(half, device=numbers.device) / half)
    angles = numbers[..., None].float() * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class ScalarEmbedder(nn.Module):
    """Numbers (...) of any range up to some thousands -> (..., width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(FREQUENCY_WIDTH, width)
        self.fc2 = nn.Linear(width, width)
        for layer in (self.fc1, self.fc2):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def forward(self, numbers: Tensor) -> Tensor:
        return self.fc2(F.silu(self.fc1(sinusoids(numbers).to(self.fc1.weight.dtype))))


def spatial_positions(
    rows: int, columns: int, width: int, scale: float | Tensor, device: torch.device | None = None
) -> Tensor:
    """2-D sin-cos positions of a grid of tokens: (rows * columns, width), or (B, rows * columns, width) for scales
    (B,), float32.

    The first half of the channels tells the column, the second the row, each as sines, then cosines. The grid is
    stretched to a square of the same number of tokens and divided by `scale` (size in pixels / base size), so that
    positions mean the same place at every size and aspect ratio. Open-Sora 1.1; equal to PixArt's on its squares.
    """
    base = round(math.sqrt(rows * columns))
    frequencies = 1.0 / MAX_PERIOD ** (torch.arange(0, width // 2, 2, device=device) / (width // 2))

    def along(count: int) -> Tensor:  # (count, width / 2), or (B, count, width / 2)
        pace = base / count / scale
        pace = pace[:, None] if isinstance(pace, Tensor) else pace
        angles = (torch.arange(count, device=device) * pace)[..., None] * frequencies
        return torch.cat([angles.sin(), angles.cos()], dim=-1)

    by_row, by_column = along(rows), along(columns)
    by_row = by_row[..., :, None, :].expand(*by_row.shape[:-1], columns, -1)
    by_column = by_column[..., None, :, :].expand_as(by_row)
    return torch.cat([by_column, by_row], dim=-1).flatten(-3, -2)


def frame_positions(num_frames: int, width: int, device: torch.device) -> Tensor:
    """Sin-cos positions of latent frames: (num_frames, width), float32.

    The first half of the channels tells how far into the clip a frame is (0 to PROGRESS_SPAN), the second its number.
    RoPE alone tells frames apart only by what they hold: in pure noise no token could know whether it stands at the
    start or at the end, so the direction of a motion would be left to chance.
    """
    numbers = torch.arange(num_frames, device=device).float()
    progress = numbers * (PROGRESS_SPAN / max(num_frames - 1, 1))
    return torch.cat([sinusoids(progress, width // 2), sinusoids(numbers, width // 2)], dim=-1)


def rope_frequencies(head_width: int, theta: float) -> Tensor:
    """Angular frequencies of RoPE's channel pairs: (head_width / 2,), from 1 down towards 1 / theta."""
    return theta ** (-torch.arange(0, head_width, 2).float() / head_width)


def pair_swap(head_width: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """(D, D) matrix S with x @ S = (-x1, x0, -x3, x2, ...): the quarter turn of each pair of channels.

    A product with it is exact in any type, and on CPUs several times faster than strided slices of the pairs.
    """
    swap = torch.zeros(head_width, head_width, device=device, dtype=dtype)
    even = torch.arange(0, head_width, 2, device=device)
    swap[even + 1, even] = -1
    swap[even, even + 1] = 1
    return swap


class Rope:
    """Rotary positions for one forward: turns pair j of x at place p by the angle p * frequency[j]."""

    def __init__(self, frequencies: Tensor, num_places: int, dtype: torch.dtype) -> None:
        places = torch.arange(num_places, device=frequencies.device)
        angles = (places[:, None] * frequencies.float()).repeat_interleave(2, dim=-1)  # (places, D)
        self.cos = angles.cos().to(dtype)
        self.sin = angles.sin().to(dtype)
        self.swap = pair_swap(angles.shape[-1], frequencies.device, dtype)

    def __call__(self, x: Tensor) -> Tensor:
        """x (..., places, D) -> the same shape, turned."""
        return torch.addcmul(x * self.cos, x @ self.swap, self.sin)


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # what generation keeps, training may meet later
def _kept(function: Callable[..., Tensor], *arguments: Any) -> Tensor:
    return function(*arguments)


def kept(function: Callable[..., Tensor], *arguments: Any) -> Tensor:
    """What a function of positions gives, kept from call to call. torch's compiler keeps it by itself."""
    return function(*arguments) if torch.compiler.is_compiling() else _kept(function, *arguments)

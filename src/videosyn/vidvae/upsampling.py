"""Nearest neighbours upwards and the convolution after them as one step that never makes the larger video.

Where every input position is shown 2 x 2 (x 2) times, a kernel of 3 x 3 x 3 meets each neighbour up to eight times. So
each of the 4 or 8 output phases is a smaller convolution of the input, its taps sums of the kernel's: 12 or 8 products
per output instead of 27 (with 3 taps in time, or 2). Exact but for rounding: zeros stay the border in space, the first
frame repeated stays the border in time. Next on the path: `model.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product

import torch
from einops import rearrange
from torch import Tensor

from videosyn.vidvae.causal import CausalConv3d, CausalState, channels_last, conv3d


class UpsamplingConv(CausalConv3d):
    """conv(repeat(x)): (B, C, T, H, W) -> (B, O, T, 2H, 2W), or with `time` from 1 + k to 1 + 2k frames.

    The weights are those of the convolution after the repetition, (O, C, 3, 3, 3).
    """

    def __init__(self, in_channels: int, out_channels: int, time: bool):
        super().__init__(in_channels, out_channels, (3, 3, 3), padding=1)
        self.time = time

    def forward(self, x: Tensor, state: CausalState | None = None, room: int = 0) -> Tensor:
        assert not room  # frames behind a room come from norms, and none stands before this
        begins = state is None or state.begins(self)
        num_past = 1 if self.time else 2
        if state is None or begins:
            past = x[:, :, :1].expand(-1, -1, num_past, -1, -1)
        else:
            past = state.last(self)
        x = torch.cat([past, x], 2)  # (B, C, past + T, H, W)
        if state is not None:
            state.keep(self, x, num_past)
        # Kept in low precision, where making them would cost up to a tenth of the time. In fp32 it is hardly to be
        # noticed, and they would take twice the memory of the weights and more.
        kept = state if x.dtype != torch.float32 else None
        kernels = self._sums() if kept is None else kept.made(self, lambda: list(self._sums()))
        phases = self._phases(x, kernels, begins)
        if torch.is_grad_enabled():
            return _stacked([phase for _, phase in phases], begins)
        batch, _, num_frames, height, width = x.shape
        num_frames = 2 * (num_frames - 1) - int(begins) if self.time else num_frames - 2
        y = channels_last(x, (batch, self.out_channels, num_frames, 2 * height, 2 * width))
        for (frame, row, column), phase in phases:
            y[:, :, frame :: 2 if self.time else 1, row::2, column::2] = phase
        return y

    def _phases(
        self, x: Tensor, kernels: Iterable[Tensor], begins: bool
    ) -> Iterator[tuple[tuple[int, int, int], Tensor]]:
        """x with its past -> first frame, row and column of each phase, and the phase (B, O, T', H, W)."""
        height, width = x.shape[3:]
        next_kernel = iter(kernels)
        for late in (0, 1) if self.time else (0,):
            frame = (late + 1) % 2 if self.time and begins else late
            frames = x[:, :, 1:] if self.time and begins and not late else x  # the first frame is shown once
            for row, column in product((0, 1), repeat=2):
                kernel = next(next_kernel)
                if frames.shape[2] >= kernel.shape[2]:
                    phase = conv3d(frames, kernel, self.bias, (1, 1, 1), 1)  # (B, O, T', H + 1, W + 1)
                    yield (frame, row, column), phase[..., row : row + height, column : column + width]

    def _sums(self) -> Iterator[Tensor]:
        """The phases' kernels (O, C, 2 or 3, 2, 2), by time, row, column. Each made when it is its turn."""
        for late in (False, True) if self.time else (None,):
            whole = self.weight.float()  # summed as such: bf16 would round on the way
            by_time = whole if late is None else _pair(whole, 2, first_alone=late)
            for row, column in product((True, False), repeat=2):
                kernel = _pair(_pair(by_time, 3, row), 4, column).to(self.weight.dtype)
                yield kernel.contiguous(memory_format=torch.channels_last_3d)


def _pair(kernel: Tensor, axis: int, first_alone: bool) -> Tensor:
    """Three taps along an axis -> two: the first and the sum of the others, or the sum of the first two and the last.

    At the even place of a repeated pair the tap before meets the neighbour before, the others the pair itself.
    """
    a, b, c = kernel.unbind(axis)
    return torch.stack([a, b + c] if first_alone else [a + b, c], axis)


def _stacked(phases: list[Tensor], begins: bool) -> Tensor:
    """4 phases of the places, or 8 of pairs of frames and the places (4 for a first frame alone) -> (B, O, T', 2H, 2W).

    Without writing in place, which gradients would pay for.
    """
    times = [
        rearrange(torch.stack(phases[at : at + 4]), "(q r) b c t h w -> b c t (h q) (w r)", q=2)
        for at in range(0, len(phases), 4)
    ]
    if len(times) == 1:
        return times[0]
    early, late = times
    pairs = torch.stack([early, late[:, :, int(begins) :]], 3).flatten(2, 3)  # (B, O, 2k, 2H, 2W)
    return torch.cat([late[:, :, : int(begins)], pairs], 2)

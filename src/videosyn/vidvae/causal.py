"""The only layers that look along time, each into the past alone. Everything else treats a frame by itself.

A video may come in pieces. What a layer must remember from the piece before lies in a `CausalState`, which the caller
makes and passes along; without one the input is a whole video. Next on the path: `blocks.py`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn


class CausalState:
    """What the causal layers of one model carry from one piece of one video to the next. Empty: a video begins."""

    def __init__(self) -> None:
        self._kept: dict[nn.Module, Tensor] = {}

    @property
    def num_numbers(self) -> int:
        """How many are kept."""
        return sum(kept.numel() for kept in self._kept.values())

    def begins(self, layer: nn.Module) -> bool:
        """Whether `layer` has not seen a piece yet."""
        return layer not in self._kept

    def last(self, layer: nn.Module) -> Tensor:
        """The last frames (B, C, k, H, W) of the piece before, as `keep` left them."""
        return self._kept[layer]

    def keep(self, layer: nn.Module, x: Tensor, num_frames: int) -> None:
        """Keeps a copy of the last `num_frames` (0: none, just that a piece was seen) of x (B, C, T, H, W)."""
        self._kept[layer] = x[:, :, x.shape[2] - num_frames :].clone()


class CausalConv3d(nn.Conv3d):
    """A convolution that sees a frame and the frames before it. Before the first frame stands the first frame.

    (B, C, T, H, W) -> (B, O, T, H', W'); with a time stride of 2, T = 1 + 2k -> 1 + k. Height and width are padded with
    zeros by `padding`. Weights as nn.Conv3d: (O, C, kt, kh, kw).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: tuple[int, int, int],
        stride: tuple[int, int, int] = (1, 1, 1),
        padding: int = 0,
    ):
        super().__init__(in_channels, out_channels, kernel, stride, (0, padding, padding))
        self.space_padding = padding

    def forward(self, x: Tensor, state: CausalState | None = None) -> Tensor:
        taps, step = self.kernel_size[0], self.stride[0]
        if taps > 1:
            if state is None or state.begins(self):
                past = x[:, :, :1].expand(-1, -1, taps - 1, -1, -1)
            else:
                past = state.last(self)
            x = torch.cat([past, x], 2)  # (B, C, kt - 1 + T, H, W)
            if state is not None:
                state.keep(self, x, taps - step)
        if x.device.type == "cpu" and x.dtype == torch.float32 and taps > 1:
            return conv3d_as_conv2d(x, self.weight, self.bias, self.stride, self.space_padding)
        return F.conv3d(x, self.weight, self.bias, self.stride, self.padding)


def conv3d_as_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, ...], padding: int) -> Tensor:
    """The same sum as a Conv3d without padding in time, as one Conv2d with the time taps joined on channels.

    x: (B, C, T, H, W), weight (O, C, kt, kh, kw) -> (B, O, T', H', W'). In fp32 on CPUs several times as fast.
    """
    batch, taps, step = x.shape[0], weight.shape[2], stride[0]
    num_frames = (x.shape[2] - taps) // step + 1
    last = step * (num_frames - 1) + 1
    joined = torch.cat([x[:, :, tap : tap + last : step] for tap in range(taps)], 1)  # (B, kt C, T', H, W)
    frames = rearrange(joined, "b kc t h w -> (b t) kc h w")
    y = F.conv2d(frames, rearrange(weight, "o c k h w -> o (k c) h w"), bias, stride[1:], padding)
    return rearrange(y, "(b t) o h w -> b o t h w", b=batch)  # (B, O, T', H', W')


class TimePool(nn.Module):
    """Averages pairs of frames; the first frame of a video stays alone. (B, C, 1 + 2k, H, W) -> (B, C, 1 + k, H, W)."""

    def forward(self, x: Tensor, state: CausalState | None = None) -> Tensor:
        begins = state is None or state.begins(self)
        if state is not None:
            state.keep(self, x, 0)
        first, rest = x[:, :, : int(begins)], x[:, :, int(begins) :]
        return torch.cat([first, (rest[:, :, 0::2] + rest[:, :, 1::2]) / 2], 2)


class TimeRepeat(nn.Module):
    """Shows every frame twice, the first of a video once. (B, C, 1 + k, H, W) -> (B, C, 1 + 2k, H, W)."""

    def forward(self, x: Tensor, state: CausalState | None = None) -> Tensor:
        begins = state is None or state.begins(self)
        if state is not None:
            state.keep(self, x, 0)
        x = repeat(x, "b c t h w -> b c (t two) h w", two=2)
        return x[:, :, int(begins) :]

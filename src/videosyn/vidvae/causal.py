"""The only layers that look along time, each into the past alone. Everything else treats a frame by itself.

A video may come in pieces. What a layer must remember from the piece before lies in a `CausalState`, which the caller
makes and passes along; without one the input is a whole video. Next on the path: `blocks.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import reduce

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from videosyn.vidvae import winograd
from videosyn.vidvae.cost import NUMBERS_AT_ONCE


class CausalState:
    """What the causal layers of one model carry from one piece of one video to the next. Empty: a video begins."""

    def __init__(self) -> None:
        self._kept: dict[nn.Module, Tensor] = {}
        self._made: dict[nn.Module, list[Tensor]] = {}

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
        last, before = x[:, :, x.shape[2] - num_frames :], self._kept.get(layer)
        foreign = before is not None and (
            before.requires_grad
            or before.dtype != last.dtype
            or before.is_inference() != torch.is_inference_mode_enabled()
        )
        if before is None or before.shape != last.shape or foreign or torch.is_grad_enabled():
            self._kept[layer] = last.clone(memory_format=torch.channels_last_3d)
        else:
            before.copy_(last)  # memory that is there already costs no page faults

    def made(self, layer: nn.Module, make: Callable[[], list[Tensor]]) -> list[Tensor]:
        """What `make` makes of the layer's weights, made once a video. Without gradients: those are made anew."""
        if torch.is_grad_enabled():
            return make()
        if layer not in self._made:
            self._made[layer] = make()
        return self._made[layer]


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

    @property
    def room(self) -> int:
        """Frames of the past that stand before the first frame of its input."""
        return self.kernel_size[0] - 1

    def forward(self, x: Tensor, state: CausalState | None = None, room: int = 0) -> Tensor:
        """room: `self.room` where x begins with so many frames that the past may be written to, which saves a copy."""
        taps, step = self.kernel_size[0], self.stride[0]
        if taps > 1:
            if state is None or state.begins(self):
                past = x[:, :, room : room + 1].expand(-1, -1, taps - 1, -1, -1)
            else:
                past = state.last(self)
            if room:
                x[:, :, :room] = past
            else:
                x = torch.cat([past, x], 2)  # (B, C, kt - 1 + T, H, W)
            if state is not None:
                state.keep(self, x, taps - step)
        return conv3d(x, self.weight, self.bias, self.stride, self.space_padding)


def conv3d(x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, ...], padding: int) -> Tensor:
    """A Conv3d without padding in time, by the way that is fastest on the device, for the type and width at hand."""
    if x.device.type == "cpu":
        fp32 = x.dtype == torch.float32
        plain = torch.is_grad_enabled() or torch.compiler.is_compiling()
        if fp32 and padding == 1 and not plain and winograd.pays(x, weight, stride):
            return winograd.conv3d_by_tiles(x, weight, bias)
        wide = weight.shape[1] >= 512  # from here on bf16, too, gains: weights of one tap stay in the caches
        if weight.shape[2] > 1 and (fp32 or wide):
            return conv3d_by_taps(x, weight, bias, stride, padding)
    return F.conv3d(x, weight, bias, stride, (0, padding, padding))


def channels_last(like: Tensor, shape: tuple[int, ...]) -> Tensor:
    """An empty tensor of a shape, of the type and device of `like`, channels innermost."""
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last_3d)


def as_frames(x: Tensor) -> Tensor:
    """(B, C, T, H, W) -> (B T, C, H, W), of channels-last videos a view that says it is channels-last.

    For a single frame einops gives strides from which torch concludes the opposite, and then reorders all numbers.
    """
    return rearrange(x, "b c t h w -> b t h w c").flatten(0, 1).permute(0, 3, 1, 2)


def conv3d_by_taps(x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, ...], padding: int) -> Tensor:
    """The same sum as a Conv3d without padding in time, as one Conv2d for each tap in time.

    x: (B, C, T, H, W), weight (O, C, kt, kh, kw) -> (B, O, T', H', W'). On CPUs in fp32 several times as fast, and
    faster than one Conv2d with the taps joined on channels once the joining is counted.
    """
    batch, taps, step = x.shape[0], weight.shape[2], stride[0]
    num_frames = (x.shape[2] - taps) // step + 1
    kernels = [weight[:, :, tap] for tap in reversed(range(taps))]  # that of the latest frame first, with the bias

    def parts(start: int, count: int) -> Iterator[Tensor]:
        """What each tap adds to `count` frames from `start` on: (B count, O, H', W')."""
        for age, kernel in enumerate(kernels):
            first = step * start + taps - 1 - age
            frames = as_frames(x[:, :, first : first + step * (count - 1) + 1 : step])
            yield F.conv2d(frames, kernel, None if age else bias, stride[1:], padding)

    if torch.is_grad_enabled() or taps == 1:
        total = reduce(Tensor.add_, parts(0, num_frames))
        return rearrange(total, "(b t) o h w -> b o t h w", b=batch)  # (B, O, T', H', W')
    height, width = (
        (size + 2 * padding - side) // pace + 1
        for size, side, pace in zip(x.shape[3:], weight.shape[3:], stride[1:], strict=True)
    )
    y = channels_last(x, (batch, weight.shape[0], num_frames, height, width))
    at_once = max(1, NUMBERS_AT_ONCE // (batch * weight.shape[0] * height * width))
    for start in range(0, num_frames, at_once):
        count = min(at_once, num_frames - start)
        total = reduce(Tensor.add_, parts(start, count))
        y[:, :, start : start + count] = rearrange(total, "(b t) o h w -> b o t h w", b=batch)
    return y


class TimePool(nn.Module):
    """Averages pairs of frames; the first frame of a video stays alone. (B, C, 1 + 2k, H, W) -> (B, C, 1 + k, H, W)."""

    def forward(self, x: Tensor, state: CausalState | None = None) -> Tensor:
        begins = state is None or state.begins(self)
        if state is not None:
            state.keep(self, x, 0)
        first, rest = x[:, :, : int(begins)], x[:, :, int(begins) :]
        return torch.cat([first, (rest[:, :, 0::2] + rest[:, :, 1::2]) / 2], 2)

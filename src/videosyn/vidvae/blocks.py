"""The parts of encoder and decoder: norms, residual block, attention in a frame, steps between scales.

All take and give (B, C, T, H, W); only the layers of `causal.py` look along time. Next on the path: `model.py`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from videosyn.vidvae.causal import CausalConv3d, CausalState, TimePool, as_frames
from videosyn.vidvae.config import VidVAEConfig
from videosyn.vidvae.cost import NUMBERS_AT_ONCE
from videosyn.vidvae.scratch import SCRATCH
from videosyn.vidvae.upsampling import UpsamplingConv


class FrameGroupNorm(nn.GroupNorm):
    """GroupNorm over each frame by itself, so that no frame knows of another."""

    def forward(self, input: Tensor) -> Tensor:
        return rearrange(super().forward(as_frames(input)), "(b t) c h w -> b c t h w", b=input.shape[0])


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of each position by itself."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.permute(0, 2, 3, 4, 1)).permute(0, 4, 1, 2, 3)


def make_norm(config: VidVAEConfig, width: int) -> nn.Module:
    """The norm that the config asks for."""
    if config.norm == "group":
        return FrameGroupNorm(config.norm_groups, width, eps=1e-6)
    return ChannelNorm(width, eps=1e-6)


def active(norm: nn.Module, x: Tensor, room: int) -> tuple[Tensor, int]:
    """silu(norm(x)), (B, C, T, H, W) -> (B, C, room + T, H, W) and the room before it, for the convolution's past.

    With gradients the room is 0 and the convolution copies. Without them a few frames at a time are normalised and
    activated into their place, so that nothing of the video's size is made in between; the next call reuses it.
    """
    if torch.is_grad_enabled():
        return F.silu(norm(x), inplace=True), 0
    batch, channels, num_frames, height, width = x.shape
    y = SCRATCH.take("active", x, (batch, room + num_frames, height, width, channels)).permute(0, 4, 1, 2, 3)
    step = max(1, NUMBERS_AT_ONCE // (batch * channels * height * width))
    for start in range(0, num_frames, step):
        frames = norm(x[:, :, start : start + step])
        place = y[:, :, room + start : room + start + frames.shape[2]]
        if torch.compiler.is_compiling():  # which knows no `out` between other frames, and writes there itself
            place.copy_(F.silu(frames))
        else:
            torch.ops.aten.silu.out(frames, out=place)
    return y, room


class ResBlock(nn.Module):
    """x + conv2(silu(norm2(conv1(silu(norm1(x)))))), the kernels `taps` frames deep."""

    def __init__(self, config: VidVAEConfig, in_width: int, out_width: int, scale: int):
        super().__init__()
        first, second = config.time_taps[scale], config.second_time_taps[scale]
        self.norm1 = make_norm(config, in_width)
        self.conv1 = CausalConv3d(in_width, out_width, (first, 3, 3), padding=1)
        self.norm2 = make_norm(config, out_width)
        self.conv2 = CausalConv3d(out_width, out_width, (second, 3, 3), padding=1)
        self.conv_shortcut = nn.Conv3d(in_width, out_width, 1) if in_width != out_width else None
        if config.zero_residuals:
            nn.init.zeros_(self.conv2.weight)
            nn.init.zeros_(self.conv2.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, x: Tensor, state: CausalState | None = None) -> Tensor:
        y, room = active(self.norm1, x, self.conv1.room)
        y = self.conv1(y, state, room)
        y, room = active(self.norm2, y, self.conv2.room)
        y = self.conv2(y, state, room)
        if self.conv_shortcut is None:
            return y.add_(x)
        if torch.is_grad_enabled() or y.device.type != "cpu" or torch.compiler.is_compiling() or x.dtype != y.dtype:
            return y.add_(self.conv_shortcut(x))
        return _add_product(y, x, self.conv_shortcut)


def _add_product(y: Tensor, x: Tensor, conv: nn.Conv3d) -> Tensor:
    """y += conv(x) for a kernel of 1 x 1 x 1, without making conv(x)."""
    sums, inputs = (_positions(each) for each in (y, x))
    if sums.data_ptr() != y.data_ptr():  # not channels-last: a copy would take the sum
        return y.add_(conv(x))
    sums.addmm_(inputs, conv.weight.flatten(1).t())
    return y if conv.bias is None else y.add_(conv.bias.view(1, -1, 1, 1, 1))


def _positions(x: Tensor) -> Tensor:
    """(B, C, T, H, W) -> (B T H W, C), of channels-last videos a view."""
    return rearrange(x, "b c t h w -> (b t h w) c")


class FrameAttention(nn.Module):
    """x + attention of one head among the positions of each frame."""

    def __init__(self, config: VidVAEConfig, width: int):
        super().__init__()
        self.norm = make_norm(config, width)
        self.to_q = nn.Linear(width, width)
        self.to_k = nn.Linear(width, width)
        self.to_v = nn.Linear(width, width)
        self.to_out = nn.Linear(width, width)
        if config.zero_residuals:
            nn.init.zeros_(self.to_out.weight)
            nn.init.zeros_(self.to_out.bias)

    def forward(self, x: Tensor) -> Tensor:
        height = x.shape[3]
        tokens = rearrange(self.norm(x), "b c t h w -> b t (h w) c")
        y = F.scaled_dot_product_attention(self.to_q(tokens), self.to_k(tokens), self.to_v(tokens))
        return x + rearrange(self.to_out(y), "b t (h w) c -> b c t h w", h=height)


class PoolDown(nn.Module):
    """The image VAE's step down (padded right and bottom, stride 2) and, if `time`, average pooling of frames."""

    def __init__(self, width: int, time: bool):
        super().__init__()
        self.conv = CausalConv3d(width, width, (3, 3, 3), stride=(1, 2, 2))
        self.pool = TimePool() if time else None

    def forward(self, x: Tensor, state: CausalState | None = None) -> Tensor:
        x, room = _with_border(x, self.conv.room)
        x = self.conv(x, state, room)  # (B, C, T, H/2, W/2)
        return x if self.pool is None else self.pool(x, state)  # (B, C, 1 + k, H/2, W/2)


def _with_border(x: Tensor, room: int) -> tuple[Tensor, int]:
    """x (B, C, T, H, W) with zeros below and to the right, behind room for the past: (B, C, room + T, H + 1, W + 1)."""
    if torch.is_grad_enabled():
        return F.pad(x, (0, 1, 0, 1)), 0
    batch, channels, num_frames, height, width = x.shape
    y = SCRATCH.take("active", x, (batch, room + num_frames, height + 1, width + 1, channels)).permute(0, 4, 1, 2, 3)
    y[:, :, room:, :-1, :-1] = x
    y[:, :, room:, -1] = 0
    y[:, :, room:, :, -1] = 0
    return y, room


class RepeatUp(nn.Module):
    """The image VAE's step up: nearest neighbours in space and, if `time`, in time, then a convolution."""

    def __init__(self, width: int, time: bool):
        super().__init__()
        self.conv = UpsamplingConv(width, width, time)

    def forward(self, x: Tensor, state: CausalState | None = None) -> Tensor:
        return self.conv(x, state)  # (B, C, 1 + 2k, 2H, 2W)


class ShuffleDown(nn.Module):
    """A strided convolution over blocks of 2 frames x 2 x 2 positions, begun as the shortcut that averages channels.

    The first frame stands for a pair, as if it had been shown twice.
    """

    def __init__(self, in_width: int, out_width: int, time: bool):
        super().__init__()
        self.time = 2 if time else 1
        self.conv = CausalConv3d(in_width, out_width, (self.time, 2, 2), stride=(self.time, 2, 2))
        averages = _shares(out_width, in_width * self.time * 4)
        averages = averages / averages.sum(1, keepdim=True)
        self.conv.weight.data.copy_(averages.unflatten(1, (in_width, self.time, 2, 2)))
        nn.init.zeros_(self.conv.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, x: Tensor, state: CausalState | None = None) -> Tensor:
        return self.conv(x, state)


class ShuffleUp(nn.Module):
    """A 1x1 convolution to blocks of 2 frames x 2 x 2 positions, begun as the shortcut that repeats channels.

    Of the pair that the first frame of a video becomes only the second is kept.
    """

    def __init__(self, in_width: int, out_width: int, time: bool):
        super().__init__()
        self.time = 2 if time else 1
        self.conv = nn.Conv3d(in_width, out_width * self.time * 4, 1)
        repeats = rearrange(_shares(in_width, out_width * self.time * 4), "i (c p) -> (p c) i 1 1 1", c=out_width)
        self.conv.weight.data.copy_(repeats)
        nn.init.zeros_(self.conv.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, x: Tensor, state: CausalState | None = None) -> Tensor:
        x = rearrange(self.conv(x), "b (p q r c) t h w -> b (t p) (h q) (w r) c", p=self.time, q=2, r=2)
        x = rearrange(x, "b t h w c -> b c t h w")  # a view: the channels stay innermost
        if self.time == 1:
            return x
        begins = state is None or state.begins(self)
        if state is not None:
            state.keep(self, x, 0)
        return x[:, :, int(begins) :]


def _shares(num_few: int, num_many: int) -> Tensor:
    """(few, many) of zeros and ones: each of the many belongs to one of the few, in order, evenly."""
    owner = torch.arange(num_many) * num_few // num_many
    return F.one_hot(owner, num_few).t().float()

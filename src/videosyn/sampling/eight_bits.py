"""Weights stored in 8 bits, computed with in the type of what comes in: half of bf16's memory, and no faster.

Only storage changes, so any torch and any device will do. torchao's weight-only kinds have the same errors; their
weights are tensor subclasses, which `offload.py` would have to know about, and importing it takes as long as torch.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from videosyn.core.model_folder import SCALE_SUFFIX, quantise
from videosyn.sampling.memory_mode import EightBits

FP8 = torch.float8_e4m3fn
LARGEST_FP8 = 448.0


class EightBitLinear(nn.Module):
    """`nn.Linear` (..., in) -> (..., out) whose weight is codes of 8 bits times one scale a row."""

    codes: Tensor
    scale: Tensor
    bias: nn.Parameter | None

    def __init__(self, linear: nn.Linear, kind: EightBits) -> None:
        """int8: even steps of a row's largest weight / 127, each weight off by half of one at most. fp8: e4m3, off by a
        16th of the weight at most, or by the row's largest / 448 / 1024 where that is more.
        """
        super().__init__()
        codes, scale = to_int8(linear.weight) if kind == "int8" else to_fp8(linear.weight)
        self.register_buffer("codes", codes)  # (out, in)
        self.register_buffer("scale", scale)  # (out, 1), float32
        self.register_parameter("bias", linear.bias)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.dtype = linear.weight.dtype

    @property
    def weight(self) -> Tensor:
        """(out, in) in the type of the layer that this one replaced; made anew at each call."""
        return self.codes.to(self.dtype).mul_(self.scale)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


def to_int8(weight: Tensor) -> tuple[Tensor, Tensor]:
    """(out, in) -> the codes and scales that folders saved with int8 hold: such a model loses nothing here."""
    stored = quantise({"weight": weight.detach()})
    return stored["weight"], stored["weight" + SCALE_SUFFIX].float()[:, None]


def to_fp8(weight: Tensor) -> tuple[Tensor, Tensor]:
    """(out, in) -> e4m3 codes and float32 scales (out, 1), so that a row's largest weight has the largest code."""
    rows = weight.detach().float()
    scale = (rows.abs().amax(dim=1, keepdim=True) / LARGEST_FP8).clamp(min=1e-12)
    return (rows / scale).clamp(-LARGEST_FP8, LARGEST_FP8).to(FP8), scale


def keep_in_eight_bits(module: nn.Module, kind: EightBits) -> None:
    """Replaces every `nn.Linear` within `module` by an EightBitLinear, in place, one after the other."""
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.Linear:
                setattr(parent, name, EightBitLinear(child, kind))

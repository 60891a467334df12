"""Attention along one axis, and to the text. The block decides what the axis is."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from videosyn.vdit import cost
from videosyn.vdit.embeddings import Rope


def works_in_place(x: Tensor) -> bool:
    """Whether what is made on the way may be written over: not where gradients or torch's compiler follow."""
    return x.device.type == "cpu" and not torch.is_grad_enabled() and not torch.compiler.is_compiling()


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """Softmax attention. q (B, H, N, D), k and v (B, H, M, D), bias (B, 1, 1, M) or None -> (B, H, N, D)."""
    if q.device.type == "cpu" and q.shape[-2] * k.shape[-2] <= cost.SHORT:
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
        if bias is not None:
            scores = scores + bias
        if works_in_place(scores):  # memory that is there already costs no page faults
            return torch.softmax(scores, dim=-1, out=scores) @ v
        return scores.softmax(dim=-1) @ v
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)


class HeadNorm(nn.Module):
    """Norm of each head's queries or keys (..., D), with a learned weight: root mean square, or layer norm."""

    def __init__(self, kind: str, head_width: int) -> None:
        super().__init__()
        self.kind = kind
        self.weight = nn.Parameter(torch.ones(head_width)) if kind != "none" else None

    def forward(self, x: Tensor) -> Tensor:
        """x (..., D). Written over, where `works_in_place`."""
        if self.weight is None:
            return x
        if self.kind == "rms" and works_in_place(x):  # torch takes six passes on CPUs, this three
            size = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
            inverse = size.square_().div_(x.shape[-1]).add_(1e-6).rsqrt_()
            return x.mul_(inverse.to(x.dtype)).mul_(self.weight)
        norm = F.rms_norm if self.kind == "rms" else F.layer_norm
        return norm(x, self.weight.shape, self.weight, eps=1e-6)


class SelfAttention(nn.Module):
    """Attention of N tokens among themselves: (B, N, C) -> (B, N, C)."""

    def __init__(self, width: int, num_heads: int, qk_norm: str, rope_first: bool = False) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.rope_first = rope_first
        self.qkv = nn.Linear(width, 3 * width)
        self.q_norm = HeadNorm(qk_norm, width // num_heads)
        self.k_norm = HeadNorm(qk_norm, width // num_heads)
        self.proj = nn.Linear(width, width)
        nn.init.zeros_(self.proj.weight)
        nn.init.zeros_(self.proj.bias)

    def forward(self, x: Tensor, rope: Rope | None = None) -> Tensor:
        qkv = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)  # (3, B, H, N, D)
        if works_in_place(qkv):
            qkv = qkv.contiguous()  # once for norms and products, which would each copy
        q, k, v = qkv
        if rope is None:
            q, k = self.q_norm(q), self.k_norm(k)
        elif self.rope_first:
            q, k = self.q_norm(rope(q)), self.k_norm(rope(k))
        else:
            q, k = rope(self.q_norm(q)), rope(self.k_norm(k))
        return self.proj(attend(q, k, v).transpose(1, 2).flatten(2))


class CrossAttention(nn.Module):
    """Attention of N tokens to L text tokens: (B, N, C), what `read` gave, bias (B, 1, 1, L) -> (B, N, C)."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)
        nn.init.zeros_(self.proj.weight)
        nn.init.zeros_(self.proj.bias)

    def read(self, text: Tensor) -> Tensor:
        """Text (B, L, C) -> keys and values (2, B, H, L, D), for any number of calls."""
        return self.kv(text).unflatten(-1, (2, self.num_heads, -1)).permute(2, 0, 3, 1, 4)

    def forward(self, x: Tensor, keys_values: Tensor, bias: Tensor) -> Tensor:
        q = self.q(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        k, v = keys_values
        return self.proj(attend(q, k, v, bias).transpose(1, 2).flatten(2))

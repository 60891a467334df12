"""The Perceiver-Resampler: however many tokens of a frame in, a fixed number out. Next on the path: `memory.py`.

Alayrac et al. 2022 (Flamingo), figure 5: learned queries attend to the frame's tokens and to themselves.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PerceiverResampler(nn.Module):
    """(B, N, in_width) -> (B, num_tokens, width). The order of the N tokens means nothing to it."""

    def __init__(self, in_width: int, width: int, num_tokens: int, depth: int, num_heads: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(num_tokens, width) * width**-0.5)
        self.entrance = nn.Linear(in_width, width)
        self.layers = nn.ModuleList([ResamplerLayer(width, num_heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = self.entrance(tokens)  # (B, N, D)
        out = self.queries.expand(len(tokens), -1, -1)  # (B, R, D)
        for layer in self.layers:
            out = layer(out, tokens)
        return self.norm(out)


class ResamplerLayer(nn.Module):
    """Queries (B, R, D) attend to tokens (B, N, D) and to themselves, then pass a feed-forward."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.norm, self.norm_tokens = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, num_heads)
        self.feed_forward = FeedForward(width)

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:
        own = self.norm(queries)
        queries = queries + self.attention(own, torch.cat([self.norm_tokens(tokens), own], dim=1))
        return queries + self.feed_forward(queries)


class Attention(nn.Module):
    """Multi-head attention of x (B, R, D) to y (B, N, D)."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q, self.kv, self.proj = nn.Linear(width, width), nn.Linear(width, 2 * width), nn.Linear(width, width)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        q = self.q(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # (B, H, R, D/H)
        k, v = self.kv(y).unflatten(-1, (2, self.num_heads, -1)).permute(2, 0, 3, 1, 4)  # (B, H, N, D/H)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """norm, linear to four times the width, GELU, linear."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.fc1, self.fc2 = nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(self.norm(x))))

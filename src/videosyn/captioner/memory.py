"""The Token Turing Machine: reads frames in order into a memory of fixed size. Next on the path: `model.py`.

Ryoo et al. 2023, section 3: at every step read, process, write.

    read tokens = summary of [memory, frame]
    output = transformer(read tokens)
    memory = summary of [memory, output, frame]
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from videosyn.captioner.resampler import Attention, FeedForward

KEPT = 4.0
"""How much more each slot of a new memory attends to itself than to any other token: it forgets slowly at first."""


class TokenTuringMachine(nn.Module):
    """`begin`, then `step` for each frame. Time and memory of a step depend on no step before."""

    def __init__(
        self, width: int, memory_tokens: int, frame_tokens: int, read_tokens: int, depth: int, num_heads: int
    ) -> None:
        super().__init__()
        self.memory = nn.Parameter(torch.randn(memory_tokens, width) * width**-0.5)
        self.read = TokenSummary(width, memory_tokens + frame_tokens, read_tokens)
        self.layers = nn.ModuleList([ProcessingLayer(width, num_heads) for _ in range(depth)])
        self.write = TokenSummary(width, memory_tokens + read_tokens + frame_tokens, memory_tokens)
        self.keep = nn.Parameter(KEPT * torch.eye(memory_tokens, memory_tokens + read_tokens + frame_tokens))

    def begin(self, batch: int) -> Tensor:
        """The empty memory (B, M, D)."""
        return self.memory.expand(batch, -1, -1)

    def step(self, memory: Tensor, frame: Tensor) -> Tensor:
        """Memory (B, M, D) and a frame's tokens (B, R, D) -> the next memory (B, M, D)."""
        output = self.read(torch.cat([memory, frame], dim=1))
        for layer in self.layers:
            output = layer(output)
        return self.write(torch.cat([memory, output, frame], dim=1), self.keep)

    def forward(self, frames: Tensor) -> Tensor:
        """Tokens of frames in order (B, T, R, D) -> the last memory (B, M, D)."""
        memory = self.begin(len(frames))
        for frame in frames.unbind(1):
            memory = self.step(memory, frame)
        return memory


class TokenSummary(nn.Module):
    """N tokens -> k, each a weighted mean of them; the weights are an MLP's of each token and its place (eq. 3)."""

    def __init__(self, width: int, num_tokens: int, num_out: int) -> None:
        super().__init__()
        self.places = nn.Parameter(torch.randn(num_tokens, width) * 0.02)
        self.norm = nn.LayerNorm(width)
        self.fc1, self.fc2 = nn.Linear(width, width), nn.Linear(width, num_out)

    def forward(self, tokens: Tensor, bias: Tensor | None = None) -> Tensor:
        """Tokens (B, N, D), bias (k, N) added to the logits -> (B, k, D)."""
        logits = self.fc2(F.gelu(self.fc1(self.norm(tokens + self.places)))).transpose(1, 2)  # (B, k, N)
        return (logits if bias is None else logits + bias).softmax(dim=-1) @ tokens


class ProcessingLayer(nn.Module):
    """Pre-norm self-attention and feed-forward (B, r, D)."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.norm, self.attention = nn.LayerNorm(width), Attention(width, num_heads)
        self.feed_forward = FeedForward(width)

    def forward(self, x: Tensor) -> Tensor:
        own = self.norm(x)
        x = x + self.attention(own, own)
        return x + self.feed_forward(x)

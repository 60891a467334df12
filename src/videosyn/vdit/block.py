"""One block: spatial attention, temporal attention, cross-attention, feed-forward (paper section 3.2, Figure 3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from videosyn.vdit.attention import CrossAttention, SelfAttention
from videosyn.vdit.config import VDiTConfig
from videosyn.vdit.embeddings import Rope
from videosyn.vdit.sharding import Sharding


def modulated_norm(tokens: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Layer norm without weights, then * (1 + scale) + shift. Tokens (B, t, S, C), the rest (B, 1 or t, 1, C)."""
    return torch.addcmul(shift, F.layer_norm(tokens, tokens.shape[-1:], eps=1e-6), 1 + scale)


class FeedForward(nn.Module):
    """Two linear layers with a GELU between: (..., C) -> (..., C)."""

    def __init__(self, in_width: int, middle_width: int, out_width: int, activation: str = "gelu_tanh") -> None:
        super().__init__()
        self.fc1 = nn.Linear(in_width, middle_width)
        self.fc2 = nn.Linear(middle_width, out_width)
        self.approximate = "tanh" if activation == "gelu_tanh" else "none"

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x), approximate=self.approximate))


class Block(nn.Module):
    """Every branch starts silent (its last layer is zero), so that a new block is the identity."""

    def __init__(self, config: VDiTConfig) -> None:
        super().__init__()
        width, heads = config.width, config.num_heads
        self.spatial_attention = SelfAttention(width, heads, config.qk_norm)
        self.temporal_attention = SelfAttention(width, heads, config.qk_norm, rope_first=config.legacy_stdit2)
        self.cross_attention = CrossAttention(width, heads)
        self.mlp = FeedForward(width, config.mlp_ratio * width, width, config.activation)
        nn.init.zeros_(self.mlp.fc2.weight)
        nn.init.zeros_(self.mlp.fc2.bias)
        # Rows: shift, scale, gate; spatial attention's three, then the feed-forward's. Gates start open.
        self.table = nn.Parameter(torch.tensor([0.0, 0.0, 1.0] * 2)[:, None].repeat(1, width))
        self.temporal_table = nn.Parameter(torch.tensor([0.0, 0.0, 1.0])[:, None].repeat(1, width))

    def forward(
        self,
        tokens: Tensor,
        modulation: Tensor,
        temporal_modulation: Tensor,
        rope: Rope,
        text: Tensor,
        bias: Tensor,
        sharding: Sharding | None = None,
    ) -> Tensor:
        """Tokens (B, t, S, C) -> the same shape. With `sharding`, the frames of this process.

        modulation (B, 1 or t, 1, 6, C) and temporal_modulation (B, 1 or t, 1, 3, C) come from the shared networks;
        text (B, L, C); bias (B, 1, 1, L), hugely negative where a text token is padding.
        """
        batch = tokens.shape[0]
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = (self.table + modulation).unbind(dim=-2)
        temporal_shift, temporal_scale, temporal_gate = (self.temporal_table + temporal_modulation).unbind(dim=-2)

        x = rearrange(modulated_norm(tokens, shift, scale), "b t s c -> (b t) s c")
        x = rearrange(self.spatial_attention(x), "(b t) s c -> b t s c", b=batch)
        tokens = torch.addcmul(tokens, gate, x)

        x = modulated_norm(tokens, temporal_shift, temporal_scale)
        x = x if sharding is None else sharding.to_places(x)
        x = self.temporal_attention(rearrange(x, "b t s c -> (b s) t c"), rope)
        x = rearrange(x, "(b s) t c -> b t s c", b=batch)
        x = x if sharding is None else sharding.to_frames(x)
        tokens = torch.addcmul(tokens, temporal_gate, x)

        x = rearrange(tokens, "b t s c -> b (t s) c")
        tokens = tokens + self.cross_attention(x, text, bias).view_as(tokens)

        x = self.mlp(modulated_norm(tokens, mlp_shift, mlp_scale))
        return torch.addcmul(tokens, mlp_gate, x)

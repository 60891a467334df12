"""One block: spatial attention, temporal attention, cross-attention, feed-forward (paper section 3.2, Figure 3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from videosyn.vdit import cost
from videosyn.vdit.attention import CrossAttention, SelfAttention
from videosyn.vdit.config import VDiTConfig
from videosyn.vdit.embeddings import Rope
from videosyn.vdit.sharding import Sharding

_FUSED = (
    torch.ops.mkldnn._linear_pointwise
    if torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    else None
)
"""oneDNN's product with the GELU before the result is rounded, as torch's compiler uses it: one pass and error less."""


def modulated_norm(tokens: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Layer norm without weights, then * (1 + scale) + shift. Tokens (B, t, S, C), the rest (B, 1 or t, 1, C)."""
    normal = F.layer_norm(tokens, tokens.shape[-1:], eps=1e-6)
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        return torch.addcmul(shift, normal, 1 + scale)
    return torch.addcmul(shift, normal, 1 + scale, out=normal)


class FeedForward(nn.Module):
    """Two linear layers with a GELU between: (..., C) -> (..., C)."""

    def __init__(self, in_width: int, middle_width: int, out_width: int, activation: str = "gelu_tanh") -> None:
        super().__init__()
        self.fc1 = nn.Linear(in_width, middle_width)
        self.fc2 = nn.Linear(middle_width, out_width)
        self.approximate = "tanh" if activation == "gelu_tanh" else "none"

    def forward(self, x: Tensor) -> Tensor:
        plain = torch.is_grad_enabled() or torch.compiler.is_compiling() or type(self.fc1) is not nn.Linear
        plain = plain or self.fc1.weight.dtype != x.dtype or bool(self.fc1._forward_pre_hooks)
        if _FUSED is not None and x.device.type == "cpu" and x.dtype == torch.bfloat16 and not plain:
            return self.fc2(_FUSED(x, self.fc1.weight, self.fc1.bias, "gelu", [], self.approximate))
        middle = self.fc1(x)  # (..., M)
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            return self.fc2(F.gelu(middle, approximate=self.approximate))
        return self.fc2(torch.ops.aten.gelu.out(middle, approximate=self.approximate, out=middle))


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
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = (self.table + modulation).unbind(dim=-2)
        temporal_shift, temporal_scale, temporal_gate = (self.temporal_table + temporal_modulation).unbind(dim=-2)

        def spatial(x: Tensor, shift: Tensor, scale: Tensor, gate: Tensor) -> Tensor:
            y = rearrange(modulated_norm(x, shift, scale), "b t s c -> (b t) s c")
            return _add(x, gate, self.spatial_attention(y).view_as(x))

        def temporal(x: Tensor) -> Tensor:
            y = modulated_norm(x, temporal_shift, temporal_scale)
            y = y if sharding is None else sharding.to_places(y)
            batch = y.shape[0]
            y = rearrange(y, "b t s c -> (b s) t c").contiguous()  # else products cannot add their bias by themselves
            y = self.temporal_attention(y, rope)
            y = rearrange(y, "(b s) t c -> b t s c", b=batch)
            y = y if sharding is None else sharding.to_frames(y)
            return _add(x, temporal_gate, y)

        def cross_and_mlp(x: Tensor, shift: Tensor, scale: Tensor, gate: Tensor) -> Tensor:
            y = rearrange(x, "b t s c -> b (t s) c")
            x = _add(x, None, self.cross_attention(y, keys_values, bias).view_as(x))
            return _add(x, gate, self.mlp(modulated_norm(x, shift, scale)))

        keys_values = self.cross_attention.read(text)
        tokens = tokens if torch.is_grad_enabled() else tokens.clone()  # from here on written over
        tokens = in_parts(spatial, 1, tokens, shift, scale, gate)
        tokens = in_parts(temporal, 2, tokens) if sharding is None else temporal(tokens)
        return in_parts(cross_and_mlp, 1, tokens, mlp_shift, mlp_scale, mlp_gate)


def _add(x: Tensor, gate: Tensor | None, y: Tensor) -> Tensor:
    """x + gate * y; without gradients x becomes that sum."""
    if torch.is_grad_enabled():
        return x + y if gate is None else torch.addcmul(x, gate, y)
    return x.add_(y) if gate is None else x.addcmul_(gate, y)


def in_parts(branch: Callable[..., Tensor], axis: int, tokens: Tensor, *modulation: Tensor) -> Tensor:
    """branch(tokens, *modulation) for a branch that treats frames (axis 1) or places (axis 2) by themselves.

    Without gradients a few at a time, written over by the branch, so that nothing of the film's size is made on the
    way. Tokens (B, t, S, C); modulation (B, 1 or t, 1, C).
    """
    if torch.is_grad_enabled():
        return branch(tokens, *modulation)
    for part in _parts(axis, tokens, *modulation):
        branch(*part)
    return tokens


def joined_parts(function: Callable[..., Tensor], tokens: Tensor, *modulation: Tensor) -> Tensor:
    """function(tokens, *modulation) of a function that treats frames by themselves, a few at a time as above."""
    if torch.is_grad_enabled():
        return function(tokens, *modulation)
    return torch.cat([function(*part) for part in _parts(1, tokens, *modulation)], 1)


def _parts(axis: int, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Tokens and their modulation, divided as evenly as can be; what is the same for all (size 1) stays."""
    tokens = tensors[0]
    size, per_slice = tokens.shape[axis], tokens.shape[0] * tokens.shape[3 - axis]
    most = cost.TOKENS_AT_ONCE.get(tokens.device.type, cost.MOST_TOKENS_AT_ONCE)
    at_once = -(-size // cost.number_of_parts(size, per_slice, most))
    for start in range(0, size, at_once):
        count = min(at_once, size - start)
        yield tuple(x if x.shape[axis] != size else x.narrow(axis, start, count) for x in tensors)

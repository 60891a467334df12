"""VDiT as a diffusers transformer. Its blocks and attentions carry what diffusers' caches and hooks look for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from diffusers.hooks._helpers import TransformerBlockMetadata, TransformerBlockRegistry
from diffusers.loaders.peft import PeftAdapterMixin
from diffusers.models.attention import AttentionModuleMixin
from diffusers.models.cache_utils import CacheMixin
from diffusers.models.modeling_outputs import Transformer2DModelOutput
from einops import rearrange
from torch import Tensor

from videosyn.core.config import from_dict
from videosyn.core.errors import UserError
from videosyn.diffusers.twin import Twin, takes_fields_of
from videosyn.vdit.attention import CrossAttention, SelfAttention
from videosyn.vdit.block import Block
from videosyn.vdit.config import VDiTConfig
from videosyn.vdit.embeddings import Rope
from videosyn.vdit.model import VDiT


class VDiTSelfAttention(SelfAttention, AttentionModuleMixin):
    """Found by diffusers' hooks as self-attention, over space or time by its name in the block."""

    processor = None  # the attention is torch's own, see `set_attention_backend` below
    is_cross_attention = False
    _supports_qkv_fusion = False  # it has one matrix for all three already


class VDiTCrossAttention(CrossAttention, AttentionModuleMixin):
    """Found by diffusers' hooks as attention to the text."""

    processor = None
    is_cross_attention = True
    _supports_qkv_fusion = False


class VDiTBlock(Block):
    """A block whose argument has the name that diffusers' hooks know, and that can be recomputed in training."""

    gradient_checkpointing = False
    _gradient_checkpointing_func: Callable

    def forward(
        self,
        hidden_states: Tensor,
        modulation: Tensor,
        temporal_modulation: Tensor,
        rope: Rope,
        text: Tensor,
        bias: Tensor,
    ) -> Tensor:
        """As `Block.forward`; hidden_states: tokens (B, t, S, C)."""
        arguments = (hidden_states, modulation, temporal_modulation, rope, text, bias)
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return self._gradient_checkpointing_func(super().forward, *arguments)
        return super().forward(*arguments)


SEEN_AS = {Block: VDiTBlock, SelfAttention: VDiTSelfAttention, CrossAttention: VDiTCrossAttention}
TransformerBlockRegistry.register(VDiTBlock, TransformerBlockMetadata(return_hidden_states_index=0))


class VDiTTransformer3DModel(VDiT, Twin, PeftAdapterMixin, CacheMixin):
    """Noisy latents (B, Z, t, h, w), normalised; their time; a text -> what the scheduler's prediction_type names."""

    core_class = VDiT
    config_class = VDiTConfig
    _supports_gradient_checkpointing = True
    _no_split_modules = ("VDiTBlock",)
    _repeated_blocks = ("VDiTBlock",)
    _skip_layerwise_casting_patterns = ("embedder", "final", "norm")  # whose weights' type tells the computing type

    @takes_fields_of(VDiTConfig)
    def __init__(self, **fields: Any) -> None:
        super().__init__(from_dict(VDiTConfig, fields))
        for module in self.blocks.modules():  # the same modules and parameters, seen as their diffusers classes
            module.__class__ = SEEN_AS.get(type(module), type(module))

    def forward(
        self,
        hidden_states: Tensor,
        timestep: Tensor,
        encoder_hidden_states: Tensor,
        encoder_attention_mask: Tensor | None = None,
        fps: Tensor | None = None,
        height_width: Tensor | None = None,
        return_dict: bool = True,
    ) -> Transformer2DModelOutput | tuple:
        """Latents -> `sample` (B, num_out_channels, t, h, w); with learned variance the first Z are the prediction.

        timestep: (B,), or (B, t) where frames differ, in [0, 1000]. encoder_hidden_states: text (B, L, E), its mask
        (B, L), False where padding, by default all True. fps, height_width: see `VDiT.forward`.
        """
        if encoder_attention_mask is None:
            encoder_attention_mask = encoder_hidden_states.new_ones(encoder_hidden_states.shape[:2])
        mask = encoder_attention_mask.bool()
        sample = super().forward(hidden_states, timestep, encoder_hidden_states, mask, fps, height_width)
        return Transformer2DModelOutput(sample=sample) if return_dict else (sample,)

    def set_attention_backend(self, backend: str) -> None:
        """A UserError: the attention is torch's, and only "native" names it."""
        if backend != "native":
            raise UserError(f"attention here is torch's own, got {backend!r}: use torch.nn.attention.sdpa_kernel")

    def _patchify(self, latents: Tensor) -> Tensor:
        """As the core's, but through the layer itself, so that hooks which bring its weights see the call."""
        return rearrange(self.patch_embedder(latents), "b c t h w -> b t (h w) c")

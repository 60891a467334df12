"""The SD image VAE's weights -> VidVAE's (section 3.1). The 2-D kernel becomes the last time tap, the other taps zero.

So an inflated VidVAE gives for one image, and for every frame of a still video, what the image VAE gives.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from videosyn.core.errors import UserError
from videosyn.vidvae.model import VidVAE

RENAMES = (
    (r"^encoder\.down_blocks\.(\d+)\.resnets\.", r"encoder.scales.\1.blocks."),
    (r"^encoder\.down_blocks\.(\d+)\.downsamplers\.0\.", r"encoder.scales.\1.step."),
    (r"^decoder\.up_blocks\.(\d+)\.resnets\.", r"decoder.scales.\1.blocks."),
    (r"^decoder\.up_blocks\.(\d+)\.upsamplers\.0\.", r"decoder.scales.\1.step."),
    (r"\.mid_block\.resnets\.0\.", ".middle.block1."),
    (r"\.mid_block\.resnets\.1\.", ".middle.block2."),
    (r"\.mid_block\.attentions\.0\.", ".middle.attention."),
    (r"\.attention\.group_norm\.", ".attention.norm."),
    (r"\.attention\.to_out\.0\.", ".attention.to_out."),
    (r"\.attention\.query\.", ".attention.to_q."),
    (r"\.attention\.key\.", ".attention.to_k."),
    (r"\.attention\.value\.", ".attention.to_v."),
    (r"\.attention\.proj_attn\.", ".attention.to_out."),
    (r"\.conv_norm_out\.", ".norm_out."),
    (r"^quant_conv\.", "encoder.quant_conv."),
    (r"^post_quant_conv\.", "decoder.post_quant_conv."),
)
"""Names of diffusers' `AutoencoderKL` (new and old) -> names of VidVAE. What is not here has the same name in both."""


def inflate(image_state: Mapping[str, Tensor], vae: VidVAE) -> dict[str, Tensor]:
    """diffusers' `AutoencoderKL` tensors -> the state of `vae`, every tensor used and every key filled.

    Raises UserError, naming up to five, for tensors that `vae` lacks, keys without a tensor, and other shapes.
    """
    wanted = vae.state_dict()
    state: dict[str, Tensor] = {}
    wrong: list[str] = []
    for name, tensor in image_state.items():
        key = _rename(name)
        inflated = _inflate_tensor(tensor, wanted[key].shape) if key in wanted else None
        if inflated is None:
            wrong.append(name)
        else:
            state[key] = inflated
    wrong += [key for key in wanted if key not in state and key not in map(_rename, wrong)]
    if wrong:
        raise UserError(f"not the image VAE that this config inflates: {', '.join(wrong[:5])} do not fit")
    return state


def _rename(name: str) -> str:
    for pattern, replacement in RENAMES:
        name = re.sub(pattern, replacement, name)
    return name


def _inflate_tensor(tensor: Tensor, shape: torch.Size) -> Tensor | None:
    """The tensor in the wanted shape, or None where it cannot be."""
    if tensor.ndim == 4 and len(shape) == 2:  # a 1x1 convolution that is a linear layer here
        tensor = tensor.flatten(1) if tensor.shape[2:] == (1, 1) else tensor
    if tensor.ndim == 4 and len(shape) == 5:
        inflated = tensor.new_zeros(*tensor.shape[:2], shape[2], *tensor.shape[2:])
        inflated[:, :, -1] = tensor
        tensor = inflated
    return tensor if tensor.shape == shape else None

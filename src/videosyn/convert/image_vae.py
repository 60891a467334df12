"""An image VAE of Stable Diffusion's kind -> VidVAE (section 3.1). What the tensors tell is taken from them.

diffusers' `AutoencoderKL`, and the CompVis original, which numbers the decoder's scales the other way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from videosyn.convert.checkpoint import Checkpoint
from videosyn.core.errors import UserError
from videosyn.core.model_folder import load_strict
from videosyn.vidvae.config import VidVAEConfig
from videosyn.vidvae.inflate import inflate
from videosyn.vidvae.model import VidVAE

SCALING_FACTOR = 0.18215
"""Stable Diffusion's: raw latents times this have a spread of about one."""
PREFIX = "first_stage_model."
"""What the VAE's names begin with in a whole Stable Diffusion checkpoint."""
DROPPED = {"loss": "training's discriminator and perceptual loss", "model_ema": "training's second copy of the VAE"}
"""First parts of the names of tensors that no VAE needs -> what they are."""

_COMPVIS = (
    (r"^encoder\.down\.(\d+)\.block\.", r"encoder.down_blocks.\1.resnets."),
    (r"^encoder\.down\.(\d+)\.downsample\.", r"encoder.down_blocks.\1.downsamplers.0."),
    (r"^decoder\.up\.(\d+)\.block\.", r"decoder.up_blocks.\1.resnets."),
    (r"^decoder\.up\.(\d+)\.upsample\.", r"decoder.up_blocks.\1.upsamplers.0."),
    (r"\.mid\.block_1\.", ".mid_block.resnets.0."),
    (r"\.mid\.block_2\.", ".mid_block.resnets.1."),
    (r"\.mid\.attn_1\.norm\.", ".mid_block.attentions.0.group_norm."),
    (r"\.mid\.attn_1\.q\.", ".mid_block.attentions.0.to_q."),
    (r"\.mid\.attn_1\.k\.", ".mid_block.attentions.0.to_k."),
    (r"\.mid\.attn_1\.v\.", ".mid_block.attentions.0.to_v."),
    (r"\.mid\.attn_1\.proj_out\.", ".mid_block.attentions.0.to_out.0."),
    (r"\.nin_shortcut\.", ".conv_shortcut."),
    (r"^(encoder|decoder)\.norm_out\.", r"\1.conv_norm_out."),
)


def to_vidvae(
    checkpoint: Checkpoint,
    time_halvings: int = 2,
    norm_groups: int | None = None,
    scaling_factor: float | None = None,
) -> VidVAE:
    """The inflated VidVAE. time_halvings 2: 4x8x8; 0: the image VAE itself, frame by frame.

    Raises UserError for tensors that do not fit, names included.
    """
    state = _in_diffusers_names(checkpoint.state)
    found = replace(checkpoint, state=state)
    num_scales = found.count("encoder.down_blocks.{}.")
    if num_scales == 0:
        raise UserError(
            f"{checkpoint.path} is no image VAE of Stable Diffusion's kind: it has no tensor encoder.down_blocks.0 "
            "(a VidVAE needs no conversion)"
        )
    scales = range(num_scales)
    channels = found.width("decoder.conv_in.weight", 1)
    state |= _absent_quant_convolutions(found, channels)
    scaling = found.known("scaling_factor", scaling_factor, SCALING_FACTOR)
    shift = found.config.get("shift_factor") or 0.0
    mean, std = found.config.get("latents_mean"), found.config.get("latents_std")
    if mean is None or std is None:  # one number for all channels
        mean, std = (shift,) * channels if shift else (), (1.0,) * channels
    upwards = [num_scales - 1 - scale for scale in scales]  # the decoder counts from the coarsest
    taps = (1 if time_halvings == 0 else 3,) * num_scales
    config = VidVAEConfig(
        latent_channels=channels,
        encoder_widths=tuple(found.width(f"encoder.down_blocks.{i}.resnets.0.conv1.weight", 0) for i in scales),
        encoder_blocks=tuple(found.count(f"encoder.down_blocks.{i}.resnets.{{}}.") for i in scales),
        decoder_widths=tuple(found.width(f"decoder.up_blocks.{i}.resnets.0.conv1.weight", 0) for i in upwards),
        decoder_blocks=tuple(found.count(f"decoder.up_blocks.{i}.resnets.{{}}.") for i in upwards),
        time_taps=taps,
        second_time_taps=taps,
        time_halvings=time_halvings,
        norm_groups=found.known("norm_num_groups", norm_groups, 32),
        latents_mean=tuple(mean),
        latents_std=tuple(each / scaling for each in std),
    )
    vae = VidVAE(config).to(state["decoder.conv_in.weight"].dtype)
    load_strict(vae, inflate(state, vae), checkpoint.path)
    return vae


def why_dropped(name: str) -> str | None:
    """What a tensor is that is of training alone; None of one that is used."""
    return DROPPED.get(name.split(".")[0])


def _absent_quant_convolutions(found: Checkpoint, channels: int) -> dict[str, Tensor]:
    """The identity for each of the two that the VAE is without (SD 3, FLUX), as its config says; where it has none,
    that is when nothing is there of either. A UserError for a tensor that is missing.
    """
    added: dict[str, Tensor] = {}
    widths = {"quant_conv": 2 * channels, "post_quant_conv": channels}
    names = {layer: [f"{layer}.weight", f"{layer}.bias"] for layer in widths}
    has_any = any(name in found.state for both in names.values() for name in both)
    for layer, width in widths.items():
        missing = [name for name in names[layer] if name not in found.state]
        is_used = found.config.get(f"use_{layer}", True) if found.config else has_any
        if len(missing) == 2 and not is_used:
            added |= {f"{layer}.weight": torch.eye(width)[..., None, None], f"{layer}.bias": torch.zeros(width)}
        elif missing:
            raise UserError(f"{found.path} is incomplete: {' and '.join(missing)} missing, copy the model again")
    return added


def _in_diffusers_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    kept = {name: tensor for name, tensor in state.items() if why_dropped(name) is None}
    if not any("encoder.down.0." in name for name in kept):
        return kept
    renamed: dict[str, Tensor] = {}
    for name, tensor in kept.items():
        for pattern, replacement in _COMPVIS:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    scales = [int(match[1]) for name in renamed if (match := re.match(r"decoder\.up_blocks\.(\d+)\.", name))]
    if not scales:
        raise UserError("the file has an encoder of Stable Diffusion's kind but no decoder")
    turned = max(scales)

    def turn(match: re.Match[str]) -> str:
        return f"decoder.up_blocks.{turned - int(match[1])}."

    return {re.sub(r"^decoder\.up_blocks\.(\d+)\.", turn, name): tensor for name, tensor in renamed.items()}

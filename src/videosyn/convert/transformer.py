"""PixArt-alpha and Open-Sora 1.1's STDiT2 -> VDiT. What the tensors tell is taken from them.

PixArt has no temporal attention: that part is new, and silent until it is trained, so that a VDiT of one frame is
PixArt. Open-Sora's file fills every tensor.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from videosyn.convert.checkpoint import Checkpoint, renamed
from videosyn.core.errors import UserError
from videosyn.core.model_folder import load_strict
from videosyn.vdit.config import VDiTConfig
from videosyn.vdit.model import VDiT

NUM_HEADS = 16
BASE_SIZE_PX = 512
"""Published defaults, where neither file nor flag says otherwise."""
PREFIX = "model."
"""What an STDiT2's names may begin with, where its inputs and outputs lie beside it."""
DROPPED = ("pos_embed", "pos_embed_temporal", "pos_embed.pos_embed")
TABLES = "tables of positions, which are computed"
"""What those are that are dropped."""

ORIGINAL = (
    ("embedder.mlp.0", "embedder.fc1"),
    ("embedder.mlp.2", "embedder.fc2"),
    ("x_embedder.proj", "patch_embedder"),
    ("t_embedder", "time_embedder"),
    ("csize_embedder", "size_embedder"),
    ("ar_embedder", "aspect_embedder"),
    ("fl_embedder", "frame_count_embedder"),
    ("t_block_temp.1", "temporal_modulation"),
    ("t_block.1", "modulation"),
    ("y_embedder.y_proj", "caption_projection"),
    ("y_embedder.y_embedding", "null_text"),
    ("rope.freqs", "rope_frequencies"),
    ("final_layer.scale_shift_table", "final_table"),
    ("final_layer.linear", "final"),
    ("scale_shift_table_temporal", "temporal_table"),
    ("scale_shift_table", "table"),
    ("attn_temp", "temporal_attention"),
    ("cross_attn.q_linear", "cross_attention.q"),
    ("cross_attn.kv_linear", "cross_attention.kv"),
    ("cross_attn", "cross_attention"),
    (".attn.", ".spatial_attention."),
)
"""Parts of names in PixArt's .pth and in STDiT2 -> in VDiT, replaced in this order."""

DIFFUSERS = (
    ("pos_embed.proj", "patch_embedder"),
    ("adaln_single.emb.timestep_embedder.linear_", "time_embedder.fc"),
    ("adaln_single.emb.resolution_embedder.linear_", "size_embedder.fc"),
    ("adaln_single.emb.aspect_ratio_embedder.linear_", "aspect_embedder.fc"),
    ("adaln_single.linear", "modulation"),
    ("caption_projection.linear_", "caption_projection.fc"),
    ("transformer_blocks", "blocks"),
    ("attn1.to_out.0", "spatial_attention.proj"),
    ("attn2.to_out.0", "cross_attention.proj"),
    ("attn2.to_q", "cross_attention.q"),
    ("attn1.to_qkv", "spatial_attention.qkv"),
    ("attn2.to_kv", "cross_attention.kv"),
    ("ff.net.0.proj", "mlp.fc1"),
    ("ff.net.2", "mlp.fc2"),
    ("proj_out", "final"),
    ("scale_shift_table", "table"),
)
"""The same for diffusers' `PixArtTransformer2DModel`, whose queries, keys and values are joined first."""


def pixart_to_vdit(checkpoint: Checkpoint, num_heads: int | None = None, base_size_px: int | None = None) -> VDiT:
    """The spatial part is PixArt's, from a diffusers folder or the original .pth; the temporal part is new and silent.

    Raises UserError for tensors that do not fit.
    """
    if any(name.startswith("transformer_blocks.") for name in checkpoint.state):
        joined = replace(checkpoint, state=_joined(checkpoint.state))
        state = renamed(joined, partial(_renamed, names=DIFFUSERS))
        if "table" in state:
            state["final_table"] = state.pop("table")
        heads = checkpoint.known("num_attention_heads", num_heads, NUM_HEADS)
    else:
        state = renamed(_kept(checkpoint), partial(_renamed, names=ORIGINAL))
        heads = checkpoint.known("num_heads", num_heads, NUM_HEADS)
    told, size = {}, checkpoint.config.get("sample_size")
    if size:
        told["base_size"] = int(size * 8 // (checkpoint.config.get("interpolation_scale") or max(size // 64, 1)))
    base = replace(checkpoint, config=told).known("base_size", base_size_px, BASE_SIZE_PX)
    if "patch_embedder.weight" in state and state["patch_embedder.weight"].ndim == 4:
        state["patch_embedder.weight"] = state["patch_embedder.weight"].unsqueeze(2)
    config = _config(checkpoint, state, heads, base, time_factor=4, temporal=False)
    with torch.random.fork_rng():
        torch.manual_seed(0)  # the same file gives the same model
        vdit = VDiT(config)
    fresh = {name: value for name, value in vdit.state_dict().items() if _is_temporal(name)}
    vdit = vdit.to(state["final.weight"].dtype)
    load_strict(vdit, {**fresh, **state}, checkpoint.path)
    return vdit


def stdit2_to_vdit(checkpoint: Checkpoint, num_heads: int | None = None, base_size_px: int | None = None) -> VDiT:
    """Open-Sora 1.1's, which computes as its authors' code does (`legacy_stdit2`), latents frame by frame.

    Raises UserError for tensors that do not fit.
    """
    state = renamed(_kept(checkpoint), partial(_renamed, names=ORIGINAL))
    frequencies = state.get("rope_frequencies")
    if frequencies is None:
        raise UserError(f"{checkpoint.path} is no STDiT2: it has no tensor rope.freqs")
    width = checkpoint_width(checkpoint, state, "final_table", 1)
    told = width // (2 * len(frequencies))  # one frequency for two numbers of a head
    base_size_px = int(checkpoint.known("input_sq_size", base_size_px, BASE_SIZE_PX))
    if num_heads is not None and num_heads != told:
        raise UserError(f"{checkpoint.path} has {told} heads, by its rotary frequencies, got {num_heads}: leave it out")
    config = _config(checkpoint, state, told, base_size_px, time_factor=1, temporal=True)
    vdit = VDiT(config)
    vdit = vdit.to(state["final.weight"].dtype)
    load_strict(vdit, state, checkpoint.path)
    return vdit


def checkpoint_width(checkpoint: Checkpoint, state: Mapping[str, Tensor], name: str, axis: int) -> int:
    """The size of an axis of a tensor that bears our name already. A UserError where there is none."""
    return Checkpoint(checkpoint.path, state).width(name, axis)


def _config(
    checkpoint: Checkpoint,
    state: Mapping[str, Tensor],
    num_heads: int,
    base_size_px: int,
    time_factor: int,
    temporal: bool,
) -> VDiTConfig:
    """Everything that shapes tell. `state` bears our names; `temporal`: whether it has that part."""

    def size(name: str, axis: int) -> int:
        return checkpoint_width(checkpoint, state, name, axis)

    width, channels, patch = (size("patch_embedder.weight", axis) for axis in (0, 1, 3))
    normed = "blocks.0.spatial_attention.q_norm.weight" in state
    return VDiTConfig(
        latent_channels=channels,
        out_channels=size("final.weight", 0) // patch**2,
        text_width=size("caption_projection.fc1.weight", 1),
        width=width,
        depth=Checkpoint(checkpoint.path, state).count("blocks.{}."),
        num_heads=num_heads,
        patch_size=patch,
        mlp_ratio=size("blocks.0.mlp.fc1.weight", 0) // width,
        qk_norm="rms" if normed else "none",
        frame_count_conditioning=not temporal or "frame_count_embedder.fc1.weight" in state,
        fps_conditioning=not temporal or "fps_embedder.fc1.weight" in state,
        size_conditioning="size_embedder.fc1.weight" in state,
        null_text_tokens=state["null_text"].shape[0] if "null_text" in state else 0,
        legacy_stdit2=temporal,
        time_factor=time_factor,
        base_size_px=base_size_px,
    )


def why_dropped(name: str) -> str | None:
    """What a tensor is that is computed and not read; None of one that is used."""
    return TABLES if name in DROPPED else None


def _kept(checkpoint: Checkpoint) -> Checkpoint:
    """Without what is dropped."""
    kept = {name: value for name, value in checkpoint.state.items() if why_dropped(name) is None}
    return replace(checkpoint, state=kept)


def _is_temporal(name: str) -> bool:
    return "temporal" in name or name.startswith(("rope_frequencies", "frame_count_embedder", "fps_embedder"))


def _renamed(name: str, names: tuple[tuple[str, str], ...]) -> str:
    for theirs, ours in names:
        name = name.replace(theirs, ours)
    return name


def _joined(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Separate projections of queries, keys and values -> one, as VDiT has them."""
    joined: dict[str, Tensor] = {}
    for name, value in state.items():
        match = re.search(r"attn1\.to_([qkv])\.|attn2\.to_([kv])\.", name)
        if match is None:
            if why_dropped(name) is None:
                joined[name] = value
            continue
        letters = "qkv" if match[1] else "kv"
        if (match[1] or match[2]) == letters[0]:
            parts = [name.replace(match[0], f"{match[0][:9]}{letter}.") for letter in letters]
            if any(part not in state for part in parts):
                raise UserError(f"{name} has no companion for all of {', '.join(letters)}")
            joined[name.replace(match[0], f"{match[0][:9]}{letters}.")] = torch.cat([state[part] for part in parts])
    return joined

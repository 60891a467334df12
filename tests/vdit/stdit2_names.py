"""The names that STDiT2's authors gave its tensors, written out and not from `ORIGINAL`: each tests the other."""

import re

_THEIRS = (
    (r"embedder\.fc1\.", "embedder.mlp.0."),
    (r"embedder\.fc2\.", "embedder.mlp.2."),
    (r"^patch_embedder\.", "x_embedder.proj."),
    (r"^time_embedder\.", "t_embedder."),
    (r"^size_embedder\.", "csize_embedder."),
    (r"^aspect_embedder\.", "ar_embedder."),
    (r"^frame_count_embedder\.", "fl_embedder."),
    (r"^temporal_modulation\.", "t_block_temp.1."),
    (r"^modulation\.", "t_block.1."),
    (r"^caption_projection\.", "y_embedder.y_proj."),
    (r"^null_text$", "y_embedder.y_embedding"),
    (r"^rope_frequencies$", "rope.freqs"),
    (r"^final_table$", "final_layer.scale_shift_table"),
    (r"^final\.", "final_layer.linear."),
    (r"\.temporal_table$", ".scale_shift_table_temporal"),
    (r"\.table$", ".scale_shift_table"),
    (r"\.temporal_attention\.", ".attn_temp."),
    (r"\.cross_attention\.(q|kv)\.", r".cross_attn.\1_linear."),
    (r"\.cross_attention\.", ".cross_attn."),
    (r"\.spatial_attention\.", ".attn."),
)

_LINEAR = ("bias", "weight")
_ATTENTION = ("k_norm.weight", "proj.bias", "proj.weight", "q_norm.weight", "qkv.bias", "qkv.weight")
_CROSS = ("kv_linear.bias", "kv_linear.weight", "proj.bias", "proj.weight", "q_linear.bias", "q_linear.weight")
_MLP = ("fc1.bias", "fc1.weight", "fc2.bias", "fc2.weight")
_EMBEDDERS = ("t_embedder", "csize_embedder", "ar_embedder", "fl_embedder", "fps_embedder")

OUTSIDE_BLOCKS = (
    *(f"x_embedder.proj.{kind}" for kind in _LINEAR),
    *(f"{name}.mlp.{layer}.{kind}" for name in _EMBEDDERS for layer in (0, 2) for kind in _LINEAR),
    *(f"t_block.1.{kind}" for kind in _LINEAR),
    *(f"t_block_temp.1.{kind}" for kind in _LINEAR),
    "y_embedder.y_embedding",
    *(f"y_embedder.y_proj.{part}" for part in _MLP),
    "rope.freqs",
    "final_layer.scale_shift_table",
    *(f"final_layer.linear.{kind}" for kind in _LINEAR),
)
IN_A_BLOCK = (
    "scale_shift_table",
    "scale_shift_table_temporal",
    *(f"attn.{part}" for part in _ATTENTION),
    *(f"attn_temp.{part}" for part in _ATTENTION),
    *(f"cross_attn.{part}" for part in _CROSS),
    *(f"mlp.{part}" for part in _MLP),
)


def their_name(key: str) -> str:
    """A VDiT's name of a tensor -> STDiT2's."""
    for ours, theirs in _THEIRS:
        key = re.sub(ours, theirs, key)
    return key


def their_names(depth: int) -> set[str]:
    """Every tensor of an STDiT2 of so many blocks."""
    return {*OUTSIDE_BLOCKS, *(f"blocks.{index}.{part}" for index in range(depth) for part in IN_A_BLOCK)}

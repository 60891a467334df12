"""Open-Sora 1.1's STDiT2, reproduced with `legacy_stdit2`.

golden/stdit2_tiny.safetensors holds a tiny random STDiT2 under STDiT2's own names (fp16, exact in fp32), its inputs and
its outputs, plain and with a given first frame. It was written by `write_golden` below, at a time when the same code
reproduced a model and outputs of the original implementation to 1e-6 in fp32.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from stdit2_names import their_name, their_names

from videosyn.convert.transformer import ORIGINAL
from videosyn.core.model_folder import load_strict
from videosyn.vdit.config import VDiTConfig
from videosyn.vdit.model import VDiT

GOLDEN = Path(__file__).parent / "golden" / "stdit2_tiny.safetensors"
CONFIG = VDiTConfig(
    latent_channels=4,
    out_channels=8,
    text_width=16,
    width=24,
    depth=2,
    num_heads=2,
    frame_count_conditioning=True,
    fps_conditioning=True,
    size_conditioning=True,
    legacy_stdit2=True,
    null_text_tokens=6,
    base_size_px=8,
)

REAL = {
    "x_embedder.proj.weight": "patch_embedder.weight",
    "t_embedder.mlp.0.weight": "time_embedder.fc1.weight",
    "csize_embedder.mlp.2.bias": "size_embedder.fc2.bias",
    "ar_embedder.mlp.0.bias": "aspect_embedder.fc1.bias",
    "fl_embedder.mlp.2.weight": "frame_count_embedder.fc2.weight",
    "fps_embedder.mlp.0.weight": "fps_embedder.fc1.weight",
    "t_block.1.weight": "modulation.weight",
    "t_block_temp.1.weight": "temporal_modulation.weight",
    "y_embedder.y_proj.fc1.weight": "caption_projection.fc1.weight",
    "y_embedder.y_embedding": "null_text",
    "rope.freqs": "rope_frequencies",
    "final_layer.scale_shift_table": "final_table",
    "final_layer.linear.weight": "final.weight",
    "blocks.1.scale_shift_table": "blocks.1.table",
    "blocks.1.scale_shift_table_temporal": "blocks.1.temporal_table",
    "blocks.1.attn.q_norm.weight": "blocks.1.spatial_attention.q_norm.weight",
    "blocks.1.attn_temp.qkv.weight": "blocks.1.temporal_attention.qkv.weight",
    "blocks.1.cross_attn.q_linear.weight": "blocks.1.cross_attention.q.weight",
    "blocks.1.cross_attn.kv_linear.bias": "blocks.1.cross_attention.kv.bias",
    "blocks.1.cross_attn.proj.weight": "blocks.1.cross_attention.proj.weight",
    "blocks.1.mlp.fc2.weight": "blocks.1.mlp.fc2.weight",
}
"""Names as published files have them -> a VDiT's, written out."""


def our_name(key: str) -> str:
    for theirs, ours in ORIGINAL:
        key = key.replace(theirs, ours)
    return key


def run(model: VDiT, tensors: dict[str, torch.Tensor], given: torch.Tensor | None) -> torch.Tensor:
    timestep = tensors["timestep"]
    if given is not None:
        timestep = timestep[:, None].masked_fill(given, 0)
    with torch.no_grad():
        return model(tensors["x"], timestep, tensors["y"], tensors["mask"].bool(), fps=tensors["fps"])


def test_legacy_vdit_reproduces_stdit2():
    tensors = load_file(GOLDEN)
    model = VDiT(CONFIG)
    state = {our_name(key[6:]): value.float() for key, value in tensors.items() if key.startswith("model.")}
    load_strict(model, state, GOLDEN)
    torch.testing.assert_close(run(model, tensors, None), tensors["output"], rtol=0, atol=1e-4)
    given = tensors["given"].bool()
    torch.testing.assert_close(run(model, tensors, given), tensors["output_given"], rtol=0, atol=1e-4)


def test_an_stdit2_has_names_for_all_that_a_vdit_has():
    keys = list(VDiT(CONFIG).state_dict())
    assert [our_name(their_name(key)) for key in keys] == keys
    assert sorted(map(their_name, keys)) == sorted(their_names(CONFIG.depth))


def test_the_golden_and_the_names_are_those_that_stdit2s_authors_gave():
    golden = {key.removeprefix("model.") for key in load_file(GOLDEN) if key.startswith("model.")}
    assert golden == their_names(CONFIG.depth)
    assert [our_name(key) for key in REAL] == list(REAL.values())
    assert [their_name(key) for key in REAL.values()] == list(REAL)


def write_golden() -> None:
    torch.manual_seed(0)
    model = VDiT(CONFIG)
    with torch.no_grad():
        for value in model.state_dict().values():
            value.add_(0.2 * torch.randn_like(value)).copy_(value.half())
    tensors = {
        "x": torch.randn(2, 4, 5, 4, 6),
        "timestep": torch.tensor([37.0, 801.0]),
        "y": torch.randn(2, 6, 16),
        "mask": torch.tensor([[1] * 4 + [0] * 2, [1] * 6]),
        "fps": torch.tensor([24.0, 8.0]),
        "given": torch.tensor([[1, 0, 0, 0, 0], [1, 1, 0, 0, 0]]),
    }
    outputs = {"output": run(model, tensors, None), "output_given": run(model, tensors, tensors["given"].bool())}
    weights = {f"model.{their_name(key)}": value.half() for key, value in model.state_dict().items()}
    GOLDEN.parent.mkdir(exist_ok=True)
    save_file({**weights, **tensors, **outputs}, GOLDEN)


if __name__ == "__main__":
    write_golden()

"""With a silent temporal attention and one frame, VDiT is PixArt-alpha (checkpoints: spatial part)."""

import pytest
import torch

from videosyn.core.model_folder import load_strict
from videosyn.vdit.config import VDiTConfig
from videosyn.vdit.model import VDiT

NAMES = {
    "pos_embed.proj": "patch_embedder",
    "adaln_single.emb.timestep_embedder.linear_": "time_embedder.fc",
    "adaln_single.emb.resolution_embedder.linear_": "size_embedder.fc",
    "adaln_single.emb.aspect_ratio_embedder.linear_": "aspect_embedder.fc",
    "adaln_single.linear": "modulation",
    "caption_projection.linear_": "caption_projection.fc",
    "transformer_blocks": "blocks",
    "attn1.to_out.0": "spatial_attention.proj",
    "attn2.to_out.0": "cross_attention.proj",
    "attn2.to_q": "cross_attention.q",
    "ff.net.0.proj": "mlp.fc1",
    "ff.net.2": "mlp.fc2",
    "proj_out": "final",
}


def from_pixart(theirs: dict[str, torch.Tensor], fresh: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Their state, under our names, over `fresh`, which provides the temporal part."""
    ours = {key: value for key, value in fresh.items() if "temporal" in key or key == "rope_frequencies"}
    for key, value in theirs.items():
        if "attn1.to_q" in key or "attn2.to_k" in key:
            parts = ("to_q", "to_k", "to_v") if "attn1" in key else ("to_k", "to_v")
            value = torch.cat([theirs[key.replace(parts[0], part)] for part in parts])
            key = key.replace("attn1.to_q", "spatial_attention.qkv").replace("attn2.to_k", "cross_attention.kv")
        elif "attn1.to_k" in key or "attn1.to_v" in key or "attn2.to_v" in key:
            continue
        for old, new in NAMES.items():
            key = key.replace(old, new)
        key = "final_table" if key == "scale_shift_table" else key.replace("scale_shift_table", "table")
        ours[key] = value.unsqueeze(2) if key == "patch_embedder.weight" else value
    return ours


@pytest.mark.parametrize("with_size", [False, True])
@torch.no_grad()
def test_one_frame_equals_pixart(with_size):
    from diffusers import PixArtTransformer2DModel

    torch.manual_seed(0)
    theirs = PixArtTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=4,
        out_channels=8,
        num_layers=2,
        cross_attention_dim=24,
        sample_size=16,
        caption_channels=16,
        use_additional_conditions=with_size,
    ).eval()
    for parameter in theirs.parameters():
        parameter.add_(0.2 * torch.randn_like(parameter))
    config = VDiTConfig(
        latent_channels=4,
        out_channels=8,
        text_width=16,
        width=24,
        depth=2,
        num_heads=2,
        qk_norm="none",
        size_conditioning=with_size,
        base_size_px=128,
    )
    ours = VDiT(config)
    fresh = {key: value + 0.2 if "proj" not in key else value for key, value in ours.state_dict().items()}
    load_strict(ours, from_pixart(theirs.state_dict(), fresh), "PixArt")

    image, times = torch.randn(2, 4, 16, 16), torch.tensor([20, 900])
    text = torch.randn(2, 6, 16)
    mask = torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
    size = {"resolution": torch.tensor([[128.0, 128.0]] * 2), "aspect_ratio": torch.ones(2, 1)}
    expected = theirs(
        image,
        encoder_hidden_states=text,
        timestep=times,
        encoder_attention_mask=mask,
        added_cond_kwargs=size if with_size else {"resolution": None, "aspect_ratio": None},
    ).sample
    out = ours(image[:, :, None], times, text, mask)[:, :, 0]
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-4)
    assert expected.std() > 0.1

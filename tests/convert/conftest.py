"""Small published models: an image VAE, PixArt, a T5, as their own libraries save them, all with random weights."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "vdit"))  # so that tests find stdit2_names.py


@pytest.fixture(scope="session")
def image_vae():
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    return AutoencoderKL(
        block_out_channels=(8, 16, 16, 24),  # pyright: ignore[reportArgumentType]
        down_block_types=("DownEncoderBlock2D",) * 4,  # pyright: ignore[reportArgumentType]
        up_block_types=("UpDecoderBlock2D",) * 4,  # pyright: ignore[reportArgumentType]
        layers_per_block=2,
        norm_num_groups=4,
        latent_channels=4,
        scaling_factor=0.2,
    ).eval()


@pytest.fixture(scope="session")
def image_vae_folder(image_vae, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("image_vae")
    image_vae.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def make_pixart():
    def make(with_size: bool = False):
        from diffusers import PixArtTransformer2DModel

        torch.manual_seed(0)
        model = PixArtTransformer2DModel(
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
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
        return model

    return make


@pytest.fixture(scope="session")
def t5_folder(save_t5, tmp_path_factory) -> Path:
    return save_t5(tmp_path_factory.mktemp("t5"))

"""Inflated weights do for one image what diffusers' image VAE does."""

import pytest
import torch

from videosyn.core.errors import UserError
from videosyn.vidvae.config import VidVAEConfig
from videosyn.vidvae.inflate import inflate
from videosyn.vidvae.model import VidVAE

WIDTHS = (8, 16, 16, 24)
CONFIG = VidVAEConfig(encoder_widths=WIDTHS, decoder_widths=WIDTHS, norm_groups=4)


@pytest.fixture(scope="module")
def image_vae():
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    torch.manual_seed(0)
    return AutoencoderKL(
        block_out_channels=WIDTHS,  # pyright: ignore[reportArgumentType]
        down_block_types=("DownEncoderBlock2D",) * 4,  # pyright: ignore[reportArgumentType]
        up_block_types=("UpDecoderBlock2D",) * 4,  # pyright: ignore[reportArgumentType]
        layers_per_block=2,
        norm_num_groups=4,
        latent_channels=4,
    ).eval()


@pytest.fixture(scope="module")
def vae(image_vae):
    vae = VidVAE(CONFIG).eval()
    vae.load_state_dict(inflate(image_vae.state_dict(), vae))
    return vae


@torch.inference_mode()
def test_one_image_is_treated_as_the_image_vae_treats_it(image_vae, vae):
    image = torch.rand(2, 3, 32, 40) * 2 - 1
    expected = image_vae.encode(image).latent_dist
    posterior = vae.posterior(image.unsqueeze(2))
    torch.testing.assert_close(posterior.mean.squeeze(2), expected.mean, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(posterior.logvar.squeeze(2), expected.logvar, atol=1e-5, rtol=1e-4)
    decoded = vae.decode_raw(posterior.mode()).squeeze(2)
    torch.testing.assert_close(decoded, image_vae.decode(expected.mean).sample, atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_every_frame_of_a_still_video_is_treated_as_that_image(image_vae, vae):
    image = torch.rand(1, 3, 32, 32) * 2 - 1
    still = image.unsqueeze(2).expand(-1, -1, 9, -1, -1)
    mean = image_vae.encode(image).latent_dist.mean
    raw = vae.posterior(still).mode()
    torch.testing.assert_close(raw, mean.unsqueeze(2).expand_as(raw), atol=1e-5, rtol=1e-4)
    expected = image_vae.decode(mean).sample.unsqueeze(2).expand_as(still)
    torch.testing.assert_close(vae.decode_raw(raw), expected, atol=1e-5, rtol=1e-4)


def test_old_attention_names_as_1x1_convolutions_are_taken(image_vae, vae):
    new_to_old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    old = {}
    for name, tensor in image_vae.state_dict().items():
        for new, past in new_to_old.items():
            if f".{new}." in name:
                name, tensor = name.replace(new, past), tensor[..., None, None] if tensor.ndim == 2 else tensor
        old[name] = tensor
    state = inflate(old, vae)
    assert all(torch.equal(state[key], tensor) for key, tensor in vae.state_dict().items())


def test_a_missing_a_foreign_and_a_misshapen_tensor_are_refused(image_vae, vae):
    state = image_vae.state_dict()
    key = "encoder.conv_in.weight"
    with pytest.raises(UserError, match=key):
        inflate({name: tensor for name, tensor in state.items() if name != key}, vae)
    with pytest.raises(UserError, match="foreign"):
        inflate({**state, "foreign": torch.zeros(1)}, vae)
    with pytest.raises(UserError, match=key):
        inflate({**state, key: torch.zeros(8, 4, 3, 3)}, vae)

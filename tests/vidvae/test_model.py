"""What every VidVAE promises, whatever its config."""

from dataclasses import replace

import pytest
import torch

from videosyn.core.errors import UserError
from videosyn.vidvae.blocks import ResBlock
from videosyn.vidvae.model import VidVAE
from videosyn.vidvae.presets import NANO, TINY, XL

pytestmark = pytest.mark.usefixtures("no_gradients")


@pytest.fixture
def no_gradients():
    with torch.inference_mode():
        yield


@pytest.mark.parametrize("num_frames", [1, 5, 17, 33])
@pytest.mark.parametrize("size", [(16, 16), (8, 24), (32, 16)])
def test_a_video_of_any_shape_comes_back_in_its_shape(vae, make_video, num_frames, size):
    factor = vae.space_factor
    height, width = (side // 8 * factor for side in size)
    video = make_video(num_frames, height, width)
    latents = vae.encode(video)
    grid = (1 + (num_frames - 1) // 4, height // factor, width // factor)
    assert latents.shape == (1, vae.config.latent_channels, *grid)
    assert vae.decode(latents).shape == video.shape


def test_the_factors_are_4_in_time_and_8_in_space():
    assert [(config.time_factor, config.space_factor) for config in (NANO, TINY, XL)] == [(4, 8)] * 3


@pytest.mark.parametrize("num_past", [1, 5, 9])
def test_future_frames_do_not_change_past_latents(vae, make_video, num_past):
    video = make_video(17)
    changed = video.clone()
    changed[:, :, num_past:] = -changed[:, :, num_past:]
    num_latents = 1 + (num_past - 1) // 4
    before, after = vae.posterior(video), vae.posterior(changed)
    for name in ("mean", "logvar"):
        old, new = getattr(before, name), getattr(after, name)
        torch.testing.assert_close(new[:, :, :num_latents], old[:, :, :num_latents], atol=1e-6, rtol=0)
        assert (new[:, :, num_latents:] - old[:, :, num_latents:]).abs().amax(dim=(0, 1, 3, 4)).min() > 1e-4


@pytest.mark.parametrize("num_past", [1, 2, 4])
def test_future_latents_do_not_change_past_frames(vae, make_video, num_past):
    latents = vae.encode(make_video(17))
    changed = latents.clone()
    changed[:, :, num_past:] += 1
    num_frames = 1 + 4 * (num_past - 1)
    before, after = vae.decode(latents), vae.decode(changed)
    torch.testing.assert_close(after[:, :, :num_frames], before[:, :, :num_frames], atol=1e-6, rtol=0)
    assert (after[:, :, num_frames:] - before[:, :, num_frames:]).abs().amax(dim=(0, 1, 3, 4)).min() > 1e-4


def test_an_image_is_the_first_frame_of_any_video_that_it_begins(vae, make_video):
    video = make_video(9)
    alone = vae.encode(video[:, :, :1])
    torch.testing.assert_close(alone, vae.encode(video)[:, :, :1], atol=1e-6, rtol=0)


def test_clips_of_a_batch_do_not_meet(vae, make_video):
    video = make_video(5, batch=2)
    torch.testing.assert_close(vae.encode(video)[1:], vae.encode(video[1:]), atol=1e-5, rtol=1e-5)


def test_encode_gives_the_mode_or_a_repeatable_sample(vae, make_video):
    video = make_video(5)
    posterior = vae.posterior(video)
    assert torch.equal(vae.encode(video), posterior.mode())
    samples = [vae.encode(video, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(samples[0], samples[1])
    assert not torch.equal(samples[0], samples[2])


def test_samples_have_the_posterior_s_spread_and_a_unit_gaussian_no_kl(vae, make_video):
    posterior = vae.posterior(make_video(5))
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack([posterior.sample(generator) for _ in range(400)])
    ratio = draws.std(0) / torch.exp(0.5 * posterior.logvar)
    assert abs(ratio.mean().item() - 1) < 0.02
    zeros = torch.zeros_like(posterior.mean)
    assert replace(posterior, mean=zeros, logvar=zeros).kl() == 0 < posterior.kl()


def test_latents_are_normalised_per_channel_and_decode_undoes_it(make_video):
    plain = VidVAE(TINY).eval()
    statistics = {"latents_mean": (0.5, -1.0, 0.0, 2.0), "latents_std": (1.0, 2.0, 0.5, 4.0)}
    normalised = VidVAE(replace(TINY, **statistics)).eval()
    normalised.load_state_dict(plain.state_dict())
    video = make_video(5)
    raw, latents = plain.encode(video), normalised.encode(video)
    mean, std = (torch.tensor(values).view(1, 4, 1, 1, 1) for values in statistics.values())
    torch.testing.assert_close(latents, (raw - mean) / std)
    torch.testing.assert_close(normalised.decode(latents), plain.decode(raw), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("num_frames", [0, 2, 4, 16])
def test_frames_that_are_not_1_plus_4k_are_refused(vae, num_frames):
    with pytest.raises(UserError, match="1 \\+ 4k"):
        vae.encode(torch.zeros(1, 3, num_frames, 16, 16))


def test_sizes_and_channels_that_do_not_fit_are_refused(vae):
    with pytest.raises(UserError, match="width must be a multiple of 8, got 20: use 16 or 24"):
        vae.encode(torch.zeros(1, 3, 5, 16, 20))
    with pytest.raises(UserError, match="a video must be"):
        vae.encode(torch.zeros(1, 1, 5, 16, 16))
    with pytest.raises(UserError, match="latents must be"):
        vae.decode(torch.zeros(1, 7, 2, 2, 2))


def test_bf16_runs_and_stays_close(vae, make_video):
    video = make_video(5)
    raw = vae.posterior(video).mean
    half = VidVAE(vae.config).eval()
    half.load_state_dict(vae.state_dict())
    half.to(torch.bfloat16)
    assert half.encode(video.bfloat16()).dtype == torch.bfloat16
    assert (half.posterior(video.bfloat16()).mean.float() - raw).abs().mean() < 0.05 * raw.std() + 0.02


def test_zero_residuals_begin_as_the_shortcuts_alone():
    config = replace(TINY, zero_residuals=True)
    x = torch.randn(1, 16, 3, 4, 4)
    block = ResBlock(config, 16, 16, scale=1)
    assert torch.equal(block(x), x)


def test_the_finest_scale_in_parts_gives_what_it_gives_at_once(vae, make_video, monkeypatch):
    latents = vae.encode(make_video(13))
    at_once = vae.decode_raw(latents)
    monkeypatch.setattr("videosyn.vidvae.cost.FINEST_BYTES", {"cpu": 1})
    calls = []
    hook = vae.decoder.scales[-1].register_forward_hook(lambda module, given, out: calls.append(out.shape[2]))
    in_parts = vae.decode_raw(latents)
    hook.remove()
    assert calls == [1, 2, 2, 2, 2, 2, 2]
    torch.testing.assert_close(in_parts, at_once, atol=1e-5, rtol=0)

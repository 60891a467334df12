import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from videosyn.evaluation.metrics import edges, mean_psnr, psnr, ssim, stars
from videosyn.world.render import render
from videosyn.world.scene import Scene, Thing


@pytest.fixture(scope="module")
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    video = torch.rand(2, 3, 2, 24, 32, generator=generator) * 2 - 1
    return video, (video + 0.2 * torch.randn(video.shape, generator=generator)).clamp(-1, 1)


def test_psnr_is_that_of_scikit_image(pair):
    one, other = pair
    for index in range(2):
        theirs = peak_signal_noise_ratio(one[index].numpy(), other[index].numpy(), data_range=2.0)
        assert float(psnr(other, one)[index]) == pytest.approx(theirs, abs=1e-4)


def test_ssim_is_that_of_scikit_image_with_a_gaussian_window(pair):
    one, other = ((video + 1) / 2 for video in pair)
    for index in range(2):
        theirs = [
            structural_similarity(
                a.numpy(), b.numpy(), data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
            )
            for a, b in zip(one[index].flatten(0, 1), other[index].flatten(0, 1), strict=True)
        ]
        assert float(ssim(*pair)[index]) == pytest.approx(np.mean(theirs), abs=1e-4)


def test_pooled_psnr_over_a_mask_sees_only_its_pixels():
    video = torch.zeros(1, 3, 1, 4, 4)
    other = video.clone()
    other[..., 0, 0] = 0.2
    where = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    assert np.isnan(mean_psnr(other, video, where))
    where[..., 0, 0] = True
    assert mean_psnr(other, video, where) == pytest.approx(20.0)  # 10 log10(4 / 0.2^2)
    assert mean_psnr(other, video) == pytest.approx(20.0 + 10 * np.log10(16))


def test_stars_are_found_in_the_night_sky_and_none_at_noon():
    ball = Thing("ball", "red", "rests", 0.0, 1.2, 6.0, 0.0)
    counts = {}
    for light in ("night", "noon"):
        scene = Scene((ball,), "sea", light, "still", "plain", None, 0.32, 0.6, 0.3, 0)
        video = render([scene], 1, 96, 96).permute(0, 4, 1, 2, 3).float() / 127.5 - 1
        counts[light] = int(stars(video)[0, 0, :30].sum())
        assert edges(video).any()
    assert counts["night"] > 60
    assert counts["noon"] < counts["night"] / 6

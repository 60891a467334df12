"""LPIPS and the Frechet distance: with random weights, against formulas written another way."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from scipy.linalg import sqrtm

from videosyn.core.errors import UserError
from videosyn.evaluation.frechet import Crowd, VideoFeatures, frechet
from videosyn.evaluation.perceptual import Lpips

ALEX = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)}
VGG = [(0, 3, 64), (2, 64, 64), (5, 64, 128), (7, 128, 128), (10, 128, 256), (12, 256, 256), (14, 256, 256)]
VGG += [(17, 256, 512), *((number, 512, 512) for number in (19, 21, 24, 26, 28))]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """name -> (backbone file, heads file)"""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("lpips")
    nets = {
        "alex": {n: (o, i, k) for n, (o, i, k) in ALEX.items()},
        "vgg": {n: (o, i, 3) for n, i, o in VGG},
    }
    widths = {"alex": (64, 192, 384, 256, 256), "vgg": (64, 128, 256, 512, 512)}
    for name, shapes in nets.items():
        state = {"classifier.1.weight": torch.zeros(2, 2)}
        for number, (wide, deep, side) in shapes.items():
            state[f"features.{number}.weight"] = torch.randn(wide, deep, side, side) * (2 / (deep * side**2)) ** 0.5
            state[f"features.{number}.bias"] = torch.randn(wide) * 0.1
        save_file(state, folder / f"{name}.safetensors")
        heads = {f"lin{place}.model.1.weight": torch.rand(1, width, 1, 1) for place, width in enumerate(widths[name])}
        torch.save(heads, folder / f"{name}_heads.pth")
    return {name: (str(folder / f"{name}.safetensors"), str(folder / f"{name}_heads.pth")) for name in nets}


@pytest.mark.parametrize("name", ["alex", "vgg"])
def test_lpips_is_nothing_for_equal_videos_and_grows_with_noise(weights, name):
    lpips = Lpips.from_files(*weights[name])
    video = torch.rand(2, 3, 2, 64, 64) * 2 - 1
    noise = torch.randn(video.shape)
    assert lpips(video, video).tolist() == [0, 0]
    near, far = (lpips((video + scale * noise).clamp(-1, 1), video) for scale in (0.05, 0.3))
    assert (near > 0).all()
    assert (far > 2 * near).all()


def test_lpips_of_alexnet_is_equation_1_of_its_paper(weights):
    from safetensors.torch import load_file

    state, heads = load_file(weights["alex"][0]), torch.load(weights["alex"][1], weights_only=True)
    one, other = torch.rand(2, 1, 3, 64, 64) * 2 - 1

    def features(x):
        x = (x - torch.tensor([-0.030, -0.088, -0.188])[:, None, None]) / torch.tensor([0.458, 0.448, 0.450])[
            :, None, None
        ]
        found = []
        for number, stride, padding in ((0, 4, 2), (3, 1, 2), (6, 1, 1), (8, 1, 1), (10, 1, 1)):
            if number in (3, 6):
                x = F.max_pool2d(x, 3, 2)
            x = F.conv2d(
                x, state[f"features.{number}.weight"], state[f"features.{number}.bias"], stride, padding
            ).relu()
            found.append(x / x.norm(dim=1, keepdim=True))
        return found

    wanted = sum(
        float(((a - b) ** 2 * heads[f"lin{place}.model.1.weight"]).sum(1).mean())
        for place, (a, b) in enumerate(zip(features(one), features(other), strict=True))
    )
    got = Lpips.from_files(*weights["alex"])(one[:, :, None], other[:, :, None])
    assert float(got[0]) == pytest.approx(wanted, rel=1e-4)


def test_weights_of_another_kind_are_refused(weights, tmp_path):
    with pytest.raises(UserError, match="channels"):
        Lpips.from_files(weights["alex"][0], weights["vgg"][1])
    save_file({"features.0.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "half.safetensors")
    with pytest.raises(UserError, match="lacks features"):
        Lpips.from_files(str(tmp_path / "half.safetensors"), weights["vgg"][1])


def test_the_frechet_distance_is_the_formula_of_gaussians_however_the_vectors_come():
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(6, 6))
    one, other = rng.normal(size=(400, 6)), rng.normal(size=(300, 6)) @ mix + 0.5
    crowds = [Crowd(), Crowd()]
    for start in range(0, 400, 7):
        crowds[0].add(one[start : start + 7])
    crowds[1].add(other)
    a, b = np.cov(one.T), np.cov(other.T)
    wanted = np.square(one.mean(0) - other.mean(0)).sum() + np.trace(a + b - 2 * sqrtm(a @ b).real)
    assert frechet(*crowds) == pytest.approx(wanted, rel=1e-6)
    assert frechet(crowds[0], crowds[0]) == pytest.approx(0, abs=1e-6)
    assert np.isnan(frechet(Crowd(), crowds[0]))


def test_video_features_tell_clips_apart_and_know_their_own(tmp_path):
    from transformers import VideoMAEConfig, VideoMAEModel

    torch.manual_seed(0)
    config = VideoMAEConfig(
        image_size=32, patch_size=16, num_frames=4, tubelet_size=2, hidden_size=16, num_hidden_layers=2,
        num_attention_heads=2, intermediate_size=32,
    )  # fmt: skip
    VideoMAEModel(config).save_pretrained(tmp_path / "videomae")
    features = VideoFeatures(str(tmp_path / "videomae"), "cpu")
    torch.manual_seed(1)
    clips = torch.rand(12, 3, 9, 40, 56) * 2 - 1
    noisy = (clips + 0.5 * torch.randn(clips.shape)).clamp(-1, 1)
    frozen = clips[:, :, :1].expand_as(clips)
    crowds = {}
    for name, video in (("clips", clips), ("noisy", noisy), ("frozen", frozen)):
        crowds[name] = Crowd()
        crowds[name].add(features(video))
    assert features(clips).shape == (12, 16)
    same = frechet(crowds["clips"], crowds["clips"])
    assert same == pytest.approx(0, abs=1e-6)
    assert frechet(crowds["clips"], crowds["noisy"]) > same + 1e-4
    assert frechet(crowds["clips"], crowds["frozen"]) > same + 1e-4


def test_a_model_that_is_none_for_videos_is_refused(tmp_path):
    from transformers import ViTConfig, ViTModel

    ViTModel(ViTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, image_size=16)).save_pretrained(
        tmp_path
    )
    with pytest.raises(UserError, match="no video model"):
        VideoFeatures(str(tmp_path), "cpu")
    with pytest.raises(UserError, match="cannot load"):
        VideoFeatures(str(tmp_path / "nowhere"), "cpu")

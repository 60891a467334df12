"""`evaluate ablation`: what is counted, what is measured in a process of its own, and what two models keep."""

import dataclasses
import json

import pytest
import torch

from videosyn.core.errors import UserError
from videosyn.core.model_folder import save_module
from videosyn.evaluation.ablation.counted import vae_operations
from videosyn.evaluation.ablation.options import AblationConfig
from videosyn.evaluation.ablation.probe import Job, measure
from videosyn.evaluation.ablation.quality import DIVIDED, WITH, WITHOUT
from videosyn.evaluation.ablation.run import run
from videosyn.evaluation.ablation.variants import VARIANTS
from videosyn.evaluation.footage import Shape
from videosyn.vdit.config import VDiTConfig
from videosyn.vdit.model import VDiT
from videosyn.vdit.presets import XL
from videosyn.vidvae.model import VidVAE
from videosyn.vidvae.presets import TINY


def saved(folder, config):
    torch.manual_seed(0)
    vae = VidVAE(config)
    save_module(folder, vae, config)
    return str(folder)


@pytest.fixture(scope="module")
def vaes(tmp_path_factory):
    """(with, without) time compression, untrained."""
    folder = tmp_path_factory.mktemp("vaes")
    return saved(folder / "with", TINY), saved(folder / "without", dataclasses.replace(TINY, time_halvings=0))


def test_time_compression_saves_the_tokens_that_it_should():
    frames, whole, *_ = VARIANTS
    shape = Shape(17, 512, 512)
    assert (frames.latents(shape), whole.latents(shape)) == ((17, 64, 64), (5, 64, 64))
    assert (frames.num_tokens(shape), whole.num_tokens(shape)) == (17 * 1024, 5 * 1024)
    assert frames.num_tokens(Shape(1, 768, 768)) == whole.num_tokens(Shape(1, 768, 768)) == 48 * 48
    assert whole.num_tokens(Shape(101, 720, 1280)) == 26 * 45 * 80


def test_operations_are_those_that_torch_counts():
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    config = VDiTConfig(latent_channels=4, text_width=64, width=192, depth=2, num_heads=4, qk_norm="layer")
    model, shape = VDiT(config).eval(), Shape(17, 256, 256)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(torch.randn(1, 4, 5, 32, 32), torch.tensor([5.0]), torch.randn(1, 250, 64), torch.ones(1, 250).bool())
    ratio = VARIANTS[1].operations(shape, config) / counter.get_total_flops()
    assert 0.9 < ratio < 1.05  # the entrance, the exit and the modulation are not counted


def test_the_vaes_operations_grow_with_pixels_and_shrink_where_time_is_compressed():
    small, wide = Shape(17, 32, 32), Shape(17, 32, 64)
    encode, decode = vae_operations(small, 4, TINY)
    assert vae_operations(wide, 4, TINY) == (2 * encode, 2 * decode)
    every = vae_operations(small, 1, TINY)
    assert encode < every[0] < 4 * encode
    assert decode < every[1] < 4 * decode
    first = TINY.encoder_widths[0] * 3 * TINY.patch_size**2 * 9 * 2 * 16 * 16  # one frame's first convolution
    assert encode > 17 * first


def test_a_process_of_its_own_measures_seconds_and_memory_above_the_weights():
    job = Job("encode", "whole", 17, 64, 64, 1, "cpu", "fp32", preset="tiny")
    small, large = measure(job), measure(dataclasses.replace(job, height=256, width=256))
    assert small.seconds > 0
    assert large.peak_bytes > small.peak_bytes + 17 * 3 * 192 * 192 * 4
    assert 0 < small.weight_bytes == large.weight_bytes
    vdit = measure(Job("vdit", "frames", 5, 64, 64, 1, "cpu", "fp32", preset="tiny"))
    assert vdit.seconds > 0


def test_what_does_not_run_says_why():
    with pytest.raises(UserError, match="does not run here"):
        measure(Job("encode", "whole", 17, 64, 64, 1, "nowhere", "fp32", preset="tiny"))


def test_two_vaes_are_compared_clip_by_clip(vaes, tmp_path, capsys):
    compressed, uncompressed = vaes
    config = AblationConfig(
        compressed, uncompressed, 3, "9x32x32", 5, cost=False, output=tmp_path / "out", device="cpu", dtype="fp32"
    )
    config.check()
    data = run(config)
    quality = data["quality"]
    assert set(quality) == {WITH, WITHOUT, DIVIDED}
    assert (quality[WITHOUT]["tokens"], quality[WITH]["tokens"]) == (9 * 4, 3 * 4)
    lost = data["differences"]["What it costs"][f"{WITH} against {WITHOUT}"]["psnr_db"]
    assert lost["mean"] == pytest.approx(quality[WITH]["psnr_db"] - quality[WITHOUT]["psnr_db"])
    assert lost["num_pairs"] == 3
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["counted"]["17x512x512"]["4x8x8"]["tokens"] == 5120
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("<video") == 12
    assert page.count('<svg class="chart"') == 2
    assert "films" not in data
    assert "Counted" in capsys.readouterr().out


def test_vaes_that_do_not_compare_are_refused(vaes, tmp_path):
    compressed, uncompressed = vaes
    with pytest.raises(UserError, match="must compress time"):
        run(AblationConfig(uncompressed, compressed, 1, "9x32x32", 5, cost=False, output=tmp_path / "out"))
    other = saved(tmp_path / "other", dataclasses.replace(TINY, time_halvings=0, latent_channels=8))
    with pytest.raises(UserError, match="same latent channels"):
        run(AblationConfig(compressed, other, 1, "9x32x32", 5, cost=False, output=tmp_path / "out"))


def test_vaes_that_do_not_compare_are_refused_before_anything_is_measured(vaes, tmp_path, monkeypatch):
    from videosyn.evaluation.ablation import run as module

    measured = []
    monkeypatch.setattr(module, "_count", lambda *_: measured.append("count"))
    monkeypatch.setattr(module, "_cost", lambda *_: measured.append("cost"))
    with pytest.raises(UserError, match="must compress time"):
        run(AblationConfig(vaes[1], vaes[0], 1, "9x32x32", 5, output=tmp_path / "out"))
    assert measured == []


def test_whole_models_films_are_judged_too(tiny_folder, vaes, tmp_path):
    import shutil

    from videosyn.sampling.pipeline import VideoSynPipeline

    without = tmp_path / "without"
    shutil.copytree(tiny_folder, without)
    shutil.rmtree(without / "vae")
    shutil.copytree(vaes[1], without / "vae")
    VideoSynPipeline.from_pretrained(without, "cpu", "fp32")  # it loads
    config = AblationConfig(
        str(tiny_folder), str(without), 1, "5x32x32", 5, num_prompts=2, cost=False, output=tmp_path / "out",
        device="cpu", dtype="fp32",
    )  # fmt: skip
    config = dataclasses.replace(config, shape="9x32x32")
    data = run(config)
    assert set(data["films"]) == {WITH, WITHOUT}
    assert data["differences"]["What films lose or win"][f"{WITH} against {WITHOUT}"]["adherence"]["num_pairs"] == 2


def test_options_are_checked_first(tmp_path):
    for changed, rule in (
        ({"compressed": "x"}, "--uncompressed"),
        ({"cost": False}, "nothing to do"),
        ({"depth": 29}, "at most 28"),
        ({"cost_shapes": ("17x250x256",)}, "multiple of 16"),
        ({"segment_frames": 17}, "do not divide"),
    ):
        with pytest.raises(UserError, match=rule):
            AblationConfig(output=tmp_path / "out", **changed).check()


def test_the_paper_lost_3_76_db_and_its_vdit_is_what_is_counted():
    from videosyn.evaluation.ablation.run import PAPER_LOSS_DB

    assert pytest.approx(3.76) == PAPER_LOSS_DB
    assert (XL.depth, XL.width) == (28, 1152)

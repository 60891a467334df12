"""Runs of a VDiT that denoises a map beside the latents, and of one whose tokens go around its middle."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_run import COMMON, dit_options, vae_run  # noqa: F401 (a fixture)

from videosyn.core.config import save_json
from videosyn.core.errors import UserError
from videosyn.dataset.latent_cache import load_vae
from videosyn.sampling.pipeline import VideoSynPipeline
from videosyn.training import dit_step
from videosyn.training.dit_run import vdit_config
from videosyn.training.options import DiTTraining, VAETraining
from videosyn.training.run import run_dit, run_vae
from videosyn.vdit import presets
from videosyn.vdit.config import VDiTConfig
from videosyn.world.maps import MAP_CHANNELS

MAPPED = replace(presets.TINY, depth=4, map_channels=MAP_CHANNELS)


@pytest.fixture
def mapped(monkeypatch):
    monkeypatch.setattr(presets, "TINY", MAPPED)


def figures(out: Path, name: str) -> list[float]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [line[name] for line in lines if name in line]


def test_the_preset_has_the_worlds_map():
    assert replace(presets.NANO, map_channels=MAP_CHANNELS) == presets.NANO_MAP


def test_a_map_is_learnt_beside_the_latents_and_left_out_of_the_film(tmp_path: Path, vae_run: Path, mapped):  # noqa: F811
    how = {"muon_lr": 1e-2, "adamw_lr": 1e-2, "image_phase_fraction": 0.0, "map_weight": 3.0}
    run_dit(dit_options(tmp_path, vae_run, max_steps=60, **how))
    course = figures(tmp_path / "run", "map")
    assert sum(course[-10:]) < 0.7 * sum(course[:10])
    assert figures(tmp_path / "run", "val/map")
    pipeline = VideoSynPipeline.from_pretrained(tmp_path / "run" / "model", device="cpu", dtype="fp32")
    assert pipeline.vdit.config.map_channels == MAP_CHANNELS
    image = torch.full((32, 32, 3), 90, dtype=torch.uint8).numpy()
    assert pipeline("a red ball bounces", num_steps=2).frames.shape == (1, 5, 32, 32, 3)
    assert pipeline("a red ball bounces", num_steps=2, image=image).frames.shape == (1, 5, 32, 32, 3)


def test_the_weight_of_the_map_is_that_of_its_error(tmp_path: Path, vae_run: Path, mapped):  # noqa: F811
    first = {}
    for weight in (0.0, 2.0):
        run_dit(dit_options(tmp_path / str(weight), vae_run, max_steps=1, map_weight=weight, image_phase_fraction=0.0))
        first[weight] = {name: figures(tmp_path / str(weight) / "run", name)[0] for name in ("loss", "map")}
    assert first[2.0]["map"] == pytest.approx(first[0.0]["map"])
    assert first[2.0]["loss"] == pytest.approx(first[0.0]["loss"] + 2 * first[0.0]["map"], rel=1e-4)
    assert 0 < first[0.0]["map"] < 0.5  # of the clean map, which is mostly zeros, not of a noise of spread 1


def test_of_given_frames_the_map_says_nothing(tmp_path: Path, vae_run: Path, mapped, monkeypatch):  # noqa: F811
    first = torch.tensor([[True, False]])
    monkeypatch.setattr(dit_step, "draw_given", lambda batch, frames, share, generator: first.expand(batch, -1))
    seen = []

    class Watched(dit_step.DiTStep):
        def _error(self, batch, noisy, *how):
            self.vdit.register_forward_pre_hook(lambda model, inputs: seen.append((inputs[0], noisy.latents)))
            return super()._error(batch, noisy, *how)

    monkeypatch.setattr(dit_step, "DiTStep", Watched)
    run_dit(dit_options(tmp_path, vae_run, max_steps=1, given_share=1.0, image_phase_fraction=0.0))
    noisy, clean = seen[0]
    assert (noisy[:, 4:, 0] == 0).all()
    assert noisy[:, :4, 0].std() > 0.1
    assert clean[:, 4:, 1].abs().max() > 0.1  # elsewhere there is one


def test_things_first_pass_the_middle_and_others_go_around_it(tmp_path: Path, vae_run: Path, mapped, monkeypatch):  # noqa: F811
    seen = []

    class Watched(dit_step.DiTStep):
        def _error(self, batch, noisy, routed=None):
            seen.append((batch, routed))
            return super()._error(batch, noisy, routed)

    monkeypatch.setattr(dit_step, "DiTStep", Watched)
    how = {"routed_share": 0.5, "naming_weight": 0.1, "image_phase_fraction": 0.0}
    run_dit(dit_options(tmp_path, vae_run, max_steps=2, **how))
    trained = [(batch, routed) for batch, routed in seen if routed is not None]
    assert len(trained) == 2
    assert any(routed is None for _, routed in seen)  # what is held out is measured whole
    for batch, routed in trained:
        places = batch.latents.shape[3] * batch.latents.shape[4] // 4
        assert routed.shape == (batch.size, places // 2)
        for clip, kept in zip(batch.things, routed):
            there = torch.nn.functional.max_pool2d((clip[0] > 0).float().amax(0)[None], 2).flatten() > 0
            passed = torch.zeros(places, dtype=torch.bool).scatter(0, kept, True)
            assert not (there & ~passed).any() or not (~there & passed).any()


def test_a_model_without_a_map_is_widened_by_one(tmp_path: Path, vae_run: Path, monkeypatch):  # noqa: F811
    run_dit(dit_options(tmp_path / "plain", vae_run, max_steps=4))
    monkeypatch.setattr(presets, "TINY", replace(presets.TINY, map_channels=MAP_CHANNELS))
    init = str(tmp_path / "plain/run/model")
    run_dit(dit_options(tmp_path / "wide", vae_run, max_steps=1, init=init, muon_lr=1e-9, adamw_lr=1e-9))
    plain, wide = (
        VideoSynPipeline.from_pretrained(tmp_path / name / "run/model", dtype="fp32").vdit for name in ("plain", "wide")
    )
    assert wide.config == replace(plain.config, map_channels=MAP_CHANNELS)
    torch.testing.assert_close(wide.patch_embedder.weight[:, :4], plain.patch_embedder.weight, rtol=0, atol=1e-4)
    assert wide.patch_embedder.weight[:, 4:].abs().max() < 1e-4


def test_footage_and_noise_prediction_have_a_map_only_where_init_brings_one(tmp_path: Path, mapped):
    base = {"preset": "tiny", "max_steps": 1}
    assert vdit_config(DiTTraining(**base)).map_channels == MAP_CHANNELS
    assert vdit_config(DiTTraining(**base, data="x")).map_channels == 0
    assert vdit_config(DiTTraining(**base, objective="epsilon")).map_channels == 0
    (tmp_path / "transformer").mkdir()
    save_json(MAPPED, tmp_path / "transformer/config.json")
    assert vdit_config(DiTTraining(**base, data="x", init=str(tmp_path))).map_channels == MAP_CHANNELS
    assert vdit_config(DiTTraining(preset="init", max_steps=1, init=str(tmp_path))) == MAPPED
    save_json(VDiTConfig(4, 16, 48, 2, 2), tmp_path / "transformer/config.json")
    assert vdit_config(DiTTraining(**base, init=str(tmp_path))).map_channels == MAP_CHANNELS  # will be widened
    with pytest.raises(UserError, match="set init to a model's folder"):
        vdit_config(DiTTraining(preset="init", max_steps=1))


def test_a_vae_that_goes_on_is_measured_anew_and_only_once(tmp_path: Path, vae_run: Path):  # noqa: F811
    how = {"clips": ("5x32x32",), "num_clips": 4, "crops": ("5x16x16",), "late_crops": ("5x32x32",)}
    options = VAETraining(
        out=str(tmp_path / "on"),
        cache=str(tmp_path / "clips"),
        init=str(vae_run / "model"),
        max_steps=3,
        batch_size=2,
        validation_clips=2,
        muon_lr=3e-2,
        **how,
        **COMMON | {"preset": "init"},
    )
    assert run_vae(options) == "finished"
    before, after = load_vae(vae_run / "model").config, load_vae(tmp_path / "on/model").config
    assert after.latents_std
    assert after.latents_std != before.latents_std
    config = tmp_path / "on/model/config.json"
    written = config.stat().st_mtime_ns
    assert run_vae(options) == "finished"
    assert config.stat().st_mtime_ns == written


def test_a_vae_of_another_grid_is_refused_where_things_must_be_found(tmp_path: Path, vae_run: Path, monkeypatch):  # noqa: F811
    from videosyn.core.model_folder import save_module
    from videosyn.vidvae.model import VidVAE

    config = replace(load_vae(vae_run / "model").config, time_halvings=0)
    save_module(tmp_path / "vae", VidVAE(config), config)
    options = replace(dit_options(tmp_path, vae_run), vae=str(tmp_path / "vae"))
    with pytest.raises(UserError, match=r"a grid of 4x8x8 pixels, .* has 1x8x8"):
        run_dit(options)

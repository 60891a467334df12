"""The steps of the models, end to end at tiny sizes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from videosyn.core.errors import UserError
from videosyn.dataset.latent_cache import load_vae
from videosyn.sampling.pipeline import VideoSynPipeline
from videosyn.training import dit_step, reading, run
from videosyn.training.options import DiTTraining, VAETraining
from videosyn.training.quality import psnr, ssim
from videosyn.training.run import main, run_dit, run_vae

COMMON = {"preset": "tiny", "dtype": "fp32", "workers": 0, "warmup_steps": 2, "log_seconds": 1e-9, "threads": 1}


def losses(out: Path) -> list[float]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


@pytest.fixture(scope="module")
def vae_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny VidVAE trained for thirty steps on four clips."""
    folder = tmp_path_factory.mktemp("vae")
    options = VAETraining(
        out=str(folder / "run"),
        cache=str(folder / "clips"),
        max_steps=30,
        batch_size=2,
        clips=("5x32x32",),
        num_clips=4,
        crops=("5x16x16:3", "1x32x32:1"),
        late_crops=("5x32x32",),
        validation_clips=2,
        muon_lr=3e-3,
        **COMMON,
    )
    assert run_vae(options) == "finished"
    return folder / "run"


def dit_options(folder: Path, vae_run: Path, **how) -> DiTTraining:
    how = {"max_steps": 12, "sheet_steps": 1, "batch_size": 4, **how}
    return DiTTraining(
        out=str(folder / "run"),
        cache=str(folder / "latents"),
        vae=str(vae_run / "model"),
        buckets=("5x32x32:3", "5x16x48:1", "1x32x32:1"),
        num_clips=8,
        num_images=4,
        validation_clips=4,
        **COMMON,
        **how,
    )


def test_a_vae_overfits_a_few_clips_and_ends_calibrated(vae_run: Path):
    curve = losses(vae_run)
    assert sum(curve[-5:]) < 0.7 * sum(curve[:5])
    assert len(load_vae(vae_run / "model").config.latents_std) == 4
    assert list((vae_run / "sheets").glob("*.png"))


def test_a_dit_run_gives_a_whole_pipeline_and_starts_with_images(tmp_path: Path, vae_run: Path):
    options = dit_options(tmp_path, vae_run, image_phase_fraction=0.5, image_phase_share=1.0)
    assert run_dit(options) == "finished"
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    images = [line["step"] for line in lines if "loss/1x32x32" in line]
    assert set(range(1, 7)) <= set(images)
    pipeline = VideoSynPipeline.from_pretrained(tmp_path / "run" / "model", device="cpu", dtype="fp32")
    film = pipeline("a red ball bounces", num_steps=1)
    assert film.frames.shape == (1, 5, 32, 32, 3)


def test_a_dit_overfits_a_few_clips(tmp_path: Path, vae_run: Path):
    options = dit_options(tmp_path, vae_run, max_steps=60, muon_lr=1e-2, adamw_lr=5e-3, image_phase_fraction=0.0)
    run_dit(options)
    curve = losses(tmp_path / "run")
    assert sum(curve[-10:]) < 0.85 * sum(curve[:10])


def test_the_loss_of_a_step_depends_on_batch_and_noise_alone(tmp_path: Path, vae_run: Path):
    runs = []
    for name in ("one", "other"):
        torch.manual_seed(len(runs))
        run_dit(dit_options(tmp_path / name, vae_run, max_steps=4))
        runs.append(losses(tmp_path / name / "run"))
    assert runs[0] == runs[1]


def test_the_weight_of_things_is_the_loss_where_they_are(tmp_path: Path, vae_run: Path):
    """The first loss of the same run with weights 1, 3 and 1e6: (1 + 2 share x things) / (1 + 2 share) between."""
    first = {}
    for weight in (1.0, 3.0, 1e6):
        run_dit(
            dit_options(tmp_path / str(weight), vae_run, max_steps=1, thing_weight=weight, image_phase_fraction=0.0)
        )
        lines = (tmp_path / str(weight) / "run" / "metrics.jsonl").read_text().splitlines()
        first[weight] = next(line for line in map(json.loads, lines) if "loss" in line)
    everywhere, things = first[1.0]["loss"], first[1e6]["loss"]
    assert first[3.0]["plain_loss"] == pytest.approx(everywhere, rel=1e-5)
    share = (first[3.0]["loss"] - everywhere) / (2 * (things - first[3.0]["loss"]))
    assert 0.02 < share < 0.9
    assert everywhere < first[3.0]["loss"] < things or everywhere > first[3.0]["loss"] > things


def test_parts_of_a_batch_add_up_to_the_weighted_loss_of_the_whole(tmp_path: Path, vae_run: Path):
    how = {"thing_weight": 2.0, "naming_weight": 0.5, "given_share": 0.5, "routed_share": 0.5, "optimizer": "adamw"}
    for accumulate in (1, 2):
        run_dit(dit_options(tmp_path / str(accumulate), vae_run, max_steps=5, accumulate=accumulate, **how))
    whole, parts = (
        [json.loads(line) for line in (tmp_path / name / "run/metrics.jsonl").read_text().splitlines()]
        for name in ("1", "2")
    )
    for one, other in zip(whole[:5], parts[:5]):
        noise = [name for name in one if name.startswith("loss/noise_")]
        assert noise == [name for name in other if name.startswith("loss/noise_")]
        for name in ("loss", "plain_loss", "naming", "gradient_norm", *noise):
            assert other[name] == pytest.approx(one[name], rel=1e-5), name


def test_the_lesson_in_naming_is_logged_and_leaves_nothing_in_the_model(tmp_path: Path, vae_run: Path):
    for weight in (0.0, 0.5):
        run_dit(dit_options(tmp_path / str(weight), vae_run, max_steps=2, naming_weight=weight, thing_weight=2.0))
    plain, taught = (
        next(map(json.loads, (tmp_path / weight / "run" / "metrics.jsonl").read_text().splitlines()))
        for weight in ("0.0", "0.5")
    )
    assert taught["loss"] == pytest.approx(plain["loss"] + 0.5 * taught["naming"], rel=1e-4)
    assert {"named/kind", "named/colour"} <= taught.keys()
    files = [sorted(path.name for path in (tmp_path / weight / "run/model").rglob("*")) for weight in ("0.0", "0.5")]
    assert files[0] == files[1]
    VideoSynPipeline.from_pretrained(tmp_path / "0.5/run/model")  # strict: a foreign tensor would be refused


def test_no_error_counts_on_given_frames(tmp_path: Path, vae_run: Path, monkeypatch):
    first = torch.tensor([[True, False]])
    monkeypatch.setattr(dit_step, "draw_given", lambda batch, frames, share, generator: first.expand(batch, -1))
    seen = []

    class Watched(dit_step.DiTStep):
        def _error(self, *how):
            self.vdit.register_forward_pre_hook(lambda model, inputs: seen.append(inputs[:2]))
            error, on_map, counts = super()._error(*how)
            seen.append((error, counts))
            return error * 0 + 100 * (1 - counts) + 7 * counts, on_map, counts

    monkeypatch.setattr(dit_step, "DiTStep", Watched)
    run_dit(dit_options(tmp_path, vae_run, max_steps=1, given_share=1.0, image_phase_fraction=0.0))
    latents, timestep = seen[0]
    assert (timestep[:, 0] == 0).all()
    assert (timestep[:, 1] > 0).all()
    assert latents[:, :, 0].std() > 0.1
    assert losses(tmp_path / "run")[0] == pytest.approx(7.0)  # the given frame's 100 leaves no trace


def test_a_run_begins_with_the_weights_it_is_given(tmp_path: Path, vae_run: Path):
    run_dit(dit_options(tmp_path / "first", vae_run))
    model = tmp_path / "first/run/model"
    run_dit(dit_options(tmp_path / "second", vae_run, init=str(model), max_steps=1, muon_lr=1e-9, adamw_lr=1e-9))
    first, second = (VideoSynPipeline.from_pretrained(tmp_path / name / "run/model") for name in ("first", "second"))
    for part in ("vdit", "text_encoder"):
        for one, other in zip(getattr(first, part).parameters(), getattr(second, part).parameters()):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-4)  # shipped in bf16: a step may cross a rounding
    config = model / "transformer/config.json"
    config.write_text(config.read_text().replace('"qk_norm": "layer"', '"qk_norm": "rms"'))
    with pytest.raises(UserError, match="transformer is another model: its qk_norm is rms, the preset's is layer"):
        run_dit(dit_options(tmp_path / "third", vae_run, init=str(model)))


def test_the_text_encoder_reads_before_the_run_begins(tmp_path: Path, vae_run: Path, capsys, monkeypatch):
    monkeypatch.setattr(reading, "NUM_CAPTIONS", 64)
    run_dit(dit_options(tmp_path, vae_run, max_steps=1, text_steps=2))
    assert "every answer right on" in capsys.readouterr().err
    assert (tmp_path / "run" / "text" / "tokenizer.json").is_file()


def test_a_vdit_for_other_latents_is_refused(tmp_path: Path, vae_run: Path):
    with pytest.raises(UserError, match="latent channels"):
        run_dit(DiTTraining(out=str(tmp_path), cache=str(tmp_path), vae=str(vae_run / "model"), max_steps=1))


def test_a_users_mistake_is_one_line_and_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "c.yaml").write_text("max_steps: 1\npreset: giant\n")
    assert main(["vae", str(tmp_path / "missing.yaml")]) == 2
    assert main(["train"]) == 2
    out = ["--out", str(tmp_path / "run"), "--num-clips", "0", "--validation-clips", "1"]
    assert main(["vae", str(tmp_path / "c.yaml"), *out]) == 2
    assert "giant" in capsys.readouterr().err


def test_ctrl_c_outside_the_loop_is_one_line_and_exit_code_130(tmp_path: Path, capsys, monkeypatch):
    def stop(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "run_vae", stop)
    (tmp_path / "c.yaml").write_text("max_steps: 1\n")
    assert main(["vae", str(tmp_path / "c.yaml")]) == 130
    assert capsys.readouterr().err == "videosyn: stopped, nothing half written\n"


def test_psnr_and_ssim_of_known_pairs():
    torch.manual_seed(0)
    video = torch.rand(2, 3, 2, 24, 24) * 2 - 1
    assert psnr(video, video).tolist() == [100, 100]
    assert torch.allclose(psnr(video, video + 0.2), torch.full((2,), 20.0), atol=1e-3)
    assert torch.allclose(ssim(video, video), torch.ones(2))
    assert ssim(video, -video).max() < 0.1


def test_ssim_equals_scikit_images():
    structural_similarity = pytest.importorskip("skimage.metrics").structural_similarity
    torch.manual_seed(0)
    one = torch.rand(1, 1, 1, 32, 32) * 2 - 1
    other = (one + 0.3 * torch.randn(one.shape)).clamp(-1, 1)
    theirs = structural_similarity(
        (one[0, 0, 0].numpy() + 1) / 2,
        (other[0, 0, 0].numpy() + 1) / 2,
        data_range=1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert ssim(one, other).item() == pytest.approx(theirs, abs=2e-4)

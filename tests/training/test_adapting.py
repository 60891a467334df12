"""From a model to another: adapters, full fine-tuning, stages, footage; each through the run that users start."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from clips_folder import write_folder
from safetensors.torch import load_file

from videosyn.core.errors import UserError
from videosyn.dataset.batches import ClipBatch
from videosyn.dataset.buckets import Bucket, parse_buckets
from videosyn.dataset.decoders import Decoders
from videosyn.dataset.latent_cache import calibrate_folder
from videosyn.sampling.pipeline import VideoSynPipeline
from videosyn.training.dit_run import vdit_config
from videosyn.training.draws import Draws
from videosyn.training.dry_run import dit_table, vae_table
from videosyn.training.footage_source import footage_source
from videosyn.training.memory import count_parameters, state_bytes
from videosyn.training.options import DiTTraining, Stage, VAETraining
from videosyn.training.run import run_cache, run_dit, run_vae
from videosyn.training.vae_step import VAEStep
from videosyn.vdit.model import VDiT
from videosyn.vidvae.model import VidVAE
from videosyn.vidvae.presets import TINY

COMMON = {"dtype": "fp32", "workers": 0, "warmup_steps": 1, "log_seconds": 1e-9, "threads": 1, "sheet_steps": 1}


@pytest.fixture(scope="module")
def model(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny pipeline, its latents measured."""
    folder = tmp_path_factory.mktemp("model") / "model"
    shutil.copytree(tiny_folder, folder)
    calibrate_folder(folder / "vae", Bucket(5, 32, 32), num_clips=4, dtype="fp32")
    return folder


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("data") / "dataset", [(11, 64, 96)] * 12)


def options(folder: Path, model: Path, **how) -> DiTTraining:
    given = {"buckets": ("5x32x48:3", "1x32x48:1"), "batch_size": 4, "max_steps": 3, "num_clips": 8, **how}
    return DiTTraining(
        out=str(folder / "run"),
        cache=str(folder / "latents"),
        vae=str(model / "vae"),
        **{"preset": "tiny", **COMMON, "num_images": 4, "validation_clips": 2, **given},
    )


def losses(out: Path) -> list[float]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def test_footage_trains_the_same_from_files_and_from_the_cache(tmp_path: Path, model: Path, dataset: Path):
    curves = {}
    for name, how in (("cached", {}), ("raw", {"cached": False}), ("recomputed", {"gradient_checkpointing": True})):
        run_dit(options(tmp_path / name, model, data=str(dataset), max_steps=4, **how))
        curves[name] = losses(tmp_path / name / "run")
    assert len(curves["cached"]) == 4
    assert curves["raw"] == pytest.approx(curves["cached"], rel=0.02)  # the cache is bf16
    assert curves["recomputed"] == curves["cached"]
    film = VideoSynPipeline.from_pretrained(tmp_path / "raw/run/model", device="cpu", dtype="fp32")
    assert film("clip number 3", num_steps=1).frames.shape == (1, 5, 32, 48, 3)
    assert not film.unknown_words(["clip number 3"])
    lines = (tmp_path / "cached/run/metrics.jsonl").read_text()
    assert '"loss/noise_' in lines
    assert '"val/loss"' in lines


def test_a_frozen_text_encoder_is_asked_once_for_each_caption(
    tmp_path: Path, model: Path, dataset: Path, save_t5, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("transformers")
    t5 = save_t5(tmp_path / "t5", width=16)
    given = options(tmp_path, model, data=str(dataset), text=str(t5), objective="epsilon", sheet_steps=2)
    run_cache(given)
    from videosyn.text import t5 as t5_module

    with monkeypatch.context() as patched:
        patched.setattr(t5_module.T5TextEncoder, "encode", lambda *_: pytest.fail("asked again"))
        run_dit(given)
    pipeline = VideoSynPipeline.from_pretrained(tmp_path / "run/model", device="cpu", dtype="fp32")
    assert type(pipeline.text_encoder).__name__ == "T5TextEncoder"
    assert type(pipeline.objective).__name__ == "EpsilonDDPM"


def test_sheets_of_fewer_steps_than_the_objective_can_take_are_refused_before_training(
    tmp_path: Path, model: Path, dataset: Path
):
    pytest.importorskip("diffusers")
    with pytest.raises(UserError, match=r"steps of ddim must lie within 2 and 1000, .*, got 1: use 2"):
        run_dit(options(tmp_path, model, data=str(dataset), objective="epsilon", sheet_steps=1))
    assert not (tmp_path / "latents").exists()


def test_each_stage_begins_with_the_last_ones_model(tmp_path: Path, model: Path):
    still = {"muon_lr": 1e-9, "adamw_lr": 1e-9}
    stages = (Stage("first"), Stage("second", buckets=("5x48x32",), **still))
    assert run_dit(options(tmp_path, model, stages=stages)) == "finished"
    first, second = (tmp_path / "run" / name for name in ("first", "second"))
    one, other = (load_file(next((run / "model/transformer").glob("*.safetensors"))) for run in (first, second))
    assert all(torch.allclose(one[name], other[name], atol=1e-6) for name in one)
    assert "loss/5x48x32" in (second / "metrics.jsonl").read_text()
    assert "loss/5x48x32" not in (first / "metrics.jsonl").read_text()


def test_all_stages_read_the_frozen_text_encoder_that_the_run_begins_with(
    tmp_path: Path, model: Path, dataset: Path, save_t5
):
    pytest.importorskip("transformers")
    t5 = save_t5(tmp_path / "t5", width=16)
    run_dit(options(tmp_path / "begun", model, data=str(dataset), text=str(t5), max_steps=1))
    stages = (Stage("first"), Stage("second", buckets=("1x32x48",)))
    begun = {"init": str(tmp_path / "begun/run/model"), "preset": "init", "max_steps": 1}
    given = options(tmp_path, model, data=str(dataset), stages=stages, **begun)
    run_cache(given)
    before = sorted((tmp_path / "latents/text").iterdir())
    assert run_dit(given) == "finished"
    assert sorted((tmp_path / "latents/text").iterdir()) == before
    pipeline = VideoSynPipeline.from_pretrained(tmp_path / "run/second/model", device="cpu", dtype="fp32")
    assert type(pipeline.text_encoder).__name__ == "T5TextEncoder"


def test_an_adapter_is_a_file_that_diffusers_reads(tmp_path: Path, model: Path):
    pytest.importorskip("peft")
    diffusers = pytest.importorskip("videosyn.diffusers")
    given = options(tmp_path, model, preset="init", init=str(model), lora_rank=2, adamw_lr=0.05, max_steps=5)
    run_dit(given)
    file = tmp_path / "run/model/pytorch_lora_weights.safetensors"
    state = load_file(file)
    assert all(name.startswith("transformer.blocks.") and ".lora_" in name for name in state)
    assert any(tensor.abs().max() > 0 for name, tensor in state.items() if "lora_B" in name)
    pipe = diffusers.VideoSynDiffusionPipeline.from_pretrained(model, torch_dtype=torch.float32)
    inputs = [torch.randn(1, 4, 2, 4, 4), torch.tensor([500.0]), torch.randn(1, 3, 16)]
    before = pipe.transformer(*inputs).sample
    pipe.load_lora_weights(tmp_path / "run/model")
    after = pipe.transformer(*inputs).sample
    assert (after - before).abs().max() > 1e-4
    name = next(name for name in state if name.endswith("lora_B.weight")).removeprefix("transformer.")
    loaded = dict(pipe.transformer.named_parameters())
    key = next(each for each in loaded if each.replace(".default_0", "").replace(".default", "") == name)
    assert torch.equal(loaded[key], state[f"transformer.{name}"])
    merged = VideoSynPipeline.from_pretrained(model, device="cpu", dtype="fp32", lora=tmp_path / "run/model")
    mask = torch.ones(1, 3, dtype=torch.bool)
    torch.testing.assert_close(merged.vdit(*inputs, mask), after, rtol=0, atol=1e-5)


def test_full_fine_tuning_begins_with_any_model_of_any_size(tmp_path: Path, model: Path):
    run_dit(options(tmp_path, model, preset="init", init=str(model), max_steps=1, muon_lr=1e-9, adamw_lr=1e-9))
    both = (model, tmp_path / "run/model")
    first, second = (VideoSynPipeline.from_pretrained(each, device="cpu", dtype="fp32") for each in both)
    for one, other in zip(first.vdit.parameters(), second.vdit.parameters()):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)
    with pytest.raises(UserError, match="set init to a model's folder"):
        run_dit(options(tmp_path / "none", model, preset="init"))


def test_a_bucket_that_the_models_cannot_divide_is_refused(tmp_path: Path, model: Path):
    with pytest.raises(UserError, match="height must be a multiple of 16, got 40: use 32 or 48"):
        run_dit(options(tmp_path, model, buckets=("5x40x32",)))


def test_teams_need_clips_long_enough_and_processes_enough(tmp_path: Path, model: Path):
    with pytest.raises(UserError, match=r"sequence_parallel 3 needs clips of as many latent frames.* of 9 frames"):
        run_dit(options(tmp_path, model, sequence_parallel=3))
    with pytest.raises(UserError, match=r"must divide the number of processes, got 1: .* torchrun --nproc-per-node 2"):
        run_dit(options(tmp_path, model, sequence_parallel=2))


def test_what_a_later_stage_cannot_do_is_known_before_the_first_begins(tmp_path: Path, model: Path):
    stages = (Stage("first"), Stage("second", sequence_parallel=2))
    with pytest.raises(UserError, match="must divide the number of processes, got 1"):
        run_dit(options(tmp_path, model, stages=stages))
    assert not (tmp_path / "run").exists()


def test_the_dry_run_refuses_teams_that_the_processes_do_not_form(model: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    given = options(Path("unused"), model, buckets=("17x96x96:1", "1x96x96:1"), sequence_parallel=2)
    with pytest.raises(UserError, match=r"must divide the number of processes, got 3: .* --nproc-per-node 4"):
        dit_table(given, vdit_config(given))


def test_a_team_takes_less_memory_a_process_for_clips_that_it_divides(model: Path):
    given = options(
        Path("unused"), model, buckets=("17x96x96:1", "1x96x96:1"), batch_size=2, gradient_checkpointing=True
    )
    alone, _ = dit_table(given, vdit_config(given))
    shared, _ = dit_table(replace(given, sequence_parallel=2), vdit_config(given))
    assert shared[0].memory_bytes < alone[0].memory_bytes
    assert (shared[0].batch, shared[0].tokens) == (alone[0].batch, alone[0].tokens)


def test_a_batch_that_the_processes_cannot_share_is_known_before_the_first_step(
    model: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("WORLD_SIZE", "4")
    given = options(Path("unused"), model, buckets=("5x32x48", "17x32x48"), batch_size=6)
    with pytest.raises(UserError, match=r"a batch of 2 of bucket 17x32x48 cannot be shared by 4 processes"):
        dit_table(given, vdit_config(given))
    dit_table(replace(given, sequence_parallel=2), vdit_config(given))
    with pytest.raises(UserError, match=r"a batch of 1 of bucket 9x64x64 cannot be shared by 4 processes"):
        vae_table(VAETraining(preset="tiny", max_steps=1, crops=("1x64x64", "9x64x64"), late_crops=("1x64x64",)))


def test_processes_that_divide_a_model_cut_their_shares_into_as_many_parts(
    model: Path, monkeypatch: pytest.MonkeyPatch
):
    """Else one would wait for the others in a part that they do not have."""
    monkeypatch.setenv("WORLD_SIZE", "4")
    how = {"buckets": ("5x32x48",), "batch_size": 9, "optimizer": "adamw", "parallel": "fsdp"}
    given = options(Path("unused"), model, accumulate=3, **how)
    with pytest.raises(UserError, match=r"accumulate 3 .* of 9 of bucket 5x32x48 alike, 2 or 3 .* set accumulate 2"):
        dit_table(given, vdit_config(given))
    for fine in ({"accumulate": 2}, {"batch_size": 8}, {"parallel": "ddp"}):
        dit_table(replace(given, **fine), vdit_config(given))


def test_the_dry_run_counts_clips_tokens_and_memory_and_names_what_is_left_out(
    tmp_path: Path, model: Path, dataset: Path, capsys: pytest.CaptureFixture[str]
):
    how = {"data": str(dataset), "dry_run": True, "max_windows": 2}
    with pytest.raises(UserError, match=r"run refuses to begin while anything is left out: .* --drop-unfit"):
        run_dit(options(tmp_path, model, buckets=("5x32x48:3", "17x32x48:1"), **how))
    said = capsys.readouterr().out
    row = next(line for line in said.splitlines() if "5x32x48" in line and "17x" not in line)
    cells = [cell.strip() for cell in row.strip("│┃| ").replace("┃", "│").split("│")]
    assert cells[:8] == ["5x32x48", "75.0%", "12", "24", "4", "6.0", "12", "48"]
    assert cells[8].endswith("GB")
    assert "bucket 17x32x48, which no clip fits" in said
    assert "GB are free here" in said
    assert run_dit(options(tmp_path, model, buckets=("5x32x48:3", "17x32x48:1"), drop_unfit=True, **how)) == "finished"
    assert "bucket 17x32x48, which no clip fits" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"none of the clips of .* fits any bucket: change the buckets"):
        run_dit(options(tmp_path, model, buckets=("17x32x48",), drop_unfit=True, **how))
    assert not (tmp_path / "run").exists()
    with pytest.raises(UserError, match="no clip fits bucket 17x32x48"):
        run_dit(options(tmp_path, model, data=str(dataset), buckets=("5x32x48:3", "17x32x48:1")))
    leave_out = options(tmp_path, model, data=str(dataset), buckets=("5x32x48:3", "17x32x48:1"), drop_unfit=True)
    assert run_dit(leave_out) == "finished"


def test_a_dry_run_of_the_cache_encodes_nothing(tmp_path: Path, model: Path, dataset: Path, capsys):
    run_cache(options(tmp_path, model, data=str(dataset), dry_run=True))
    assert "5x32x48" in capsys.readouterr().out
    assert not (tmp_path / "latents").exists()


def test_weights_that_an_adapter_leaves_as_they_are_take_memory_too(model: Path):
    given = options(Path("unused"), model, init=str(model))
    whole, adapted = (dit_table(each, vdit_config(given))[0][0] for each in (given, replace(given, lora_rank=2)))
    count, matrices = count_parameters(lambda: VDiT(vdit_config(given)))
    assert whole.memory_bytes - adapted.memory_bytes == state_bytes(count, matrices, 4, True) - 4 * count


def test_what_is_held_out_is_measured_in_the_first_bucket(tmp_path: Path, model: Path, dataset: Path):
    given = options(tmp_path, model, data=str(dataset))  # of each clip two films, and four pictures
    source = footage_source(given, parse_buckets(given.buckets), given.validation_clips)
    batches = list(source.held_out_batches(source.frames_reader(Decoders(0), 0), 4))
    assert [batch.bucket for batch in batches] == ["5x32x48"]


def vae_options(folder: Path, dataset: Path, **how) -> VAETraining:
    given = {"preset": "tiny", "max_steps": 2, "batch_size": 2, "max_crop": 0.5, "validation_clips": 2, **COMMON, **how}
    given.pop("sheet_steps")
    return VAETraining(out=str(folder / "run"), data=str(dataset), **given)


def test_a_discriminator_that_begins_moves_the_gradients_and_not_the_loss():
    """So no guard takes its beginning for a spike."""
    torch.manual_seed(0)
    vae = VidVAE(TINY)
    given = {"crops": ("5x32x32",), "late_crops": ("5x32x32",), "adversarial_weight": 0.5, "discriminator_width": 8}
    step = VAEStep(vae_options(Path("unused"), Path("unused"), adversarial_start=0.5, **given), vae, None, [])
    frames = torch.randint(256, (2, 5, 32, 32, 3), dtype=torch.uint8)
    batch = ClipBatch("5x32x32", 0, (0, 1), ((0, 0, 0),) * 2, frames)
    (before, _), (begun, figures) = (step.loss(batch, Draws(1, 2), progress) for progress in (0.4, 0.6))
    assert begun.item() == before.item()
    assert figures["lesson"] > 0.5
    last = vae.decoder.conv_out.weight
    plain, rival = (torch.autograd.grad(loss, last, retain_graph=True)[0] for loss in (before, begun))
    assert (rival - plain).norm() > 0.1 * plain.norm()
    begun.backward()
    assert all(parameter.grad is not None for parameter in step.rival.parameters())
    with torch.no_grad():
        next(step.rival.parameters()).fill_(float("nan"))
    assert step.loss(batch, Draws(1, 2), 0.6)[0].isnan()


def test_crops_that_no_clip_fits_are_not_drawn(tmp_path: Path, dataset: Path, capsys: pytest.CaptureFixture[str]):
    how = {"crops": ("5x32x32:1", "17x32x32:9"), "late_crops": ("5x32x32",), "drop_unfit": True}
    assert run_vae(vae_options(tmp_path, dataset, max_steps=4, **how)) == "finished"
    assert "buckets without clips are left out: 17x32x32" in capsys.readouterr().err
    with pytest.raises(UserError, match="no clip fits any of late_crops 17x32x32, 33x32x32: change them"):
        run_vae(vae_options(tmp_path / "late", dataset, **{**how, "late_crops": ("17x32x32", "33x32x32")}))


def test_a_vae_trains_on_footage_with_its_judges(tmp_path: Path, dataset: Path, tiny_vgg: Path):
    given = vae_options(
        tmp_path,
        dataset,
        max_steps=8,
        crops=("5x32x32:2", "1x32x32:1", "9x32x32:1"),
        late_crops=("5x32x32",),
        perceptual=str(tiny_vgg),
        adversarial_weight=0.5,
        adversarial_start=0.5,
        discriminator_width=8,
    )
    assert run_vae(given) == "finished"
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    assert ["verdict" in line for line in steps] == [False] * 4 + [True] * 4
    assert all("perceptual" in line for line in steps)
    assert any("val/psnr" in line for line in lines)
    weights = load_file(next((tmp_path / "run/model").glob("*.safetensors")))
    assert not any("rival" in name for name in weights)

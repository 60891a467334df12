"""Two processes (gloo) train as one does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from safetensors import safe_open
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

from videosyn.core.errors import UserError
from videosyn.core.model_folder import load_state, save_module
from videosyn.dataset.buckets import Bucket
from videosyn.dataset.latent_cache import calibrate_folder
from videosyn.training import dit_run
from videosyn.training.checkpoint import ShardedSaver, checkpoints, load_sharded
from videosyn.training.options import DiTTraining
from videosyn.training.parallel import Processes
from videosyn.training.parallel import processes as join
from videosyn.training.run import run_dit
from videosyn.vidvae.model import VidVAE
from videosyn.vidvae.presets import TINY

RUN = """
import dataclasses, json, sys
import torch
import torch.distributed as dist
from videosyn.core.config import from_dict
from videosyn.training.options import DiTTraining
from videosyn.training.run import run_dit
torch.set_num_threads(1)
dist.init_process_group("gloo")
for given in json.loads(sys.argv[1]):
    run_dit(from_dict(DiTTraining, given))
dist.destroy_process_group()
"""


THINGS = {"thing_weight": 2.0, "naming_weight": 0.5, "routed_share": 0.5, "optimizer": "adamw"}


def options(folder: Path, name: str, **how) -> dict:
    return {
        "out": str(folder / name), "cache": str(folder / "latents"), "vae": str(folder / "vae"), "preset": "tiny",
        "buckets": ["5x32x32:3", "1x32x32:1"], "num_clips": 12, "num_images": 6, "batch_size": 5, "max_steps": 6,
        "given_share": 0.5, "dtype": "fp32", "workers": 0, "warmup_steps": 1, "log_seconds": 1e-9, "threads": 1,
        "validation_clips": 2, "sheet_steps": 1, "adamw_lr": 0.003, "clip_norm": 0.05, **how,
    }  # fmt: skip


def losses(folder: Path, name: str = "loss") -> list[float]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line[name] for line in lines if "loss" in line and name in line]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One process: `muon`, `adamw`, `things`. Two: `muon2`, `things2`, `fsdp2`, `fsdp-watched`, `fsdp3` (in two goes),
    `muon-team` and `fsdp-team`, which share each clip; `more`, begun by one, continued by two, and `fsdp-then-alone`
    in reverse. Four: `teams`, two of them.
    """
    folder = tmp_path_factory.mktemp("parallel")
    torch.manual_seed(0)
    save_module(folder / "vae", VidVAE(TINY), TINY)
    calibrate_folder(folder / "vae", Bucket(5, 32, 32), num_clips=4, dtype="fp32")

    def alone(given: dict) -> None:
        run_dit(DiTTraining(**{**given, "buckets": tuple(given["buckets"])}))

    alone(options(folder, "muon"))
    alone(options(folder, "adamw", optimizer="adamw", weight_decay=0.1))
    alone(options(folder, "things", **THINGS))
    alone(options(folder, "more", max_steps=3, decay_fraction=0.0))
    alone(options(folder, "all", max_steps=6, decay_fraction=0.0))
    fsdp = {"optimizer": "adamw", "parallel": "fsdp", "weight_decay": 0.1}
    team = {"sequence_parallel": 2, "gradient_checkpointing": True}
    listed = [
        options(folder, "muon2"),
        options(folder, "things2", **THINGS),
        options(folder, "muon-team", **team),
        options(folder, "fsdp-team", accumulate=2, **fsdp, **team),
        options(folder, "more", max_steps=6, decay_fraction=0.0),
        options(folder, "fsdp2", **fsdp),
        options(folder, "fsdp-watched", validate_minutes=1e-9, **fsdp),
        options(folder, "fsdp3", max_steps=3, decay_fraction=0.0, **fsdp),
        options(folder, "fsdp3", max_steps=6, decay_fraction=0.0, **fsdp),
        options(folder, "fsdp-then-alone", max_steps=3, decay_fraction=0.0, **fsdp),
        options(folder, "fsdp6", max_steps=6, decay_fraction=0.0, gradient_checkpointing=True, **fsdp),
    ]
    launch(2, listed)
    alone(options(folder, "fsdp-then-alone", max_steps=6, decay_fraction=0.0, **fsdp))
    launch(4, [options(folder, "teams", sequence_parallel=2)])
    return folder


def launch(processes: int, runs: list[dict]) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    program = ["--no-python", sys.executable, "-c", RUN, json.dumps(runs)]
    done = subprocess.run([*torchrun, *program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


class Watched(Processes):
    """One of two processes, whose waits are noted."""

    def __init__(self, rank: int) -> None:
        super().__init__(rank, 2)
        self.events: list[str] = []

    def wait(self) -> None:
        self.events.append("wait")


@pytest.mark.parametrize(("rank", "events"), [(0, ["learn", "wait"]), (1, ["wait", "learn"])])
def test_the_first_process_learns_to_read_and_the_others_take_it_from_there(rank, events, monkeypatch):
    processes = Watched(rank)
    monkeypatch.setattr(dit_run, "learn_to_read", lambda *_: processes.events.append("learn"))
    dit_run._first_lesson(DiTTraining(max_steps=1, text_steps=1), processes, None)
    assert processes.events == events


def test_a_process_that_finds_latents_measured_waits_as_the_others_do(tmp_path: Path):
    torch.manual_seed(0)
    save_module(tmp_path, VidVAE(TINY), TINY)
    given = DiTTraining(max_steps=1, vae=str(tmp_path), buckets=("5x32x32",), calibration_clips=4, dtype="fp32")
    for rank in (0, 1):
        processes = Watched(rank)
        vae = dit_run._calibrated_vae(given, None, processes, torch.device("cpu"))
        assert vae.config.latents_std
        assert processes.events == ["wait"]


def test_a_divided_checkpoint_of_another_model_is_one_line(tmp_path: Path):
    dist.init_process_group("gloo", f"file://{tmp_path}/meet", world_size=1, rank=0)
    try:
        mesh = init_device_mesh("cpu", (1,))
        one, longer = (distribute_tensor(torch.full((size,), 7.0), mesh, [Shard(0)]) for size in (3, 4))
        saver = ShardedSaver(tmp_path / "checkpoints", 2)
        saver.save(1, {"one": one}, {})
        saver.wait()
        saver.close()
        path = checkpoints(tmp_path / "checkpoints")[-1]
        found = {"one": torch.zeros_like(one)}
        load_sharded(path, found)
        assert found["one"].to_local().tolist() == [7, 7, 7]
        for other, says in (({"one": longer}, "Size mismatch"), ({"other": one}, r"2 names differ \(one, other\)")):
            with pytest.raises(UserError, match=f"another model's.*{says}.*give another out") as caught:
                load_sharded(path, other)
            assert "\n" not in str(caught.value)
    finally:
        dist.destroy_process_group()


def test_more_processes_than_accelerators_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with (
        pytest.raises(UserError, match="process 1 finds no accelerator, here are 1: set --nproc-per-node 1"),
        join(torch.device("cuda"), "ddp"),
    ):
        pass


@pytest.mark.slow
def test_two_processes_have_the_loss_curve_of_one(runs: Path):
    assert losses(runs / "muon2") == pytest.approx(losses(runs / "muon"), rel=1e-5)
    assert "1 more processes (ddp)" in (runs / "muon2/train.log").read_text()


@pytest.mark.slow
def test_two_processes_have_the_weighted_losses_and_the_figures_of_one(runs: Path):
    for name in ("loss", "gradient_norm", "plain_loss", "naming"):
        assert losses(runs / "things2", name) == pytest.approx(losses(runs / "things", name), rel=1e-5), name
    noise = [losses(runs / name, "loss/noise_3of4") for name in ("things2", "things")]
    assert noise[0] == pytest.approx(noise[1], rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("team", "alone"), [("muon-team", "muon"), ("fsdp-team", "adamw"), ("teams", "muon")])
def test_processes_that_share_each_clip_have_the_loss_curve_of_one(runs: Path, team: str, alone: str):
    """Clips of two latent frames are divided by a team of two; pictures go to one process or another."""
    assert losses(runs / team) == pytest.approx(losses(runs / alone), rel=1e-5)
    assert losses(runs / team, "gradient_norm") == pytest.approx(losses(runs / alone, "gradient_norm"), rel=1e-4)
    buckets = [line for line in (runs / team / "metrics.jsonl").read_text().splitlines() if "loss/1x32x32" in line]
    assert 0 < len(buckets) < 6


@pytest.mark.slow
def test_another_number_of_processes_continues_the_same_curve(runs: Path):
    assert losses(runs / "more") == pytest.approx(losses(runs / "all"), rel=1e-5)
    assert "continues at step 3" in (runs / "more/train.log").read_text()


@pytest.mark.slow
def test_divided_models_have_the_loss_curve_and_the_average_of_whole_ones(runs: Path):
    assert losses(runs / "fsdp2") == pytest.approx(losses(runs / "adamw"), rel=1e-5)
    for part in ("transformer", "text_encoder"):
        one, other = (load_state(runs / name / "model" / part) for name in ("adamw", "fsdp2"))
        assert one.keys() == other.keys()
        for name, tensor in one.items():
            torch.testing.assert_close(other[name], tensor, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_one_process_continues_what_two_divided(runs: Path):
    assert "continues at step 3" in (runs / "fsdp-then-alone/train.log").read_text()
    assert losses(runs / "fsdp-then-alone") == pytest.approx(losses(runs / "fsdp6"), rel=1e-5)


@pytest.mark.slow
def test_a_divided_model_is_measured_with_its_average_and_trains_on_with_its_weights(runs: Path):
    assert "val/loss" in (runs / "fsdp-watched/metrics.jsonl").read_text()
    assert losses(runs / "fsdp-watched") == losses(runs / "fsdp2")


@pytest.mark.slow
def test_a_divided_run_continues_from_its_sharded_checkpoint_which_is_safetensors_and_json(runs: Path):
    assert "continues at step 3" in (runs / "fsdp3/train.log").read_text()
    assert losses(runs / "fsdp3") == losses(runs / "fsdp6")
    kept = checkpoints(runs / "fsdp3/checkpoints")[-1]
    files = sorted(kept.iterdir())
    assert {file.suffix for file in files} == {".safetensors", ".json"}
    pieces = [file for file in files if file.suffix == ".safetensors"]
    assert len(pieces) >= 2
    with safe_open(pieces[0], framework="pt") as file:
        assert any(name.startswith("master/vdit.") for name in file.keys())  # noqa: SIM118

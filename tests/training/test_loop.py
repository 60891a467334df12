from __future__ import annotations

import json
import os
import signal
from itertools import count
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from toy import toy_options, toy_step

from videosyn.training.checkpoint import checkpoints
from videosyn.training.loop import TrainingBroke, train


def records(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(tmp_path: Path):
    whole = toy_step()
    assert train(toy_options(tmp_path / "whole"), whole) == "finished"

    def leave(step: int) -> None:
        if step == 8:
            os.kill(os.getpid(), signal.SIGTERM)

    first = toy_step(on_loss=leave)
    assert train(toy_options(tmp_path / "parts"), first) == "stopped"
    assert max(first.losses) == 8
    second = toy_step()
    assert train(toy_options(tmp_path / "parts"), second) == "finished"
    assert min(second.losses) == 9
    assert {**first.losses, **second.losses} == whole.losses
    files = [checkpoints(tmp_path / name / "checkpoints")[-1] / "state.safetensors" for name in ("whole", "parts")]
    one, other = (load_file(file) for file in files)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_resumed_run_with_spread_muon_is_bit_equal_too(tmp_path: Path):
    whole, halves = toy_step(), toy_step()
    train(toy_options(tmp_path / "whole", muon_every=3), whole)
    halves.on_loss = lambda step: os.kill(os.getpid(), signal.SIGTERM) if step == 10 else None
    train(toy_options(tmp_path / "parts", muon_every=3), halves)
    rest = toy_step()
    train(toy_options(tmp_path / "parts", muon_every=3), rest)
    assert {**halves.losses, **rest.losses} == whole.losses


def test_the_loss_falls(tmp_path: Path):
    step = toy_step()
    train(toy_options(tmp_path, max_steps=150, log_seconds=60, muon_lr=0.1, adamw_lr=0.05), step)
    losses = [step.losses[index] for index in range(150)]
    assert sum(losses[-10:]) < 0.2 * sum(losses[:10])


def test_the_saved_model_is_the_average_and_training_goes_on_with_the_weights(tmp_path: Path):
    step = toy_step()
    train(toy_options(tmp_path), step)
    state = load_file(checkpoints(tmp_path / "checkpoints")[-1] / "state.safetensors")
    assert torch.equal(step.saved[-1], state["average/0.weight"])
    assert torch.equal(step.model.get_parameter("0.weight"), state["master/0.weight"])


def test_minutes_are_counted_over_all_restarts(tmp_path: Path):
    def seconds(start: float = 0.0, rate: float = 0.5):
        ticks = count()
        return lambda: start + rate * next(ticks)

    first = toy_step()
    first.on_loss = lambda step: os.kill(os.getpid(), signal.SIGTERM) if step == 3 else None
    options = toy_options(tmp_path, max_steps=0, max_minutes=1.0)
    assert train(options, first, clock=seconds(start=1000)) == "stopped"
    used = json.loads((checkpoints(tmp_path / "checkpoints")[-1] / "state.json").read_text())["elapsed_s"]
    assert 0 < used < 60
    second = toy_step()
    assert train(options, second, clock=seconds(start=5)) == "finished"
    end = json.loads((checkpoints(tmp_path / "checkpoints")[-1] / "state.json").read_text())["elapsed_s"]
    assert 60 <= end < 75
    progress = [second.progress[step] for step in sorted(second.progress)]
    assert progress[0] >= used / 60
    third = toy_step()
    assert train(options, third, clock=seconds()) == "finished"
    assert not third.losses


def test_a_nan_stops_the_run_and_its_batch_is_written_down(tmp_path: Path):
    step = toy_step(broken_at=5)
    with pytest.raises(TrainingBroke, match="step 5"):
        train(toy_options(tmp_path), step)
    facts = json.loads((tmp_path / "broken-step-00000005" / "batch.json").read_text())
    assert facts["step"] == 5
    assert "loss nan" in facts["wrong"]
    assert load_file(tmp_path / "broken-step-00000005" / "batch.safetensors")["x"].isnan().all()
    assert torch.isfinite(step.model.get_parameter("0.weight")).all()


def test_a_run_leaves_metrics_a_log_a_sheet_and_two_checkpoints_without_pickles(tmp_path: Path):
    train(toy_options(tmp_path, save_minutes=1e-9, sample_minutes=1e-9, validate_minutes=1e-9), toy_step())
    lines = records(tmp_path)
    steps = [line for line in lines if "loss" in line]
    assert [line["step"] for line in steps] == list(range(1, 21))
    assert {"loss/toy", "lr_scale", "samples_per_s", "gradient_norm", "optimizer_share", "extra"} <= steps[0].keys()
    assert any("val/loss" in line for line in lines)
    assert len(list((tmp_path / "sheets").glob("*.png"))) == 20
    assert "ETA" in (tmp_path / "train.log").read_text()
    kept = checkpoints(tmp_path / "checkpoints")
    assert [path.name for path in kept] == ["step-00000019", "step-00000020"]
    assert {file.suffix for path in kept for file in path.iterdir()} == {".safetensors", ".json"}


def test_lines_of_steps_that_are_repeated_are_dropped(tmp_path: Path):
    train(toy_options(tmp_path, max_steps=4), toy_step())
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 9, "loss": 1.0}) + '\n{"step": 1')
    train(toy_options(tmp_path, max_steps=6), toy_step())
    assert [line["step"] for line in records(tmp_path) if "loss" in line] == [1, 2, 3, 4, 5, 6]

"""Kills, damage, full disks, broken batches: what a run bears."""

from __future__ import annotations

import datetime
import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from toy import toy_options, toy_step

from videosyn.core.errors import UserError
from videosyn.dataset import shards
from videosyn.training import checkpoint, record, run
from videosyn.training.checkpoint import checkpoints, load_checkpoint
from videosyn.training.draws import Draws
from videosyn.training.guard import Guard
from videosyn.training.loop import TrainingBroke, train
from videosyn.training.parallel import Processes, shard
from videosyn.training.parts import parts_of

RUN = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from toy import toy_options, toy_step
from videosyn.training.loop import train
step = toy_step(on_loss=lambda step: time.sleep(0.002))
train(toy_options(Path(sys.argv[1]), max_steps=60, save_minutes=1e-4, accumulate=2), step)
"""


def losses(folder: Path) -> dict[int, float]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines if "loss" in line}


def state(folder: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(checkpoints(folder / "checkpoints")[-1])[0]


@pytest.mark.slow
def test_a_run_killed_again_and_again_has_the_curve_of_one_left_alone(tmp_path: Path):
    program = RUN.format(tests=str(Path(__file__).parent))
    command = [sys.executable, "-c", program]
    subprocess.run([*command, str(tmp_path / "whole")], check=True, capture_output=True)
    rng, kills = random.Random(0), 0
    while True:
        process = subprocess.Popen([*command, str(tmp_path / "parts")], stderr=subprocess.DEVNULL)
        if kills < 3:
            log, lines = tmp_path / "parts" / "train.log", _lines(tmp_path / "parts")
            while process.poll() is None and not (log.exists() and _lines(tmp_path / "parts") > lines + 4):
                time.sleep(0.01)  # it is under way
            time.sleep(rng.random() * 0.1)
            process.send_signal(signal.SIGKILL)
            kills += 1
        if process.wait() == 0:
            break
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    one, other = state(tmp_path / "whole"), state(tmp_path / "parts")
    assert all(torch.equal(one[name], other[name]) for name in one)


def _lines(folder: Path) -> int:
    path = folder / "train.log"
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_a_damaged_checkpoint_is_skipped_with_a_warning(tmp_path: Path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(toy_options(whole), toy_step())
    leave = toy_step(on_loss=lambda step: os.kill(os.getpid(), signal.SIGTERM) if step == 12 else None)
    train(toy_options(parts, save_minutes=1e-9, keep_checkpoints=3), leave)
    kept = checkpoints(parts / "checkpoints")
    assert [path.name for path in kept] == ["step-00000011", "step-00000012", "step-00000013"]
    content = bytearray((kept[-1] / "state.safetensors").read_bytes())
    content[-5] ^= 1  # one bit, in a file of the right length
    (kept[-1] / "state.safetensors").write_bytes(content)
    (kept[-2] / "state.json").write_text("{")
    rest = toy_step()
    train(toy_options(parts), rest)
    assert min(rest.losses) == 11
    log = (parts / "train.log").read_text()
    assert log.count("a damaged checkpoint is skipped") == 2
    assert "step-00000013: state.safetensors is not the file that was written" in log
    one, other = state(whole), state(parts)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_full_disk_costs_a_checkpoint_not_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    save_file = checkpoint.save_tensors
    full = []

    def save_or_not(tensors, path):
        if 5 <= int(path.parent.name[6:14]) <= 8:
            full.append(path)
            raise OSError(errno.ENOSPC, "No space left on device")
        save_file(tensors, path)

    monkeypatch.setattr(checkpoint, "save_tensors", save_or_not)
    assert train(toy_options(tmp_path, save_minutes=1e-9), toy_step()) == "finished"
    assert len(full) == 4
    assert (tmp_path / "train.log").read_text().count("No space left on device") == 4
    assert checkpoints(tmp_path / "checkpoints")[-1].name == "step-00000020"
    monkeypatch.setattr(checkpoint, "save_tensors", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
    with pytest.raises(UserError, match=r"cannot save at step 25 .* free some space"):
        train(toy_options(tmp_path, max_steps=25), toy_step())
    assert checkpoints(tmp_path / "checkpoints")[-1].name == "step-00000020"


class Broken:
    """A tracker on a full disk."""

    asked = 0

    def numbers(self, step, values):
        Broken.asked += 1
        raise OSError(errno.ENOSPC, "No space left on device")

    picture = close = numbers


def test_a_tracker_on_a_full_disk_is_told_of_once_and_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(record, "trackers", lambda *_: [Broken()])
    assert train(toy_options(tmp_path), toy_step()) == "finished"
    assert Broken.asked == 1
    assert (tmp_path / "train.log").read_text().count("gets no more figures ([Errno 28] No space left on device)") == 1


def test_a_restart_on_a_full_disk_is_one_line_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    train(toy_options(tmp_path, max_steps=3), toy_step())
    kept = {name: (tmp_path / name).read_bytes() for name in ("options.json", "metrics.jsonl", "environment.json")}

    def full(path, *_, **__):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", full)
        with pytest.raises(UserError, match=r"cannot be written \(No space left on device\): free some space"):
            train(toy_options(tmp_path, max_steps=5), toy_step())
        with pytest.raises(UserError, match=r"cache cannot be written \(No space left on device\)"):
            shards.check_manifest(tmp_path / "cache", {"kind": "any"})
    assert {name: (tmp_path / name).read_bytes() for name in kept} == kept
    (tmp_path / "file").write_text("")
    for nowhere in (tmp_path / "file", tmp_path / "file/under"):
        with pytest.raises(UserError, match="cannot be written"):
            shards.check_manifest(nowhere, {"kind": "any"})
        with pytest.raises(UserError, match="cannot be written"):
            run._begin(toy_options(nowhere))


def test_options_that_changed_while_a_run_stood_are_told_of(tmp_path: Path):
    train(toy_options(tmp_path, max_steps=3), toy_step())
    train(toy_options(tmp_path, max_steps=5, seed=7, data="clips"), toy_step())
    log = (tmp_path / "train.log").read_text()
    assert "goes on with other options than it had: seed 0 -> 7, max_steps 3 -> 5, data  -> clips" in log
    assert json.loads((tmp_path / "options.json").read_text())["seed"] == 7
    train(toy_options(tmp_path, max_steps=5, seed=7, data="clips"), toy_step())
    assert (tmp_path / "train.log").read_text().count("other options") == 1


def test_what_is_measured_and_drawn_at_the_end_costs_no_checkpoint(tmp_path: Path):
    step = toy_step()

    def refuse(path):
        raise UserError("a word that the model does not know")

    step.sheet = refuse
    assert train(toy_options(tmp_path, sample_minutes=1e-9), step) == "finished"
    assert (tmp_path / "train.log").read_text().count("could not be drawn (a word that the model does not know)") == 21
    step = toy_step()
    step.validate = lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        train(toy_options(tmp_path / "other"), step)
    assert checkpoints(tmp_path / "other/checkpoints")[-1].name == "step-00000020"


FULL = OSError(errno.ENOSPC, "No space left on device")


def train_divided(rank: int, folder: Path) -> None:
    """Two processes that divide a model; another thing finds the disk full at steps 3, 5, 6 and 8, and at the end."""
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter

    torch.set_num_threads(1)
    patience = datetime.timedelta(seconds=60)
    dist.init_process_group("gloo", f"file://{folder}/meet", patience, 2, rank)

    def fails(module, name: str, on_rank: int, when) -> None:
        plain = getattr(module, name)

        def or_not(*arguments, **others):
            if rank == on_rank and when(*arguments):
                raise FULL
            return plain(*arguments, **others)

        setattr(module, name, or_not)

    step = toy_step()
    shard(step.model, [], torch.float32)
    step.save = lambda folder: None
    last = 12
    fails(step, "save", 0, lambda folder: max(step.losses) == 2)
    fails(checkpoint, "begin_checkpoint", 0, lambda folder, step: step == 5)
    fails(HuggingFaceStorageWriter, "write_data", 1, lambda writer, *_: "00000006" in str(writer.path))
    fails(checkpoint, "finish_checkpoint", 0, lambda folder, step, *_: step in (8, last))
    how = {"optimizer": "adamw", "save_minutes": 1e-9, "log_seconds": 60}
    with pytest.raises(UserError, match=f"cannot save at step {last} .*No space left on device"):
        train(toy_options(folder / "run", max_steps=last, **how), step, processes=Processes(rank, 2, "fsdp"))
    dist.destroy_process_group()


@pytest.mark.slow
def test_processes_that_divide_a_model_all_learn_that_a_disk_is_full_and_go_on(tmp_path: Path):
    mp.spawn(train_divided, (tmp_path,), nprocs=2)
    log = (tmp_path / "run/train.log").read_text()
    assert [f"at step {step} " in log for step in (3, 5)] == [True, True]
    assert [f"before step {step} " in log for step in (7, 9, 12)] == [True, True, True]
    assert log.count("No space left on device") == 6
    assert checkpoints(tmp_path / "run/checkpoints")[-1].name == "step-00000011"
    assert not list((tmp_path / "run/checkpoints").glob(".*"))


def test_a_broken_batch_is_skipped_if_told_so_and_leaves_no_trace_in_the_weights(tmp_path: Path):
    step = toy_step(broken_at=7)
    assert train(toy_options(tmp_path, on_broken="skip"), step) == "finished"
    assert sorted(step.losses) == list(range(20))
    assert (tmp_path / "broken-step-00000007" / "batch.safetensors").exists()
    assert "skipped (1 of at most 20)" in (tmp_path / "train.log").read_text()
    assert all(tensor.isfinite().all() for tensor in state(tmp_path).values())
    with pytest.raises(TrainingBroke):
        train(toy_options(tmp_path / "none", on_broken="skip", max_broken=0), toy_step(broken_at=7))


def test_a_run_resumed_after_a_skipped_batch_is_bit_equal(tmp_path: Path):
    how = {"on_broken": "skip", "muon_every": 2}
    whole = toy_step(broken_at=5)
    train(toy_options(tmp_path / "whole", **how), whole)
    leave = toy_step(broken_at=5, on_loss=lambda step: os.kill(os.getpid(), signal.SIGTERM) if step == 9 else None)
    train(toy_options(tmp_path / "parts", **how), leave)
    train(toy_options(tmp_path / "parts", **how), toy_step(broken_at=5))
    one, other = state(tmp_path / "whole"), state(tmp_path / "parts")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_spike_is_a_loss_far_above_its_buckets_mean():
    guard = Guard(spike_factor=3.0)
    for _ in range(30):
        assert guard.verdict("small", 1.0, 1.0) == ""
        assert guard.verdict("large", 10.0, 1.0) == ""
    assert "4.0 times the usual 1 of small" in guard.verdict("small", 4.0, 1.0)
    assert guard.verdict("large", 20.0, 1.0) == ""
    again = Guard(spike_factor=3.0)
    again.load(json.loads(json.dumps(guard.state())))
    assert again.state() == guard.state()
    assert Guard(0.0).verdict("any", 1e9, 1.0) == ""


def test_an_accumulated_batch_gives_the_update_of_the_whole(tmp_path: Path):
    runs = {}
    for accumulate in (1, 3):
        step = toy_step()
        train(toy_options(tmp_path / str(accumulate), accumulate=accumulate, optimizer="adamw"), step)
        runs[accumulate] = state(tmp_path / str(accumulate))
    for name, tensor in runs[1].items():
        torch.testing.assert_close(runs[3][name], tensor, rtol=1e-4, atol=1e-6)
    curves = [losses(tmp_path / str(accumulate)) for accumulate in (1, 3)]
    assert curves[0] == pytest.approx(curves[1], rel=1e-4)


def test_a_figure_is_that_of_all_parts_where_it_is_a_number(tmp_path: Path):
    step = toy_step()
    plain = step.loss

    def told(batch, draws, progress):
        return plain(batch, draws)[0], {"first": float(batch.first), "rare": 5.0 if batch.first else float("nan")}

    step.loss = told
    train(toy_options(tmp_path, accumulate=2, max_steps=1), step)
    line = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[0])
    assert (line["first"], line["rare"]) == (2.0, 5.0)


class Apart(Processes):
    """One of two processes whose machines have no disk in common: the other one sees an empty folder."""

    def wait(self) -> None: ...

    def gather(self, number: int) -> list[int]:
        return [number, -1]


def test_checkpoints_that_not_all_processes_see_are_refused(tmp_path: Path):
    train(toy_options(tmp_path, max_steps=3), toy_step())
    with pytest.raises(UserError, match=r"\(none, step 3\): out must be on a disk that all machines share"):
        train(toy_options(tmp_path, max_steps=5), toy_step(), processes=Apart(0, 2))


def test_parts_of_a_batch_know_their_places_and_draw_their_own_noise():
    batch = toy_step().batch(0, 0.0)
    parts = parts_of(batch, 3)
    assert [(part.first, part.size, part.whole) for part in parts] == [(0, 2, 8), (2, 3, 8), (5, 3, 8)]
    assert torch.equal(torch.cat([part.x for part in parts]), batch.x)
    whole = Draws(9, 8)
    drawn = [Draws(9, part.size, part.first, part.whole) for part in parts]
    assert torch.equal(torch.cat([each.normal(4) for each in drawn]), whole.normal(4))
    numbers = torch.randn(8, generator=whole.generator)
    assert torch.equal(torch.cat([each.own(torch.randn(8, generator=each.generator)) for each in drawn]), numbers)
    assert len({tuple(row.tolist()) for row in whole.normal(4)}) == 8


def test_a_run_leaves_its_curve_its_environment_and_its_events(tmp_path: Path):
    pytest.importorskip("tensorboard")
    from PIL import Image
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(toy_options(tmp_path, tensorboard=True), toy_step())
    with Image.open(tmp_path / "curve.png") as curve:
        colours = {colour for _, colour in curve.getcolors(1 << 16)}
    assert (31, 91, 180) in colours
    told = json.loads((tmp_path / "environment.json").read_text())
    assert (
        told["packages"]["torch"] == torch.__version__.split("+")[0] or told["packages"]["torch"] == torch.__version__
    )
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("loss")] == list(range(1, 21))

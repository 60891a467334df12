"""The scripts whose figures wait for an accelerator: rehearsed at a tiny size, so that they run when there is one."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def run(name: str, *flags: str) -> None:
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), "--device", "cpu", *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr


def test_sampling_overhead_times_the_vdit_and_the_decoder(tiny_folder: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "sampling_overhead.py"), "--model", str(tiny_folder), "--repeat", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    spent = re.search(r"last call: VDiT (\S+) s, decoder (\S+) s", done.stdout)
    assert spent, done.stdout
    assert all(float(seconds) > 0 for seconds in spent.groups()), done.stdout


def test_training_rate_measures_a_step_and_the_largest_batch(tmp_path: Path) -> None:
    flags = ["--model", "tiny", "--buckets", "5x32x32", "--largest", "3", "--rounds", "2", "--out", str(tmp_path)]
    run("training_rate", *flags)
    found = json.loads((tmp_path / "training.json").read_text())
    rate, step, largest = found["rate"], found["step 5x32x32"], found["largest batch 5x32x32"]
    assert largest["ran"] == step["batch"] == 3
    assert largest["predictor_allows"] > 3
    assert 0 < step["share_of_rate"] < 1
    assert abs(step["share_of_rate"] - step["teraflops"] / rate["teraflops"]) < 1e-6
    # 5 frames of 32x32: 2 latent frames of 4 tokens for each of the 3 clips
    assert abs(step["tokens_s"] * step["step_s"] - 3 * 2 * 4) < 1e-6


def test_paper_size_film_measures_every_part(tmp_path: Path) -> None:
    flags = ["--model", "tiny", "--size", "32x48", "--frames", "5", "--steps", "2", "--parts", "rate", "text", "film"]
    run("paper_size_film", *flags, "--out", str(tmp_path))
    found = json.loads((tmp_path / "film.json").read_text())
    film = found["film 5x32x48"]
    assert film["total_s"] >= film["denoising_s"] + film["decoding_s"]
    assert 0 < film["share_of_rate"] < 1
    assert (tmp_path / "film-5.mp4").stat().st_size > 0

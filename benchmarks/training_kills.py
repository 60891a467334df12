"""Twenty SIGKILLs at random moments, each followed by the same command: is the loss curve that of a run left alone?

    python benchmarks/training_kills.py [--kills 20]

A tiny VDiT learns on clips of the world, one line of metrics a step, a checkpoint every few steps.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from safetensors.torch import load_file

from videosyn.core.model_folder import save_module
from videosyn.vidvae.model import VidVAE
from videosyn.vidvae.presets import TINY


@dataclass(frozen=True)
class Config:
    kills: int = 20
    """How often the run is killed."""
    steps: int = 400
    """Steps of the run."""
    seed: int = 0
    """Decides the moments."""


def command(folder: Path, name: str, steps: int) -> list[str]:
    given = {
        "out": folder / name, "cache": folder / "latents", "vae": folder / "vae", "preset": "tiny", "max-steps": steps,
        "num-clips": 24, "num-images": 8, "batch-size": 4, "validation-clips": 2, "sheet-steps": 1, "dtype": "fp32",
        "log-seconds": 1e-9, "save-minutes": 0.002, "validate-minutes": 1, "sample-minutes": 1, "threads": 1,
        "workers": 0, "given-share": 0.3, "thing-weight": 2.0, "calibration-clips": 4,
    }  # fmt: skip
    flags = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    return [sys.executable, "-m", "videosyn.training.run", "dit", *flags, "--buckets", "5x32x32:3", "1x32x32:1",
            "--max-minutes", "0"]  # fmt: skip


def last_step(folder: Path) -> int:
    path = folder / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return max((json.loads(line)["step"] for line in lines if line.endswith("}")), default=0)


def curve(folder: Path) -> dict[int, float]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines if "loss" in line}


def main(config: Config) -> None:
    rng = random.Random(config.seed)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        torch.manual_seed(0)
        save_module(folder / "vae", VidVAE(TINY), TINY)
        subprocess.run(command(folder, "whole", config.steps), check=True, capture_output=True)
        killed, resumed_at = 0, []
        while killed < config.kills:
            before = last_step(folder / "parts")
            process = subprocess.Popen(command(folder, "parts", config.steps), stderr=subprocess.DEVNULL)
            least = before + rng.randrange(1, max(2, config.steps // config.kills))
            while process.poll() is None and last_step(folder / "parts") < min(least, config.steps - 2):
                time.sleep(rng.random() * 0.02)
            if process.poll() is not None:
                break
            process.kill()
            process.wait()
            killed += 1
            resumed_at.append(last_step(folder / "parts"))
        subprocess.run(command(folder, "parts", config.steps), check=True, capture_output=True)
        one, other = curve(folder / "whole"), curve(folder / "parts")
        states = [
            load_file(max((folder / name / "checkpoints").glob("step-*")) / "state.safetensors")
            for name in ("whole", "parts")
        ]
        same_state = all(torch.equal(states[0][name], states[1][name]) for name in states[0])
        print(f"{killed} kills, at steps {', '.join(map(str, resumed_at))}")
        print(f"{len(one)} losses, {'all bit-equal' if one == other else 'NOT equal'}; ", end="")
        print(f"weights, moments and averages {'bit-equal' if same_state else 'NOT equal'}")


if __name__ == "__main__":
    main(tyro.cli(Config))

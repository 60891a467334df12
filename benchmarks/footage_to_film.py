"""Real footage to a film of a model trained on it, at nano's size, by the commands that users type: the time of each.

    python benchmarks/footage_to_film.py FOOTAGE [--steps 40]

curate -> dry run -> cache -> train -> generate, in a scratch folder. Sources without captions get the words of their
names. So few steps teach nothing worth seeing: what is measured is that the path is whole, and what it takes.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import tyro
import yaml
from tyro.conf import Positional

from videosyn.core.video_file import read_video
from videosyn.curation.sources import may_be_video
from videosyn.weights import shipped_folder


@dataclass(frozen=True)
class Config:
    footage: Positional[Path]
    """A folder of videos."""
    steps: int = 40
    """Steps of training."""
    workers: int = 2
    """Processes that curate, decode and encode."""


def main(config: Config) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        count = with_captions(config.footage, folder / "footage")
        print(f"{count} sources, {os.cpu_count()} cores, {config.workers} workers")
        (folder / "train.yaml").write_text(yaml.safe_dump(training(folder, config)))
        workers = ("--workers", str(config.workers))
        timed("curate", folder, "curate", "footage", "-o", "dataset", "--captions.captioner", "sidecar", *workers)
        rows = timed("dry run", folder, "train", "dit", "train.yaml", "--dry-run")
        timed("cache", folder, "cache", "train.yaml")
        timed(f"train, {config.steps} steps", folder, "train", "dit", "train.yaml")
        prompt = json.loads((folder / "footage/captions.jsonl").read_text().splitlines()[0])["caption"]
        timed("generate", folder, "generate", prompt, "--model", "run/model", "-o", "film.mp4", "--steps", "10")
        print(re.sub(r"\n\s*\n", "\n", rows))
        lines = [json.loads(line) for line in (folder / "run/metrics.jsonl").read_text().splitlines()]
        losses = [line["loss"] for line in lines if "loss" in line]
        print(f"loss {losses[0]:.3f} at the first line of the log, {losses[-1]:.3f} at the last")
        frames, fps = read_video(folder / "film.mp4")
    print(f"film: {len(frames)} frames of {frames.shape[1]}x{frames.shape[2]} at {fps:g} a second")


def with_captions(footage: Path, folder: Path) -> int:
    """Links to the videos, and captions.jsonl: of the folder if it has one, else the words of their names."""
    folder.mkdir()
    videos = sorted(path for path in footage.iterdir() if path.is_file() and may_be_video(path.name))
    for path in videos:
        (folder / path.name).symlink_to(path.resolve())
    own = footage / "captions.jsonl"
    rows = [{"file_name": path.name, "caption": " ".join(re.findall("[a-z]+", path.stem.lower()))} for path in videos]
    text = own.read_text() if own.exists() else "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "captions.jsonl").write_text(text)
    return len(videos)


def training(folder: Path, config: Config) -> dict:
    return {
        "out": "run", "data": "dataset", "cache": "latents", "vae": str(Path(str(shipped_folder("nano"))) / "vae"),
        "preset": "nano", "buckets": ["17x96x160:3", "17x96x96:1", "1x96x160:1"], "clip_fps": 8, "drop_unfit": True,
        "batch_size": 4, "max_steps": config.steps, "workers": config.workers, "given_share": 0.1, "sheet_steps": 4,
    }  # fmt: skip


def timed(what: str, folder: Path, *words: str) -> str:
    """Runs `videosyn WORDS`, prints its time -> what it printed."""
    begin = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "videosyn", *words], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"videosyn {' '.join(words)} failed:\n{done.stderr[-3000:]}")
    print(f"{what:16} {time.perf_counter() - begin:6.1f} s", flush=True)
    return done.stdout


if __name__ == "__main__":
    main(tyro.cli(Config))

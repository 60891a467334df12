"""What training costs beside the models: the loop over a bare step, and the time a step waits for its batch.

    python benchmarks/training_loop.py                      the loop's overhead, nano, on the world's latents in memory
    python benchmarks/training_loop.py --data DATASET       also: waiting, with clips decoded as training goes

The overhead is a ratio of medians, bare and looped steps in turns, so that a busy machine slows both.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from videosyn.dataset.batches import WHOLE, LatentBatch, Share
from videosyn.dataset.buckets import Bucket
from videosyn.diffusion.flow import FlowMatching
from videosyn.sampling.pipeline import VideoSynPipeline
from videosyn.training.dit_step import DiTStep
from videosyn.training.draws import Draws
from videosyn.training.loop import _Run
from videosyn.training.options import DiTTraining
from videosyn.training.parallel import Processes
from videosyn.training.prefetch import Prefetch
from videosyn.training.run import run_dit
from videosyn.weights import shipped_folder


@dataclass(frozen=True)
class Config:
    data: str = ""
    """A curated dataset; empty: only the overhead is measured."""
    rounds: int = 12
    """Bare and looped steps, each."""
    batch: int = 8
    """Clips of 17x96x96 in a step."""
    waiting_steps: int = 40
    """Steps over which waiting is measured."""
    workers: int = 2
    """Decoding processes."""


class _Latents:
    """Batches that cost nothing to make."""

    def __init__(self, batch: int) -> None:
        self.latents = torch.randn(batch, 16, 5, 12, 12)

    def batch(self, step, buckets, sizes, share: Share = WHOLE) -> LatentBatch:
        size = len(self.latents)
        captions = ("a red ball bounces on the grass",) * size
        return LatentBatch("17x96x96", step, 17, tuple(range(size)), captions, self.latents, whole=size)


def overhead(config: Config) -> float:
    """Time of a looped step over forward, backward and optimizer alone."""
    pipeline = VideoSynPipeline.from_pretrained("nano", device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        options = DiTTraining(out=folder, max_steps=10**6, batch_size=config.batch, log_seconds=1e9)
        pipeline = VideoSynPipeline(pipeline.vae, pipeline.vdit, pipeline.text_encoder, FlowMatching(64))
        step = DiTStep(options, pipeline, _Latents(config.batch), (Bucket(17, 96, 96),), [])
        run = _Run(options, step, time.monotonic, Processes())
        batches = Prefetch(lambda index: step.batch(index, 0.5, WHOLE), 0)
        batch = step.batch(0, 0.5, WHOLE)

        def bare() -> None:
            loss, _ = step.loss(batch, Draws(1, batch.size, device=step.device), 0.5)
            loss.backward()
            run.optimizer.take()
            run.optimizer.apply(1.0, run.optimizer.norm().item())

        times: dict[str, list[float]] = {"bare": [], "looped": []}
        for _ in range(config.rounds + 1):
            for name, act in (("bare", bare), ("looped", lambda: run._one_step(batches))):
                begin = time.perf_counter()
                act()
                times[name].append(time.perf_counter() - begin)
        batches.close()
        run.saver.close()
        run.record.close()
    medians = {name: statistics.median(each[1:]) for name, each in times.items()}
    return medians["looped"] / medians["bare"]


def waiting(config: Config) -> float:
    """Share of the time that steps wait, nano, clips decoded and encoded in the step; the first step is not counted."""
    with tempfile.TemporaryDirectory() as folder:
        options = DiTTraining(
            out=folder, data=config.data, vae=str(Path(str(shipped_folder("nano"))) / "vae"), cached=False,
            buckets=("17x96x160:80", "1x96x160:20"), batch_size=4, max_steps=config.waiting_steps, log_seconds=1e-9,
            clip_fps=8, drop_unfit=True, prefetch=4, workers=config.workers, prompts=("a film",), sheet_steps=1,
        )  # fmt: skip
        run_dit(options)
        lines = [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]
        steps = [line for line in lines if "loss" in line][1:]
        return sum(line["wait_share"] * line["step_s"] for line in steps) / sum(line["step_s"] for line in steps)


def main(config: Config) -> None:
    print(f"a step of the loop takes {overhead(config):.3f} times the bare forward, backward and optimizer step")
    if config.data:
        print(f"steps wait {waiting(config):.1%} of the time for clips that {config.workers} processes decode")


if __name__ == "__main__":
    main(tyro.cli(Config))

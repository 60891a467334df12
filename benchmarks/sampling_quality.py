"""What fewer and cheaper steps save, and what they cost: seconds, adherence to the prompt, distance to many steps.

    python benchmarks/sampling_quality.py [--model nano] [--prompts 48] [--only euler-12,ab2-12]

Each way makes the same held-out prompts with the same seeds. Seconds: of whole calls, the processor's (so that other
programs count little), as the median over batches of the ratio to the model's default way, which runs in the same
round. PSNR: to the film of many steps, in dB; a way of guiding that aims at another film loses there without being
worse. Adherence: the judge's, in per cent of all that the prompts name, with the standard error of the difference to
the default, prompt by prompt; and in per cent of prompts of which everything is right.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from typing import Any, TextIO

import numpy as np
import torch

from videosyn.evaluation.comparison import adherence
from videosyn.evaluation.judge.judge import judge
from videosyn.sampling.pipeline import VideoSynPipeline
from videosyn.world.parsed import to_parsed
from videosyn.world.prompts import held_out_prompts

MANY = {"sampler": "heun", "num_steps": 25}
"""49 predictions, of second order."""
DEFAULT = "euler-25"
WAYS: dict[str, dict[str, Any]] = {
    DEFAULT: {"num_steps": 25},
    "euler-12": {"num_steps": 12},
    "heun-6": {"num_steps": 6, "sampler": "heun"},
    "ab2-12": {"num_steps": 12, "sampler": "ab2"},
    "ab2-8": {"num_steps": 8, "sampler": "ab2"},
    "dpm++-12": {"num_steps": 12, "sampler": "dpm++"},
    "unipc-12": {"num_steps": 12, "sampler": "unipc"},
    "guidance-0.1-0.9": {"num_steps": 25, "guidance_interval": (0.1, 0.9)},
    "guidance-0.3-1": {"num_steps": 25, "guidance_interval": (0.3, 1.0)},
    "cache-0.1": {"num_steps": 25, "cache_threshold": 0.1},
    "cache-0.2": {"num_steps": 25, "cache_threshold": 0.2},
    "int8": {"num_steps": 25, "memory": "int8"},
    "fp8": {"num_steps": 25, "memory": "fp8"},
    "heun-12": {"num_steps": 12, "sampler": "heun"},
    "euler-50": {"num_steps": 50},
    "unipc-8": {"num_steps": 8, "sampler": "unipc"},
    "shift-3": {"num_steps": 12, "sampler": "ab2", "shift": 3.0},
}


def psnr_db(film: np.ndarray, other: np.ndarray) -> float:
    error = np.square(film.astype(np.float64) - other).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-6)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--prompts", type=int, default=48)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="ways, joined by commas; the default always runs")
    parser.add_argument("--unjudged", action="store_true", help="seconds and distances alone")
    options = parser.parse_args()
    ways = {name: WAYS[name] for name in WAYS if not options.only or name in (DEFAULT, *options.only.split(","))}
    pipelines = {
        memory: VideoSynPipeline.from_pretrained(options.model, device="cpu", memory=memory)
        for memory in {"full", *(way.get("memory", "full") for way in ways.values())}
    }
    pipeline = pipelines["full"]
    asked = held_out_prompts(options.prompts, options.seed)
    truths = [to_parsed(scene, pipeline.defaults.num_frames) for _, scene in asked]
    prompts = [text for text, _ in asked]

    def make(prompts: list[str], seed: int, memory: str = "full", **way: Any) -> np.ndarray:
        return pipelines[memory](prompts, seed=seed, **way).frames

    for way in ways.values():
        make(prompts[:1], 0, **{**way, "num_steps": 2})  # imports, first calls

    ratios: dict[str, list[float]] = {name: [] for name in ways}
    distances: dict[str, list[float]] = {name: [] for name in ways}
    rights: dict[str, list[list[bool]]] = {name: [] for name in ways}
    for start in range(0, len(prompts), options.batch):
        some = slice(start, start + options.batch)
        seed = options.seed + start
        many = make(prompts[some], seed, **MANY)
        seconds = {}
        for name, way in ways.items():
            began = time.process_time()
            films = make(prompts[some], seed, **way)
            seconds[name] = time.process_time() - began
            for film, exact, truth in zip(films, many, truths[some]):
                distances[name].append(psnr_db(film, exact))
                rights[name].append([] if options.unjudged else list(adherence(truth, judge(film)).values()))
        for name in ways:
            ratios[name].append(seconds[name] / seconds[DEFAULT])

        write(rights, ratios, distances, sys.stderr)

    print(f"model {options.model}, {len(prompts)} prompts, {torch.get_num_threads()} threads, {pipeline.dtype}")
    write(rights, ratios, distances, sys.stdout)


def write(
    rights: dict[str, list[list[bool]]], ratios: dict[str, list[float]], distances: dict[str, list[float]], to: TextIO
) -> None:
    """The table of all prompts so far."""
    count = len(rights[DEFAULT])
    print(
        f"\n{count:3} prompts{'':13} {'seconds':>8} {'PSNR dB':>8} {'right %':>8} {'± diff':>7} {'all %':>6}", file=to
    )
    for name in rights:
        words = f"{name:24} {statistics.median(ratios[name]):8.2f} {statistics.mean(distances[name]):8.1f}"
        if rights[name][0]:
            base, right = (np.array([statistics.mean(each) for each in rights[way]]) for way in (DEFAULT, name))
            error = 100 * (right - base).std(ddof=1) / count**0.5
            whole = 100 * statistics.mean(all(each) for each in rights[name])
            words += f" {100 * right.mean():8.1f} {error:7.1f} {whole:6.1f}"
        print(words, file=to, flush=True)


if __name__ == "__main__":
    main()

"""Which share of the sampling loop's time is spent inside the VDiT and the decoder. Target: at least 85 %.

    python benchmarks/sampling_overhead.py [--model FOLDER] [--videos 1] [--repeat 5]

Without --model: the shipped nano model, or where it is missing the NANO presets with random weights, equally fast.
"""

from __future__ import annotations

import argparse
import time

import torch
from models import nano_or_random


def timed(function, spent: dict[str, float], name: str):
    """`function`, adding the seconds of each call to spent[name]."""

    def call(*arguments, **options):
        start = time.perf_counter()
        try:
            return function(*arguments, **options)
        finally:
            spent[name] += time.perf_counter() - start

    return call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--videos", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    pipeline, what = nano_or_random(options.model)
    assert pipeline.device.type == "cpu", "times of an accelerator's calls need synchronisation"
    prompts = ["a red ball bounces on the grass at sunset"] * options.videos
    pipeline(prompts, num_steps=2)  # warm
    spent = {"VDiT": 0.0, "decoder": 0.0}
    pipeline.vdit.forward = timed(pipeline.vdit.forward, spent, "VDiT")
    pipeline.vae.decoder.forward = timed(pipeline.vae.decoder.forward, spent, "decoder")
    shares, totals = [], []
    for _ in range(options.repeat):
        spent.update(dict.fromkeys(spent, 0.0))
        start = time.perf_counter()
        pipeline(prompts)
        totals.append(time.perf_counter() - start)
        if not all(spent.values()):
            raise SystemExit(f"nothing was timed, so the pipeline goes another way than this script thinks: {spent}")
        shares.append(sum(spent.values()) / totals[-1])
    print(f"{what}, {options.videos} videos, {torch.get_num_threads()} threads, {pipeline.dtype}")
    print(f"median call {sorted(totals)[len(totals) // 2]:.2f} s; share inside VDiT and decoder, median "
          f"{100 * sorted(shares)[len(shares) // 2]:.1f} %, worst {100 * min(shares):.1f} %")  # fmt: skip
    print("last call: " + ", ".join(f"{name} {seconds:.4f} s" for name, seconds in spent.items()))


if __name__ == "__main__":
    main()

"""What `generate --compile` gains: whole calls, plain and with the VDiT's block compiled by inductor, in paired rounds.

    python benchmarks/compile_gain.py [--steps 8] [--width 512] [--rounds 5] [--dtype auto] [--device cpu]

Two models: nano, and one of its depth and of more width with random weights. Ratios are of the same round, after a call
that warms up; that of the compiled model gives the seconds of compiling: what it takes beyond later ones. Frames are
compared as bytes.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import statistics
import time

import numpy as np
import torch
from models import random_of

from videosyn.core.runtime import pick_device, pick_dtype
from videosyn.sampling.pipeline import VideoSynPipeline
from videosyn.vdit.presets import NANO

PROMPT = "a red ball bounces on the grass at sunset"


def random_wide(width: int, device: torch.device, dtype: torch.dtype) -> VideoSynPipeline:
    """nano's depth and heads of its width. Weights that start at zero, and would hide differences, do not here."""
    torch.manual_seed(0)
    pipeline = random_of(dataclasses.replace(NANO, width=width, num_heads=width // NANO.head_width))
    for parameter in pipeline.vdit.parameters():
        if parameter.requires_grad and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    for model in (pipeline.vae, pipeline.vdit, pipeline.text_encoder):
        model.to(device, dtype)
    return pipeline


def measured(name: str, plain: VideoSynPipeline, num_steps: int, rounds: int) -> str:
    """A row of the table."""

    def film(pipeline: VideoSynPipeline) -> tuple[float, np.ndarray]:
        begin = time.perf_counter()
        frames = pipeline(PROMPT, num_steps=num_steps).frames  # on the host: the device has finished
        return time.perf_counter() - begin, frames

    compiled = copy.deepcopy(plain)
    torch.compiler.reset()
    compiled.compile()
    _, expected = film(plain)
    first, frames = film(compiled)
    pairs = [(film(plain)[0], film(compiled)[0]) for _ in range(rounds)]
    own, theirs = (statistics.median(each) for each in zip(*pairs))
    ratio = statistics.median(slow / fast for slow, fast in pairs)
    apart = np.abs(frames.astype(int) - expected)
    seconds = f"{own:.2f} | {theirs:.2f} | {ratio:.2f} | {first - theirs:.0f}"
    return f"| {name} | {seconds} | {apart.max()} ({apart.mean():.3f}) |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = pick_device(options.device)
    dtype = pick_dtype(options.dtype, device)
    print(f"17 frames of 96x96, {options.steps} steps, {options.rounds} rounds, {options.threads} threads, {dtype}\n")
    print("| model | plain, s | compiled, s | plain / compiled | compiling, s | largest difference of a byte (mean) |")
    print("|---|---|---|---|---|---|")
    nano = VideoSynPipeline.from_pretrained("nano", str(device), options.dtype)
    print(measured("nano", nano, options.steps, options.rounds), flush=True)
    wide = random_wide(options.width, device, dtype)
    print(measured(f"random, width {options.width}", wide, options.steps, options.rounds))


if __name__ == "__main__":
    main()

"""Memory and time as the cost model predicts them from shapes, beside what is measured, at five shapes, on the CPU.

    python benchmarks/cost_model.py [--threads 1] [--dtype fp32] [--cases 0 1 2 3 4]

Layers of the paper's widths, few blocks, and nano as a whole; each in a process of its own. Memory: the resident peak
above what is there after a small first call. With one thread seconds are the processor's, which other programs do not
change; with more they are the clock's.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from peak import Peak

from videosyn.sampling.duration import decoding_seconds, forward_seconds, predicted_duration
from videosyn.sampling.fitting import footprint
from videosyn.sampling.footprint import Footprint
from videosyn.vdit.cost import Load, working_bytes
from videosyn.vdit.presets import XL as VDIT_XL
from videosyn.vidvae.presets import XL as VAE_XL

CASES = (
    ("vdit", 17, 128, 128),
    ("vdit", 33, 256, 256),
    ("half vae", 9, 128, 128),
    ("vae", 5, 128, 128),
    ("nano", 17, 96, 96),
)
"""what, frames, height, width"""
TEXT_TOKENS = 120
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def timed(run: Callable[[], object], clock: Callable[[], float]) -> tuple[int, float]:
    """-> (peak bytes, seconds)."""
    watched, begin = Peak(), clock()
    run()
    return watched.bytes, clock() - begin


def of_vdit(dtype: torch.dtype, size: tuple[int, int, int], clock: Callable[[], float]) -> tuple[float, ...]:
    """One block of the paper's width, both sides of guidance."""
    from videosyn.vdit.model import VDiT

    config = dataclasses.replace(VDIT_XL, depth=1, text_width=1152, null_text_tokens=0)
    vdit = VDiT(config).to(dtype).eval()
    frames, height, width = 1 + (size[0] - 1) // 4, size[1] // 8, size[2] // 8

    def run(frames: int, height: int, width: int) -> None:
        text, mask = torch.randn(2, TEXT_TOKENS, 1152).to(dtype), torch.ones(2, TEXT_TOKENS, dtype=torch.bool)
        latents = torch.randn(2, 4, frames, height, width).to(dtype)
        vdit(latents, torch.tensor([500.0, 500.0]), text, mask, torch.tensor([8.0, 8.0]))

    run(2, 4, 4)
    measured = timed(lambda: run(frames, height, width), clock)
    load = Load(2, frames, height * width // 4, TEXT_TOKENS)
    return *measured, working_bytes(config, load, dtype.itemsize, "cpu"), forward_seconds(vdit, load, clock)


def of_vae(dtype: torch.dtype, size: tuple[int, int, int], clock: Callable[[], float], half: bool) -> tuple[float, ...]:
    """Decoding with the paper's VidVAE, or one of half its widths."""
    from videosyn.vidvae.model import VidVAE

    narrow = dataclasses.replace(VAE_XL, encoder_widths=(32,) * 4, decoder_widths=(64, 128, 256, 256))
    config = narrow if half else VAE_XL
    vae = VidVAE(config).to(dtype).eval()
    shape = (1 + (size[0] - 1) // 4, size[1] // 8, size[2] // 8)

    def run(*shape: int) -> None:
        for _ in vae.decode_pieces(torch.randn(1, 4, *shape).to(dtype)):
            pass

    run(2, 2, 2)
    measured = timed(lambda: run(*shape), clock)
    model = Footprint(VDIT_XL, config, dtype.itemsize, "cpu")
    return *measured, model.decoding_bytes(1, *size), decoding_seconds(vae, *size, clock)


def of_nano(dtype: torch.dtype, size: tuple[int, int, int], clock: Callable[[], float]) -> tuple[float, ...]:
    """The whole of nano: a prompt, 4 guided steps, decoding."""
    from models import nano_or_random

    pipeline, _ = nano_or_random("nano")
    for model in (pipeline.vae, pipeline.vdit, pipeline.text_encoder):
        model.to(dtype)
    settings = dict(zip(("num_frames", "height", "width"), size), num_steps=4)
    pipeline("a red ball", **settings | {"num_frames": 5, "height": 32, "width": 32, "num_steps": 1})
    measured = timed(lambda: pipeline("a red ball", **settings), clock)
    model, asked = footprint(pipeline), pipeline.defaults.updated(**settings)
    predicted = max(model.denoising_bytes(1, *size), model.decoding_bytes(1, *size) + model.host_bytes(1, *size))
    return *measured, predicted, predicted_duration(pipeline, asked, clock).total_s


def child(number: int, dtype: torch.dtype, threads: int) -> None:
    """Prints one case as JSON: measured bytes and seconds, predicted bytes and seconds."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    clock = time.process_time if threads == 1 else time.perf_counter
    what, *size = CASES[number]
    size = (size[0], size[1], size[2])
    with torch.inference_mode(False), torch.no_grad():
        if what == "vdit":
            found = of_vdit(dtype, size, clock)
        elif what == "nano":
            found = of_nano(dtype, size, clock)
        else:
            found = of_vae(dtype, size, clock, half=what == "half vae")
    print(json.dumps(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", choices=list(DTYPES), default="fp32")
    parser.add_argument("--cases", type=int, nargs="+", default=list(range(len(CASES))))
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        child(options.child, DTYPES[options.dtype], options.threads)
        return
    print(f"{options.dtype}, {options.threads} threads; predicted / measured")
    for number in options.cases:
        what, frames, height, width = CASES[number]
        words = ["--child", number, "--dtype", options.dtype, "--threads", options.threads]
        done = subprocess.run([sys.executable, __file__, *map(str, words)], check=True, capture_output=True, text=True)
        peak, seconds, predicted_peak, predicted_s = json.loads(done.stdout.splitlines()[-1])
        print(
            f"{what:9} {frames:3} x {height}x{width}: memory {predicted_peak / 1e6:6.0f} / {peak / 1e6:6.0f} MB "
            f"= {predicted_peak / peak:.2f}, time {predicted_s:6.2f} / {seconds:6.2f} s = {predicted_s / seconds:.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()

"""Frames a second that a nano VidVAE encodes and decodes, and the same of diffusers' AutoencoderKL, as ratios.

    python benchmarks/vae_speed.py [--model nano] [--size 96] [--frames 17] [--threads 2]

Without --model: the NANO preset with random weights; with it, the VidVAE of a model's folder, or of the shipped nano.
The image VAE has its decoder's widths and works frame by frame, without compressing time. Both run in turn in the same
process, in bf16 where the CPU computes in it. Ratios hold on a busy machine; frames a second do not.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from diffusers import AutoencoderKL

from videosyn.core.runtime import pick_dtype
from videosyn.evaluation.sources import open_vae
from videosyn.vidvae.model import VidVAE
from videosyn.vidvae.presets import NANO


def seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--frames", type=int, default=17)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeat", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    dtype = pick_dtype("auto", torch.device("cpu"))
    nano = open_vae(options.model, "cpu", "auto") if options.model else VidVAE(NANO).to(dtype).eval()
    widths = nano.config.decoder_widths
    widths = (widths[0], *widths)  # one scale more, for nano folds the finest into channels
    image_vae = AutoencoderKL(
        block_out_channels=widths,
        down_block_types=("DownEncoderBlock2D",) * len(widths),
        up_block_types=("UpDecoderBlock2D",) * len(widths),
        latent_channels=nano.config.latent_channels,
        norm_num_groups=16,
    )
    image_vae = image_vae.to(dtype).eval()  # pyright: ignore
    size, frames = options.size, options.frames
    with torch.inference_mode():
        video = (torch.rand(1, 3, frames, size, size) * 2 - 1).to(dtype)
        images = video[0].transpose(0, 1).contiguous()  # (T, 3, H, W)
        latents, image_latents = nano.encode(video), image_vae.encode(images).latent_dist.mode()
        runs = {
            "encode": (lambda: nano.encode(video), lambda: image_vae.encode(images)),
            "decode": (lambda: nano.decode(latents), lambda: image_vae.decode(image_latents)),
        }
        print(f"VidVAE: {options.model or 'the NANO preset, random weights'}")
        print(f"{frames} frames of {size}x{size}, {options.threads} threads, {dtype}, medians of {options.repeat} runs")
        for name, (ours, theirs) in runs.items():
            pairs = [(seconds(ours), seconds(theirs)) for _ in range(options.repeat + 1)][1:]
            own, other = (frames / sorted(times)[len(times) // 2] for times in zip(*pairs))
            ratio = sorted(b / a for a, b in pairs)[len(pairs) // 2]
            print(f"{name}: VidVAE {own:.0f} frames/s, AutoencoderKL {other:.0f} frames/s, ratio {ratio:.1f}")


if __name__ == "__main__":
    main()

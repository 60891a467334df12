"""VidVAE at the paper's size against diffusers' video VAEs of that size: speed as ratios, peak memory above weights.

    python benchmarks/paper_size_vae.py [--size 128] [--frames 17] [--dtypes fp32 bf16] [--rounds 3] [--peers ...]

Random weights, one process after the other so that no model pays for another's memory; in each round every model runs
once, and ratios are of the same round. Also: the peak of decoding a long video, handed on frame by frame, over that of
17 frames (--long 257). CPU, the threads given.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

import torch
from peak import Peak

PEERS = ("AutoencoderKLHunyuanVideo", "AutoencoderKLCogVideoX", "AutoencoderKLWan")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def open_model(name: str, dtype: torch.dtype):
    """-> the model, encode and decode as functions of tensors (B, C, T, H, W)."""
    torch.manual_seed(0)
    if name == "VidVAE":
        from videosyn.vidvae.model import VidVAE
        from videosyn.vidvae.presets import XL

        vae = VidVAE(XL).to(dtype).eval()
        return vae, vae.encode, vae.decode
    import diffusers

    vae = getattr(diffusers, name)().to(dtype).eval()
    return vae, lambda video: vae.encode(video).latent_dist.mode(), lambda latents: vae.decode(latents).sample


def child(name: str, dtype: str, frames: int, size: int, threads: int, what: str) -> None:
    """Prints one measurement as JSON: seconds, peak bytes above the loaded model, millions of parameters."""
    torch.set_num_threads(threads)
    model, encode, decode = open_model(name, DTYPES[dtype])
    with torch.inference_mode():  # models made within it are several times slower on CPUs
        once(model, encode, decode, dtype, frames, size, what)


def once(model, encode, decode, dtype: str, frames: int, size: int, what: str) -> None:
    torch.manual_seed(1)
    small = (torch.rand(1, 3, 5, 64, 64) * 2 - 1).to(DTYPES[dtype])
    latents = encode(small)  # warms up, and says which shape latents have
    decode(latents)
    video = (torch.rand(1, 3, frames, size, size) * 2 - 1).to(DTYPES[dtype])
    later = 1 + (frames - 1) // 4
    given = torch.randn(1, latents.shape[1], later, size // 8, size // 8).to(DTYPES[dtype])
    watched = Peak()
    begin = time.perf_counter()
    if what == "encode":
        encode(video)
    elif what == "decode":
        decode(given)
    else:
        from videosyn.vidvae.streaming import decode_stream

        for _ in decode_stream(model, given.split(1, 2)):
            pass
    seconds = time.perf_counter() - begin
    peak = watched.bytes
    count = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    print(json.dumps({"seconds": seconds, "peak": peak, "parameters": count}))


def measure(options: argparse.Namespace, name: str, dtype: str, frames: int, what: str) -> dict[str, float]:
    words = [name, dtype, frames, options.size, options.threads, what]
    made = subprocess.run(
        [sys.executable, __file__, "--child", *map(str, words)], check=True, capture_output=True, text=True
    )
    return json.loads(made.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--frames", type=int, default=17)
    parser.add_argument("--dtypes", nargs="+", default=list(DTYPES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--peers", nargs="*", default=list(PEERS))
    parser.add_argument("--long", type=int, default=0)
    parser.add_argument("--child", nargs=6, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        name, dtype, frames, size, threads, what = options.child
        child(name, dtype, int(frames), int(size), int(threads), what)
        return
    print(f"{options.frames} frames of {options.size}x{options.size}, {options.threads} threads, random weights")
    for dtype in options.dtypes:
        for what in ("encode", "decode"):
            rounds = [
                {name: measure(options, name, dtype, options.frames, what) for name in ("VidVAE", *options.peers)}
                for _ in range(options.rounds)
            ]
            for name in ("VidVAE", *options.peers):
                rate = statistics.median(options.frames / each[name]["seconds"] for each in rounds)
                ratio = statistics.median(each[name]["seconds"] / each["VidVAE"]["seconds"] for each in rounds)
                peak = statistics.median(each[name]["peak"] for each in rounds) / 2**20
                print(
                    f"{dtype} {what} {name} ({rounds[0][name]['parameters']:.0f} M): {rate:.2f} frames/s, VidVAE is "
                    f"{ratio:.2f} times as fast, peak {peak:.0f} MiB"
                )
    if options.long:
        short, long = (measure(options, "VidVAE", "bf16", frames, "stream") for frames in (17, options.long))
        print(f"decoding {options.long} frames one by one: peak {long['peak'] / short['peak']:.2f} of that for 17")


if __name__ == "__main__":
    main()

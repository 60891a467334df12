"""VDiT at the paper's width against diffusers' Latte of the same width and depth, and against this machine's matmul.

    python benchmarks/paper_size_vdit.py [--depth 4] [--shapes 5x32x32 17x64x64] [--dtype bf16] [--rounds 3]

Random weights, 28 blocks by default as in the paper; fewer (--depth) for a quick look, which changes both alike. Ratios
are of the same round. The share of the matmul rate counts multiplications of weights and of attention alone.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from collections.abc import Callable

import torch

from videosyn.vdit.model import VDiT
from videosyn.vdit.presets import XL

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
TEXT_TOKENS = 120


def seconds(function: Callable[[], object]) -> float:
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def matmul_rate(dtype: torch.dtype) -> float:
    """Floating-point operations a second of a large product."""
    a, b = torch.randn(2048, 4096).to(dtype), torch.randn(4096, 4096).to(dtype)
    return statistics.median(2 * 2048 * 4096 * 4096 / seconds(lambda: a @ b) for _ in range(5))


def operations(shape: tuple[int, int, int], depth: int) -> float:
    """Of one forward of VDiT: weights and attention."""
    frames, places, width = shape[0], shape[1] * shape[2] // 4, XL.width
    tokens = frames * places
    weights = 2 * tokens * width**2 * (4 + 4 + 2 + 8) + 2 * TEXT_TOKENS * 2 * width**2
    attention = 4 * tokens * width * (places + frames + TEXT_TOKENS)
    return depth * (weights + attention)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depth", type=int, default=XL.depth)
    parser.add_argument("--shapes", nargs="+", default=["5x32x32", "17x64x64"])
    parser.add_argument("--dtype", choices=list(DTYPES), default="bf16")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    from diffusers import LatteTransformer3DModel

    torch.set_num_threads(options.threads)
    dtype = DTYPES[options.dtype]
    rate = matmul_rate(dtype)
    print(f"{options.depth} blocks of width {XL.width}, {options.dtype}, matmul {rate / 1e9:.0f} GFLOP/s")
    vdit = VDiT(dataclasses.replace(XL, depth=options.depth, text_width=1152, null_text_tokens=0)).to(dtype).eval()
    for words in options.shapes:
        frames, height, width = shape = tuple(map(int, words.split("x")))
        latte = LatteTransformer3DModel(
            num_attention_heads=16,
            attention_head_dim=72,
            in_channels=4,
            out_channels=8,
            num_layers=options.depth,
            sample_size=height,
            patch_size=2,
            cross_attention_dim=1152,
            caption_channels=1152,
            attention_bias=True,
            activation_fn="gelu-approximate",
            num_embeds_ada_norm=1000,
            norm_type="ada_norm_single",
            norm_elementwise_affine=False,
            norm_eps=1e-6,
            video_length=frames,
        )
        latte = latte.to(dtype).eval()
        latents = torch.randn(1, 4, frames, height, width).to(dtype)
        text, mask = torch.randn(1, TEXT_TOKENS, 1152).to(dtype), torch.ones(1, TEXT_TOKENS, dtype=torch.bool)
        time_, fps = torch.tensor([500.0]), torch.tensor([8.0])

        def ours() -> object:
            return vdit(latents, time_, text, mask, fps)  # noqa: B023 (called within this turn)

        def theirs() -> object:
            return latte(latents, timestep=time_.long(), encoder_hidden_states=text)  # noqa: B023

        with torch.inference_mode():  # models made within it are several times slower on CPUs
            ours(), theirs()
            pairs = [(seconds(ours), seconds(theirs)) for _ in range(options.rounds)]
        own = statistics.median(pair[0] for pair in pairs)
        tokens = frames * height * width // 4
        share = operations(shape, options.depth) / own / rate
        ratio = statistics.median(theirs_s / ours_s for ours_s, theirs_s in pairs)
        print(f"{words}: VDiT {tokens / own:.0f} tokens/s, {ratio:.2f} times Latte's, {share:.2f} of the matmul rate")


if __name__ == "__main__":
    main()

"""Memory of an accelerator that paper-size generation is predicted to take, by the cost model alone, per --memory.

    python benchmarks/predicted_memory.py

VidVAE 246 M, VDiT 767 M, T5-XXL (4.76 billion), bf16, guidance; nothing is loaded and nothing run.
"""

from __future__ import annotations

from typing import Any, get_args

import torch
from transformers import T5Config, T5EncoderModel

from videosyn.sampling.footprint import Footprint
from videosyn.sampling.memory_mode import Memory, MemoryMode
from videosyn.sampling.weight_memory import weight_memory
from videosyn.vdit.model import VDiT
from videosyn.vdit.presets import XL
from videosyn.vidvae import presets
from videosyn.vidvae.model import VidVAE

T5_XXL = {"d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24, "num_heads": 64}
TILE_PX = 512
SHAPES = ((113, 720, 1280, 0), (113, 720, 1280, TILE_PX), (337, 720, 1280, 0), (113, 480, 848, 0))


def main() -> None:
    with torch.device("meta"):
        vae = VidVAE(presets.XL).to(torch.bfloat16)
        vdit = VDiT(XL).to(torch.bfloat16)
        text: Any = T5EncoderModel(T5Config(vocab_size=32128, feed_forward_proj="gated-gelu", **T5_XXL))
        text = text.to(torch.bfloat16)
    model = Footprint(XL, presets.XL, torch.bfloat16.itemsize, "cuda")
    working = {
        f"{frames} x {height}p{', tiled' * bool(tile_px)}": model.predicted_bytes(1, frames, height, width, tile_px)
        for frames, height, width, tile_px in SHAPES
    }
    print(f"{'--memory':14} {'reading':>8} {'denoising':>10}  " + "  ".join(f"{name:>17}" for name in working))
    for name in get_args(Memory):
        weights = weight_memory(vae, vdit, text, MemoryMode.named(name), text.encoder.block)
        peaks = [max(weights.reading, weights.denoising + each) for each in working.values()]
        print(f"{name:14} {weights.reading / 1e9:8.1f} {weights.denoising / 1e9:10.1f}  "
              + "  ".join(f"{peak / 1e9:17.1f}" for peak in peaks))  # fmt: skip
    print("GB: weights while prompts are read and while denoising; then the peak of it all, by frames and size")


if __name__ == "__main__":
    main()

"""The captioner at the paper's size, random weights, on a real clip: do the four parts fit together?

    python benchmarks/captioner_paper_size.py FILE [--dtype fp32] [--max-new-tokens 8]

4 frames of the file -> ViT-H/14 (729 tokens a frame) -> 128 tokens a frame -> 128 tokens of memory -> Phi-3-mini. fp32
wants 19 GB. Prints shapes, parameters, seconds and the peak of the process.
"""

from __future__ import annotations

import argparse
import resource
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from videosyn.captioner.model import Captioner
from videosyn.captioner.presets import PAPER
from videosyn.captioner.tokenizer import make_tokenizer
from videosyn.core.looking import look_at
from videosyn.core.runtime import pick_device, pick_dtype


def build(dtype: torch.dtype, device: torch.device, max_new_tokens: int) -> Captioner:
    """Random weights, drawn in place: nothing of the model is in memory twice."""
    tokenizer = make_tokenizer(["a video of a street, where a car drives by"] * 4, 300)  # Phi-3's own is not at hand
    with torch.device("meta"):
        model = Captioner(replace(PAPER, max_new_tokens=max_new_tokens), tokenizer).to(dtype)
    model.to_empty(device=device)
    torch.manual_seed(0)
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=0.02)
            else:
                nn.init.constant_(parameter, float("norm" in type(module).__name__.lower() and name == "weight"))
        for name, buffer in module.named_buffers(recurse=False):
            if name == "position_ids":
                buffer.copy_(torch.arange(buffer.shape[-1]).expand_as(buffer))
            elif name.endswith("inv_freq"):
                width = PAPER.language["hidden_size"] // PAPER.language["num_attention_heads"]
                buffer.copy_(1 / 10_000 ** (torch.arange(0, width, 2) / width))
    return model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--max-new-tokens", type=int, default=8)
    options = parser.parse_args()
    device = pick_device(options.device)
    began = time.perf_counter()
    model = build(pick_dtype(options.dtype, device), device, options.max_new_tokens)
    for name, part in model.named_children():
        print(f"{name}: {sum(each.numel() for each in part.parameters()) / 1e6:.1f} M parameters")
    print(f"built in {time.perf_counter() - began:.0f} s")
    look = look_at(options.file, PAPER.num_frames, 2 * PAPER.image_px)
    with torch.inference_mode():
        for name in ("vision", "resampler"):
            getattr(model, name).register_forward_hook(
                lambda part, given, made, name=name: print(f"{name}: {tuple(given[0].shape)} -> {tuple(made.shape)}")
            )
        began = time.perf_counter()
        pictures = model.pictures(torch.from_numpy(look.frames)[None])
        memory = model.watch(pictures, torch.tensor([look.times]).to(device))
        print(f"{len(look.frames)} frames of {look.num_frames} -> memory {tuple(memory.shape)} in {_since(began)}")
        began = time.perf_counter()
        (text,) = model.say(memory)
        print(f"-> {options.max_new_tokens} tokens in {_since(began)} (of random weights): {text[:60]!r}")
    print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB")


def _since(began: float) -> str:
    return f"{time.perf_counter() - began:.1f} s"


if __name__ == "__main__":
    main()

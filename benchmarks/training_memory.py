"""Memory of a training step, measured and predicted: a VDiT's forward and backward pass on a CPU, in fresh processes.

    python benchmarks/training_memory.py [--preset nano]

Measured: how the peak of the resident memory grows from a few clips to many, by clip. Predicted: `training/memory.py`.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from dataclasses import dataclass

import torch
import tyro

from videosyn.training.blocks import blocks_of, recompute
from videosyn.training.memory import vdit_kept_bytes
from videosyn.vdit.model import VDiT
from videosyn.vdit.presets import PRESETS

TEXT_TOKENS = 32


@dataclass(frozen=True)
class Config:
    preset: str = "nano"
    """The VDiT's size."""
    size: tuple[int, int, int] = (5, 12, 12)
    """Latents t, h, w of a clip."""
    few: int = 8
    many: int = 32
    """Clips at once."""
    clips: int = 0
    """Only this many, and the peak is printed: what the fresh processes do."""
    checkpointing: bool = False


def peak_bytes(config: Config) -> int:
    torch.manual_seed(0)
    shape = PRESETS[config.preset]
    model = VDiT(shape).bfloat16()
    if config.checkpointing:
        recompute(blocks_of(model))
    clips = config.clips
    latents = torch.randn(clips, shape.num_in_channels, *config.size)
    text, mask = torch.randn(clips, TEXT_TOKENS, shape.text_width), torch.ones(clips, TEXT_TOKENS, dtype=torch.bool)
    out = model(latents, torch.rand(clips) * 1000, text, mask, torch.full((clips,), 8.0))
    out.float().square().mean().backward()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main(config: Config) -> None:
    if config.clips:
        print(peak_bytes(config))
        return
    for checkpointing in (False, True):
        peaks = []
        for clips in (config.few, config.many):
            flags = ["--preset", config.preset, "--size", *map(str, config.size), "--clips", str(clips)]
            flags += ["--checkpointing"] if checkpointing else []
            done = subprocess.run([sys.executable, __file__, *flags], capture_output=True, text=True, check=True)
            peaks.append(int(done.stdout))
        measured = (peaks[1] - peaks[0]) / (config.many - config.few)
        predicted = vdit_kept_bytes(PRESETS[config.preset], config.size, TEXT_TOKENS, torch.bfloat16, checkpointing)
        how = "recomputing blocks" if checkpointing else "keeping everything"
        print(f"{config.preset}, {how}: measured {measured / 1e6:.2f} MB a clip, predicted {predicted / 1e6:.2f} MB")


if __name__ == "__main__":
    main(tyro.cli(Config))

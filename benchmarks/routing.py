"""How much faster a training step of the nano VDiT is with tokens routed around its middle blocks.

    python benchmarks/routing.py                    # forward and backward of 32 clips of 17x96x96, shares 1 and 0.55

Median of paired rounds, as a ratio; `routed_share` in a training's options does this to its steps.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import tyro

from videosyn.training.cpu_runtime import tune


@dataclass(frozen=True)
class Config:
    share: float = 0.55
    """Part of a frame's tokens that pass the middle blocks."""
    clips: int = 32
    rounds: int = 5


def main(config: Config) -> None:
    tune()
    import torch

    from videosyn.vdit.model import VDiT
    from videosyn.vdit.presets import NANO

    torch.manual_seed(0)
    vdit = VDiT(NANO).train()
    latents = torch.randn(config.clips, NANO.num_in_channels, 5, 12, 12)
    times, text = torch.rand(config.clips) * 1000, torch.randn(config.clips, 24, NANO.text_width)
    mask = torch.ones(config.clips, 24, dtype=torch.bool)
    places = (12 // NANO.patch_size) ** 2
    kept = round(config.share * places)
    routed = torch.stack([torch.randperm(places)[:kept].sort().values for _ in range(config.clips)])

    def seconds(way: torch.Tensor | None) -> float:
        begin = time.perf_counter()
        vdit(latents, times, text, mask, routed=way).square().mean().backward()
        vdit.zero_grad()
        return time.perf_counter() - begin

    seconds(None), seconds(routed)
    pairs = [(seconds(None), seconds(routed)) for _ in range(config.rounds)]
    ratio = statistics.median(whole / part for whole, part in pairs)
    print(
        f"{kept} of {places} tokens of a frame through blocks {vdit.middle.start + 1} to {vdit.middle.stop}: ", end=""
    )
    print(f"{ratio:.2f} times the steps (median of {config.rounds} paired rounds)")


if __name__ == "__main__":
    main(tyro.cli(Config))

"""Trains one of the ablation's two VidVAEs: nano as it is, or nano that does not compress time and is else the same.

    python examples/ablation_vae.py with|without configs/ablation_vae.yaml [--field value ...]

`max_minutes` counts the CPU time of the thread that trains, not the clock on the wall: an equal budget stays equal on a
machine that has other work, or while a run is halted.
"""

from __future__ import annotations

import dataclasses
import sys
import time

import tyro

from videosyn.core.config import load_yaml
from videosyn.core.errors import UserError
from videosyn.training.options import VAETraining
from videosyn.training.run import STOPPED, run_vae
from videosyn.vidvae import presets

FRAMES = "nano_frames"


def main() -> int:
    """Exit codes as `videosyn train`: 0 finished, 2 a user's mistake, 3 stopped before the end."""
    if len(sys.argv) < 3 or sys.argv[1] not in ("with", "without"):
        print(__doc__, file=sys.stderr)
        return 2
    # The steps in time of the encoder and the decoder become steps of space alone: 17 frames stay 17 latent frames.
    # Kernels that look back in time stay, so that the two differ in compression and nothing else.
    setattr(presets, FRAMES.upper(), dataclasses.replace(presets.NANO, time_halvings=0))
    try:
        options = tyro.cli(VAETraining, args=sys.argv[3:], default=load_yaml(VAETraining, sys.argv[2]))
        if sys.argv[1] == "without":
            options = dataclasses.replace(options, preset=FRAMES)
        return 0 if run_vae(options, time.thread_time) == "finished" else STOPPED
    except UserError as error:
        print(f"videosyn: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())

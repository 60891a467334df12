"""Whether `evaluate reconstruction` takes more memory for more clips: the peak for many over that for few.

    python benchmarks/evaluation_memory.py [--few 8] [--many 64]

A tiny VidVAE of random weights on clips of the world, a process each; 1.0 is flat.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path


def child(num_clips: int) -> None:
    """Prints the peak of a run, in bytes."""
    import torch

    from videosyn.core.model_folder import save_module
    from videosyn.evaluation.options import ReconstructionConfig
    from videosyn.evaluation.reconstruction import run
    from videosyn.vidvae.model import VidVAE
    from videosyn.vidvae.presets import TINY

    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nowhere:
        save_module(Path(folder) / "vae", VidVAE(TINY), TINY)
        config = ReconstructionConfig(
            (f"{folder}/vae",), shapes=("17x128x128",), num_clips=num_clips, output=Path(folder) / "out", dtype="fp32"
        )
        with contextlib.redirect_stdout(nowhere):
            run(config)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--few", type=int, default=8)
    parser.add_argument("--many", type=int, default=64)
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child)
        return
    few, many = (
        int(subprocess.run([sys.executable, __file__, "--child", str(count)], check=True, capture_output=True).stdout)
        for count in (options.few, options.many)
    )
    print(
        f"peak {few / 2**20:.0f} MiB for {options.few} clips, {many / 2**20:.0f} for {options.many}: {many / few:.3f}"
    )


if __name__ == "__main__":
    main()

"""Whether `core/memory.py` predicts enough: measured peaks of whole calls beside the predicted ones, on the CPU.

    python benchmarks/memory.py

Each request runs in a process of its own; a ratio below 1 is safe, one above 1 means the constants are too small.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

REQUESTS = ((1, 17, 96, 96), (8, 17, 96, 96), (1, 65, 128, 128), (1, 17, 256, 256))


def measure(num_videos: int, num_frames: int, height: int, width: int) -> None:
    """Prints the peak above what the loaded models take, and the prediction, in bytes."""
    from models import nano_or_random

    from videosyn.sampling.fitting import footprint

    pipeline, _ = nano_or_random("nano")
    status = Path("/proc/self/status").read_text().splitlines()
    resident_kb = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    pipeline(["a red ball"] * num_videos, num_frames=num_frames, height=height, width=width, num_steps=1)
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    predicted = footprint(pipeline).predicted_bytes(num_videos, num_frames, height, width)
    print((peak_kb - resident_kb) * 1024, predicted)


def main() -> None:
    if len(sys.argv) > 1:
        measure(*map(int, sys.argv[1:]))
        return
    for request in REQUESTS:
        words = [sys.executable, __file__, *map(str, request)]
        measured, predicted = map(int, subprocess.run(words, check=True, capture_output=True, text=True).stdout.split())
        print(
            "{} x {} frames of {}x{}: ".format(*request)
            + f"measured {measured / 1e6:.0f} MB, predicted {predicted / 1e6:.0f} MB, ratio {measured / predicted:.2f}"
        )


if __name__ == "__main__":
    main()

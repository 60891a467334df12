"""Seconds from the shell, imports included: `videosyn --help` (at most 0.5 s) and one 17-frame clip (at most 5 s).

python benchmarks/startup.py [--model FOLDER] [--repeat 5]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from models import random_nano

from videosyn.core.errors import UserError
from videosyn.sampling.model_index import find_model


def median_s(words: list[str], repeat: int) -> float:
    """Median wall time of a command, after one run that fills the disk cache."""
    seconds = []
    for _ in range(repeat + 1):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "videosyn", *words], check=True, capture_output=True)
        seconds.append(time.perf_counter() - start)
    return sorted(seconds[1:])[repeat // 2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = options.model
        try:
            find_model(model)
        except UserError:
            model = str(Path(folder) / "random")
            random_nano().save_pretrained(model, int8=True)
            print("no shipped model here: NANO presets with random weights")
        generate = ["generate", "a red ball bounces on the grass at sunset", "-o", str(Path(folder) / "ball.mp4")]
        print(f"videosyn --help           {median_s(['--help'], options.repeat):.2f} s")
        print(f"videosyn generate --help  {median_s(['generate', '--help'], options.repeat):.2f} s")
        print(f"videosyn generate         {median_s([*generate, '--model', model], options.repeat):.2f} s")


if __name__ == "__main__":
    main()

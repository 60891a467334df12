"""Is a run that is killed again and again the run that never was? SIGKILL at random moments, then the same command.

    python benchmarks/curation_kills.py [--kills 20] [--films 6] [--seconds 20] [--seed 0] [--folder FOLDER]

Compares the finished dataset with an undisturbed run's: every clip's bytes and both tables, byte for byte.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from curation_table import draw_films


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--films", type=int, default=6)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        if options.folder is None:
            draw_films(place / "films", options.films, options.seconds)
        footage = options.folder or place / "films"
        begin = time.perf_counter()
        run(footage, place / "calm").wait()
        whole_s = time.perf_counter() - begin
        killed = 0
        while killed < options.kills:
            process = run(footage, place / "killed")
            try:
                # Starting takes seconds in which nothing is done; the moments lie anywhere in the run, and it advances.
                process.wait(rng.uniform(0.1, 2.5) * whole_s / max(options.kills / 4, 1) + 2.0)
                break
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                killed += 1
        code = run(footage, place / "killed").wait()
        calm, disturbed = contents(place / "calm"), contents(place / "killed")
    print(f"killed {killed} times, then run to its end (exit code {code}); an undisturbed run took {whole_s:.0f} s")
    differing = sorted(name for name in calm.keys() | disturbed.keys() if calm.get(name) != disturbed.get(name))
    print(f"{len(calm)} files compared, {len(differing)} differ", *differing[:10])
    sys.exit(bool(differing) or bool(code))


def run(footage: Path, dataset: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "videosyn", "curate", str(footage), "-o", str(dataset)]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )  # a group of its own, so that its workers die with it


def contents(dataset: Path) -> dict[str, str]:
    """Clips and tables -> their digests. The report tells times, which no two runs share."""
    paths = [*sorted((dataset / "clips").glob("*")), dataset / "metadata.parquet", dataset / "rejected.parquet"]
    return {path.name: hashlib.blake2b(path.read_bytes()).hexdigest() for path in paths if path.is_file()}


if __name__ == "__main__":
    main()

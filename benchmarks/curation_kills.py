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
        calm = contents(place / "calm")
        killed, finished, differing = 0, 0, set[str]()
        while killed < options.kills:  # a run that comes to its end before the last kill is compared, then another
            finished += 1
            dataset = place / f"killed_{finished}"
            killed += kill_until_finished(footage, dataset, options.kills - killed, whole_s, rng)
            disturbed = contents(dataset)
            differing |= {name for name in calm.keys() | disturbed.keys() if calm.get(name) != disturbed.get(name)}
    print(f"{killed} kills over {finished} runs of the same footage; an undisturbed run takes {whole_s:.0f} s")
    print(f"{len(calm)} files of each compared, {len(differing)} differ", *sorted(differing)[:10])
    sys.exit(bool(differing))


def kill_until_finished(footage: Path, dataset: Path, kills: int, whole_s: float, rng: random.Random) -> int:
    """Starts the same command until it comes to its end, killing it at most `kills` times -> how often it was."""
    for killed in range(kills):
        process = run(footage, dataset)
        try:
            code = process.wait(rng.uniform(0.2, 0.4 * whole_s))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        else:
            assert code == 0, f"exit code {code}"
            return killed
    assert run(footage, dataset).wait() == 0
    return kills


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

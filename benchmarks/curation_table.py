"""The paper's Table 5 with ours beside it: time and pass rate of every stage, one after the other and pipelined.

    python benchmarks/curation_table.py [--films 12] [--seconds 40] [--cores 2] [--folder FOLDER]

On drawn 720p films of several shots each, some of them subtitled, some standing still, some copies of others at 480p;
or on a folder of videos. One worker does all stages one after the other; then, into a fresh dataset, as many workers as
cores take whatever stage has work. Times are for 1,000 clips that reach a stage; the paper's are its own machines'.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from curation_speed import FPS, draw
from curation_text import subtitle
from PIL import Image

from videosyn.core.video_file import read_video, write_video
from videosyn.curation.config import CurationConfig
from videosyn.curation.ledger import Ledger
from videosyn.curation.local_engine import run_local
from videosyn.curation.results import Result
from videosyn.curation.sources import find_sources
from videosyn.curation.stage_times import PIPELINED_MIN, SEQUENTIAL_MIN, TABLE_5, funnel


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=12)
    parser.add_argument("--seconds", type=int, default=40)
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        if options.folder is None:
            draw_films(place / "films", options.films, options.seconds)
        sources = find_sources([str(options.folder or place / "films")])
        result, one_after_the_other_s = curate(sources, place / "sequential", workers=1)
        _, pipelined_s = curate(sources, place / "pipelined", workers=options.cores)
    print_table(result)
    clips = len(result.clips)
    per_1000 = 1000 / clips / 60
    print(f"{len(sources)} sources, {clips} clips found, {len(result.kept)} kept")
    print(
        f"1,000 clips found: {one_after_the_other_s * per_1000:.1f} min with one worker, {pipelined_s * per_1000:.1f} "
        f"with {options.cores}: {one_after_the_other_s / pipelined_s:.2f} times as fast (the paper, a machine a stage: "
        f"{SEQUENTIAL_MIN:g} and {PIPELINED_MIN:g} min, {SEQUENTIAL_MIN / PIPELINED_MIN:.1f} times)"
    )


def curate(sources: list[str], dataset: Path, workers: int) -> tuple[Result, float]:
    """-> what the ledger knows at the end, and the wall seconds of the run."""
    begin = time.perf_counter()
    run_local(CurationConfig(), sources, dataset, workers)
    seconds = time.perf_counter() - begin
    ledger = Ledger(str(dataset / ".curation" / "ledger.sqlite"))
    try:
        return ledger.result(), seconds
    finally:
        ledger.database.close()


def print_table(result: Result) -> None:
    """Seconds inside each stage's code, as minutes for 1,000 clips that reach it."""
    seconds = {timing.stage: timing.seconds for timing in result.timings}
    steps = {step.stage: step for step in funnel(result)}
    print(f"{'stage':<18}{'min per 1,000':>14}{'pass rate':>12}{'paper: min':>12}{'pass rate':>12}")
    for row in TABLE_5:
        spent = sum(seconds.get(stage, 0.0) for stage in row.stages)
        entered = max((steps[stage].entered for stage in row.stages if stage in steps), default=len(result.clips))
        gone = sum(steps[stage].rejected for stage in row.stages if stage in steps)
        minutes = f"{spent / max(entered, 1) * 1000 / 60:.2f}"
        passed = f"{100 * (1 - gone / max(entered, 1)):.1f} %"
        paper_minutes = "-" if row.minutes is None else f"{row.minutes:g}"
        paper_passed = "-" if row.pass_rate is None else f"{row.pass_rate:g} %"
        print(f"{row.title:<18}{minutes:>14}{passed:>12}{paper_minutes:>12}{paper_passed:>12}")


def draw_films(folder: Path, count: int, seconds: int) -> None:
    """Of every six: three plain, one subtitled, one that stands still, one a copy of the first at 480p."""
    folder.mkdir()
    for index in range(count):
        path = folder / f"film_{index:02d}.mp4"
        kind = ("plain", "plain", "plain", "subtitled", "still", "copy")[index % 6]
        if kind == "plain":
            draw(path, seconds, index)
            continue
        first = folder / f"film_{index // 6 * 6:02d}.mp4"
        if not first.exists():
            draw(first, seconds, index // 6 * 6)
        frames = read_video(first)[0][: seconds * FPS]
        if kind == "subtitled":
            pictures = [Image.fromarray(frame[:, ::-1]) for frame in frames]
            for picture in pictures:
                subtitle(picture, "It was the last night of summer", 30)
            frames = np.stack([np.asarray(picture) for picture in pictures])
        elif kind == "still":
            frames = np.repeat(frames[len(frames) // 2][None], len(frames), 0)
        else:
            frames = np.stack([np.asarray(Image.fromarray(frame).resize((854, 480))) for frame in frames])
        write_video(path, frames, float(FPS))


if __name__ == "__main__":
    main()

"""Hard cuts found: precision, recall and F1 of curation, and of PySceneDetect's two detectors alone.

    python benchmarks/curation_cuts.py [--footage FOLDER] [--films 12] [--seed 500000] [--tolerance 2]

On films of drawn scenes with known cuts, and on a folder of footage where there is one: its footage.json says, per
file, the first frame after each cut (`cuts_by_eye`). No figure here is a time.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch

from videosyn.core.errors import UserError
from videosyn.core.video_file import write_video
from videosyn.curation.config import CurationConfig, ShotsConfig
from videosyn.curation.probe import num_spans, probe
from videosyn.curation.scan import Scan
from videosyn.curation.shots import Shots
from videosyn.curation.work import Work
from videosyn.world.render import render
from videosyn.world.scene import sample_scene

Finder = Callable[[Path], list[int]]


@dataclass
class Count:
    """Cuts found, found where there is none, and missed."""

    right: int = 0
    wrong: int = 0
    missed: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(self.right + other.right, self.wrong + other.wrong, self.missed + other.missed)

    def __str__(self) -> str:
        found, there = self.right + self.wrong, self.right + self.missed
        precision = self.right / found if found else 1.0
        recall = self.right / there if there else 1.0
        f1 = 2 * self.right / (found + there) if found + there else 1.0
        return (
            f"precision {precision:.2f} recall {recall:.2f} F1 {f1:.3f} ({self.right} of {there}, {self.wrong} false)"
        )


def compare(found: list[int], there: list[int], tolerance: int) -> tuple[Count, list[int], list[int]]:
    """Each cut counts once. -> counts, false cuts, missed cuts."""
    left = sorted(found)
    missed = []
    for cut in sorted(there):
        near = [each for each in left if abs(each - cut) <= tolerance]
        if near:
            left.remove(min(near, key=lambda each: abs(each - cut)))
        else:
            missed.append(cut)
    return Count(len(there) - len(missed), len(left), len(missed)), left, missed


def ours(path: Path) -> list[int]:
    config = CurationConfig(shots=ShotsConfig())
    stage = Shots(config)
    stage.setup()
    with tempfile.TemporaryDirectory() as folder:
        work, source = Work(folder), probe(str(path))
        for span in range(num_spans(source, config.shots)):
            stage.process_span(source, span, work)
        return np.flatnonzero(Scan.load(work, source).cut).tolist()


def alone(name: str) -> Finder:
    """PySceneDetect as it comes."""

    def find(path: Path) -> list[int]:
        import scenedetect

        detector = scenedetect.AdaptiveDetector() if name == "adaptive" else scenedetect.ContentDetector()
        return [scene[0].frame_num for scene in scenedetect.detect(str(path), detector)[1:]]

    return find


FINDERS: dict[str, Finder] = {"ours": ours, "adaptive alone": alone("adaptive"), "content alone": alone("content")}


def measure(title: str, films: dict[Path, list[int]], tolerance: int) -> None:
    print(f"== {title}: {len(films)} files, {sum(map(len, films.values()))} cuts, tolerance {tolerance} frames")
    totals = {name: Count() for name in FINDERS}
    for path, there in films.items():
        for name, find in FINDERS.items():
            try:
                count, wrong, missed = compare(find(path), there, tolerance)
            except UserError as error:
                print(f"{path.name}: {error}")
                break
            except Exception as error:  # what PySceneDetect or its backend cannot read
                print(f"{path.name}: {name}: {type(error).__name__}: {error}")
                count, wrong, missed = Count(0, 0, len(there)), [], there
            totals[name] += count
            if wrong or missed:
                print(f"{path.name}: {name}: false {wrong}, missed {missed}")
    for name, count in totals.items():
        print(f"{name:15s} {count}")


def drawn_films(folder: Path, num_films: int, seed: int) -> dict[Path, list[int]]:
    """Films of eight drawn scenes each, of random lengths and frame rates."""
    films = {}
    for film in range(num_films):
        rng = random.Random(seed + film)
        fps = rng.choice([8, 12, 24])
        lengths = [rng.randint(10, 40) for _ in range(8)]
        scenes = [sample_scene(seed + film * 100 + shot) for shot in range(len(lengths))]
        shots = [render([scene], length, 96, 128, fps=fps)[0].numpy() for scene, length in zip(scenes, lengths)]
        path = folder / f"drawn_{film:02d}.mp4"
        write_video(path, np.concatenate(shots), fps)
        films[path] = list(accumulate(lengths))[:-1]
    return films


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--footage", type=Path, default=None)
    parser.add_argument("--films", type=int, default=12)
    parser.add_argument("--seed", type=int, default=500_000)
    parser.add_argument("--tolerance", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        films = drawn_films(Path(folder), options.films, options.seed)
        measure(f"drawn films, seed {options.seed}", films, options.tolerance)
    if options.footage is None:
        print("no folder of footage was given: only drawn films were measured")
        return
    facts = options.footage / "footage.json"
    if not facts.is_file():
        sys.exit(f"{facts} does not exist: it says where the cuts are")
    entries = json.loads(facts.read_text(encoding="utf-8")).items()
    films = {options.footage / name: entry["cuts_by_eye"] for name, entry in entries}
    measure(f"footage in {options.footage}", films, options.tolerance)


if __name__ == "__main__":
    main()

"""Overlaid text: which files are caught, which are dropped by mistake, and the seconds a clip takes on one core.

python benchmarks/curation_text.py [FOLDER] [--generated 12] [--frames 3] [--plain]

FOLDER holds videos and a footage.json, {file name: {"overlaid_text": true or false}}. A marked file is caught where
any of its clips goes; any clip of another file that goes is a false drop. Shots of any length are judged. Generated
footage: world scenes enlarged to 720p, half of them with one or two lines of subtitles for 2.5 of 6 seconds.
At most 0.25 s a clip are allowed (three frames, reading included).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import numpy as np

from videosyn.core.errors import UserError
from videosyn.core.video_file import write_video
from videosyn.curation.clips import join
from videosyn.curation.config import CurationConfig, ShotsConfig, TextConfig
from videosyn.curation.overlaid_text import OverlaidText
from videosyn.curation.probe import num_spans, probe
from videosyn.curation.records import Clip
from videosyn.curation.shots import Shots
from videosyn.curation.work import Work

LINES = (
    "What are you doing out here?",
    "I told you not to wait for me.",
    "- Who is it? - Nobody.",
    "They never came back from the sea.",
    "It was the last night of summer",
    "Oh, no!",
)


@dataclass
class Judged:
    """A file's clips after the stage, and what it took."""

    clips: list[Clip]
    seconds: list[float]

    @property
    def dropped(self) -> list[Clip]:
        return [clip for clip in self.clips if clip.rejected_by]


def judge(path: Path, stage: OverlaidText, config: CurationConfig, work: Work) -> Judged:
    """Scans a file and shows its clips to the stage. Raises UserError where it cannot be read."""
    source = probe(str(path))
    work.write_source(source)
    shots = Shots(config)
    shots.setup()
    for span in range(num_spans(source, config.shots)):
        shots.process_span(source, span, work)
    judged = Judged([], [])
    for clip in join(source, work, config):
        if not clip.rejected_by:
            start = time.perf_counter()
            judged.clips.append(stage.process(clip, work))
            judged.seconds.append(time.perf_counter() - start)
    return judged


def generate(folder: Path, count: int) -> dict[str, bool]:
    """Writes `count` videos, every second one with subtitles. -> name: whether it has."""
    from PIL import Image

    from videosyn.world.render import render
    from videosyn.world.scene import sample_scene

    marks = {}
    for number in range(count):
        random = Random(number)
        small = render([sample_scene(number)], 48, 90, 160, fps=8.0)[0].numpy()
        frames = [Image.fromarray(pixels).resize((1280, 720), Image.Resampling.BICUBIC) for pixels in small]
        name = f"world-{number:03d}.mp4"
        marks[name] = bool(number % 2)
        if marks[name]:
            first = random.randrange(0, 28)
            text = "\n".join(random.sample(LINES, random.choice((1, 2))))
            size_px = random.choice((24, 30, 40))
            for frame in frames[first : first + 20]:
                subtitle(frame, text, size_px)
        write_video(folder / name, np.stack([np.asarray(frame) for frame in frames]), 8.0)
    return marks


def subtitle(frame, text: str, size_px: int) -> None:
    """Draws white text with a dark rim at the foot of a PIL picture."""
    from PIL import ImageDraw, ImageFont

    draw = ImageDraw.Draw(frame)
    draw.multiline_text(
        (frame.width / 2, frame.height * 0.95),
        text,
        font=ImageFont.load_default(size_px),
        fill="white",
        stroke_width=2,
        stroke_fill="black",
        anchor="md",
        align="center",
    )


def measure(name: str, files: dict[Path, bool], config: CurationConfig) -> None:
    stage = OverlaidText(config)
    stage.setup()
    caught, missed, false_drops, seconds, unread = [], [], [], [], 0
    for path, marked in sorted(files.items()):
        with tempfile.TemporaryDirectory() as folder:
            try:
                judged = judge(path, stage, config, Work(folder))
            except UserError as error:
                print(f"  not judged: {error}")
                unread += 1
                continue
        seconds += judged.seconds
        if marked:
            (caught if judged.dropped else missed).append(path.name)
            highest = max((clip.scores["text_line"] for clip in judged.clips), default=0.0)
            print(f"  {path.name}: {len(judged.dropped)} of {len(judged.clips)} clips, largest line {highest:.0f} px")
        elif judged.dropped:
            false_drops.append(path.name)
            print(f"  FALSE {path.name}: {'; '.join(clip.reason for clip in judged.dropped)}")
    clean = len(files) - unread - len(caught) - len(missed)
    print(f"{name}: caught {len(caught)} of {len(caught) + len(missed)} files with overlaid text", *missed)
    print(f"{name}: dropped {len(false_drops)} of {clean} files without")
    if seconds:
        over = f"mean {np.mean(seconds):.3f}, worst {np.max(seconds):.3f}"
        print(f"{name}: seconds a clip: {over} ({len(seconds)} clips; allowed: 0.25 on one core)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--generated", type=int, default=12, help="how many videos to draw")
    parser.add_argument("--frames", type=int, default=3, help="frames kept a clip")
    parser.add_argument("--plain", action="store_true", help="the paper's plain rule: boxes unread, 20,000 pixels")
    options = parser.parse_args()
    shots = ShotsConfig(min_seconds=0.05, frames_per_clip=options.frames)
    text = TextConfig(confirm=False, reference_height_px=0) if options.plain else TextConfig()
    config = replace(CurationConfig(), shots=shots, text=text)
    if options.folder:
        marks = json.loads((options.folder / "footage.json").read_text(encoding="utf-8"))
        files = {options.folder / name: facts["overlaid_text"] for name, facts in marks.items()}
        measure("footage", files, config)
    if options.generated:
        with tempfile.TemporaryDirectory() as folder:
            drawn = generate(Path(folder), options.generated)
            measure("generated", {Path(folder, name): marked for name, marked in drawn.items()}, config)


if __name__ == "__main__":
    main()

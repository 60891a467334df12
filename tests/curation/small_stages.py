"""A pipeline of tiny stages over sources that are JSON files, for tests of the engines.

    {"spans": 3, "clips": 4, "poison": {"motion": "crash"}}

gives 12 clips, and the first unit of `motion` ends its process. Poisons: crash, hang, raise, memory, mistake,
full (a disk), and "once" (a crash the first time only).
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from videosyn.core.errors import UserError
from videosyn.curation.config import CurationConfig
from videosyn.curation.pipeline import Step
from videosyn.curation.records import Clip, Source, clip_id
from videosyn.curation.results import Result
from videosyn.curation.stages import Resources, rejected
from videosyn.curation.work import Work

PIPELINE = (
    Step("probe", "path", "small_stages:Probe"),
    Step("shots", "span", "small_stages:Shots"),
    Step("clips", "source", "small_stages:Clips"),
    Step("source_dedup", "source", "small_stages:SourceDedup", "dedup"),
    Step("aesthetics", "clip", "small_stages:Aesthetics", "aesthetics"),
    Step("motion", "clip", "small_stages:Motion", "motion"),
    Step("dedup", "dataset", "small_stages:Dedup", "dedup"),
    Step("captions", "clip", "small_stages:Captions"),
    Step("write", "clip", "small_stages:Write"),
)
FINISH = ("small_stages:write_table",)
LIMIT_S = 3.0


class _Small:
    name = ""
    version = "1"
    resources = Resources(memory_bytes=1, time_limit_s=LIMIT_S)

    def __init__(self, config: CurationConfig) -> None:
        self.config = config

    def setup(self) -> None:
        if self.name == os.environ.get("SMALL_STAGE_WITHOUT_WEIGHTS"):
            raise UserError("its weights are missing: name them")

    def dose(self, source: dict, first: bool, work: Work) -> None:
        """Takes the source's poison for this stage, on the stage's first unit of that source."""
        time.sleep(float(source.get("work_s", 0.0)))
        poison = source.get("poison", {}).get(self.name, "")
        if not (poison and first) or os.path.exists(os.environ.get("SMALL_STAGE_ANTIDOTE", "")):
            return
        if poison == "once":
            if work.exists(f"taken-{self.name}"):
                return
            work.write(f"taken-{self.name}", b"")
        if poison in ("once", "crash"):
            os._exit(9)
        if poison == "hang":
            time.sleep(3600)
        if poison == "memory":
            raise MemoryError
        if poison == "mistake":
            raise UserError("this is no video")
        if poison == "full":
            raise OSError(errno.ENOSPC, "No space left on device", "x.npz")
        raise ValueError(f"{self.name} does not like this")


class Probe(_Small):
    name = "probe"

    def process_path(self, path: str, work: Work) -> Source:
        content = Path(path).read_bytes()
        try:
            self.dose(json.loads(content), True, work)
        except json.JSONDecodeError:
            raise UserError(f"{Path(path).name} is no video") from None
        return Source(hashlib.blake2b(content, digest_size=8).hexdigest(), path, len(content), num_frames=1000)


class Shots(_Small):
    name = "shots"

    def num_spans(self, source: Source) -> int:
        return content(source)["spans"]

    def process_span(self, source: Source, span: int, work: Work) -> None:
        self.dose(content(source), span == 0, work)
        work.write_json(f"scans/{source.id}/{span:05d}.json", {"first": span * 100})


class Clips(_Small):
    name = "clips"

    def process_source(self, source: Source, work: Work) -> list[Clip]:
        self.dose(content(source), True, work)
        clips = []
        for span in range(content(source)["spans"]):
            first = work.read_json(f"scans/{source.id}/{span:05d}.json")["first"]
            for start in range(first, first + 10 * content(source)["clips"], 10):
                clips.append(Clip(clip_id(source.id, start, start + 10), source.id, start, start + 10, start / 25, 0.4))
        return clips


class SourceDedup(_Small):
    name = "source_dedup"

    def process_group(self, clips: Sequence[Clip], work: Work) -> list[Clip]:
        self.dose(content(work.source(clips[0].source)), True, work)
        return [rejected(clip, self.name, "same") if clip.start_frame % 70 == 0 else clip for clip in clips]


class _OfClips(_Small):
    def process(self, clip: Clip, work: Work) -> Clip:
        """Takes the poison; what else a stage does to its clips stands in its own `process`."""
        self.dose(content(work.source(clip.source)), clip.start_frame % 100 <= 10, work)
        return clip


class Aesthetics(_OfClips):
    name = "aesthetics"

    def process(self, clip: Clip, work: Work) -> Clip:
        clip = super().process(clip, work)
        score = int(clip.id, 16) % 100 / 10
        scored = replace(clip, scores={**clip.scores, "aesthetic": score})
        return rejected(scored, self.name, f"score {score} is below 2") if score < 2 else scored


class Motion(_OfClips):
    """Cuts every third clip shorter, which changes its id."""

    name = "motion"

    def process(self, clip: Clip, work: Work) -> Clip:
        clip = super().process(clip, work)
        scored = replace(clip, scores={**clip.scores, "motion": 0.5})
        if clip.start_frame % 30:
            return scored
        end = clip.end_frame - 5
        return replace(scored, id=clip_id(clip.source, clip.start_frame, end), end_frame=end)


class Dedup(_Small):
    """Of clips with the same span in different sources only the first stays."""

    name = "dedup"

    def process_group(self, clips: Sequence[Clip], work: Work) -> list[Clip]:
        for source in sorted({clip.source for clip in clips}):
            self.dose(content(work.source(source)), True, work)
        seen: dict[int, str] = {}
        for clip in clips:
            seen.setdefault(clip.start_frame, clip.id)
        return [
            clip
            if seen[clip.start_frame] == clip.id
            else replace(rejected(clip, self.name, "duplicate"), labels={"duplicate_of": seen[clip.start_frame]})
            for clip in clips
        ]


class Captions(_OfClips):
    name = "captions"

    def process(self, clip: Clip, work: Work) -> Clip:
        clip = super().process(clip, work)
        return replace(clip, caption=f"frames {clip.start_frame} to {clip.end_frame}")


class Write(_OfClips):
    name = "write"

    def process(self, clip: Clip, work: Work) -> Clip:
        clip = super().process(clip, work)
        work.write(f"clips/{clip.id}.mp4", clip.caption.encode())
        return replace(clip, labels={**clip.labels, "file_name": f"clips/{clip.id}.mp4"})


def content(source: Source) -> dict:
    return json.loads(Path(source.path).read_text())


def write_table(result: Result, dataset: Path, work: Work) -> None:
    """The whole result as one JSON file, all but what depends on the clock."""
    lines = [repr(part) for part in (result.sources, result.clips, result.set_aside, dict(result.versions))]
    (dataset / "result.txt").write_text("\n".join(lines))


def write_sources(folder: Path, specs: Sequence[dict | str]) -> list[str]:
    """Source files with these contents; `name` in each keeps their contents apart."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, spec in enumerate(specs):
        path = folder / f"{number:02d}.json"
        path.write_text(spec if isinstance(spec, str) else json.dumps({"name": number, "spans": 1, "clips": 1} | spec))
        paths.append(str(path))
    return paths

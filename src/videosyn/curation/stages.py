"""What a stage is. A stage computes; it knows nothing of ledgers, queues or processes. Next: `pipeline.py`.

Kinds of unit: a path (`PathStage`), a span of a source (`SpanStage`, the one decode), a source (`JoinStage`), all
living clips of a source or of the dataset (`GroupStage`), and a clip (`ClipStage`). A stage is made from its config, is
cheap to make, and loads what it needs in `setup`, once per worker process. Doing a unit again gives the same result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from videosyn.curation.records import Clip, Source
from videosyn.curation.work import Work


@dataclass(frozen=True)
class Resources:
    """What one worker process of a stage wants."""

    cpus: float = 1.0
    memory_bytes: int = 500_000_000
    gpu: bool = False
    time_limit_s: float = 600.0
    """After this the worker process is ended and the task counts as failed."""


class Stage(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str:
        """Changes whenever the result may: part of every output's key."""
        ...

    @property
    def resources(self) -> Resources: ...

    def setup(self) -> None:
        """Loads models. Raises UserError where weights are missing."""
        ...


class PathStage(Stage, Protocol):
    def process_path(self, path: str, work: Work) -> Source:
        """What the file is. Raises UserError where it is no video."""
        ...


class SpanStage(Stage, Protocol):
    def num_spans(self, source: Source) -> int:
        """How many spans the source is scanned in, at least 1; from the config and what the probe found alone."""
        ...

    def process_span(self, source: Source, span: int, work: Work) -> None:
        """Decodes span number `span` of the source and leaves what it found in `work`."""
        ...


class JoinStage(Stage, Protocol):
    def process_source(self, source: Source, work: Work) -> list[Clip]:
        """The source's clips, from what all its spans left in `work`; ids by `records.clip_id`."""
        ...


class ClipStage(Stage, Protocol):
    def process(self, clip: Clip, work: Work) -> Clip:
        """The clip with new scores, perhaps rejected, perhaps with a smaller span."""
        ...


class GroupStage(Stage, Protocol):
    def process_group(self, clips: Sequence[Clip], work: Work) -> list[Clip]:
        """The same clips in the same order, some of them rejected."""
        ...


def rejected(clip: Clip, stage: str, reason: str) -> Clip:
    """The clip, dropped by `stage`. `reason`: one line, the rule and the value."""
    return replace(clip, rejected_by=stage, reason=reason)

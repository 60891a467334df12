"""What follows what: a task is a stage's work on one unit, and a finished task says which tasks come next.

probe(path) -> shots(span)* -> clips(source) -> per source, per clip ... -> one over all clips (the barrier) -> ...

Nothing here touches a database: `ledger.py` stores what these functions say, in the same transaction as the result
that they follow from. Next: `ledger.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from videosyn.core.errors import UserError
from videosyn.curation.config import CurationConfig
from videosyn.curation.pipeline import Step
from videosyn.curation.records import Clip, Source
from videosyn.curation.stages import Resources

ALL = "all"
"""The unit of a stage over the whole dataset."""


@dataclass(frozen=True)
class Task:
    """A stage's work on one unit: a path, SOURCE/SPAN, a source's id, a clip's first id, or "all"."""

    stage: str
    unit: str
    source: str = ""
    """The source's id; before the probe its path; empty over the whole dataset."""


@dataclass(frozen=True)
class Outcome:
    """What came of one unit in a worker's child process. Without `error` it is done."""

    task: Task
    value: Any = None
    """What the stage returned: None, (Source, number of spans), a Clip or a list of Clips."""
    seconds: float = 0.0
    """Inside the stage's code."""
    error: str = ""
    """One line. The attempt counts; after `ledger.MAX_ATTEMPTS` the task is dead."""


@dataclass(frozen=True)
class StageInfo:
    """A row of the pipeline, with what its class says of itself."""

    name: str
    over: str
    code: str
    version: str
    resources: Resources


@dataclass(frozen=True)
class Plan:
    """The stages of one dataset, in order, the config they are made from and where they leave their files."""

    stages: tuple[StageInfo, ...]
    config: CurationConfig
    work: str
    """Root of the work folder: a path or an fsspec URL."""

    def stage(self, name: str) -> StageInfo:
        return self.stages[self._index(name)]

    def names(self) -> tuple[str, ...]:
        return tuple(stage.name for stage in self.stages)

    def before(self, name: str) -> tuple[str, ...]:
        """The stages that come earlier."""
        return self.names()[: self._index(name)]

    def following(self, name: str) -> StageInfo | None:
        index = self._index(name) + 1
        return self.stages[index] if index < len(self.stages) else None

    def span_stage(self) -> StageInfo:
        return self.stages[1]

    def _index(self, name: str) -> int:
        return self.names().index(name)

    def barriers(self) -> list[Task]:
        """Tasks over the whole dataset, which wait until every earlier task has ended."""
        return [Task(stage.name, ALL) for stage in self.stages if stage.over == "dataset"]

    def of_paths(self, paths: Iterable[str]) -> list[Task]:
        return [Task(self.stages[0].name, path, path) for path in paths]

    def of_spans(self, source: Source, num_spans: int) -> list[Task]:
        """The one decode of a probed source. Units sort by span."""
        return [Task(self.span_stage().name, f"{source.id}/{span:05d}", source.id) for span in range(num_spans)]

    def of_scanned(self, source_id: str) -> list[Task]:
        """What follows when all spans of a source are done."""
        following = self.following(self.span_stage().name)
        return [Task(following.name, source_id, source_id)] if following else []

    def of_clips(self, after: str, clips: Iterable[tuple[str, Clip]]) -> list[Task]:
        """What follows stage `after` for the (unit, clip) pairs that are its outcome: nothing for rejected clips."""
        following = self.following(after)
        living = [(unit, clip) for unit, clip in clips if not clip.rejected_by]
        if following is None or following.over == "dataset":  # a barrier's task is there from the beginning
            return []
        if following.over == "source":
            return [Task(following.name, source, source) for source in sorted({clip.source for _, clip in living})]
        return [Task(following.name, unit, clip.source) for unit, clip in living]


def check_order(pipeline: Sequence[Step]) -> None:
    """Raises UserError where a pipeline's kinds of unit cannot follow one another."""
    kinds = [step.over for step in pipeline]
    if kinds[:3] != ["path", "span", "source"]:
        raise UserError(f"a pipeline begins with a path, a span and a source stage, got {', '.join(kinds[:3])}")
    for step, earlier in zip(pipeline[3:], pipeline[2:]):
        if step.over in ("path", "span") or (step.over == "source" and earlier.over != "source"):
            raise UserError(f"stage {step.name} over a {step.over} cannot follow {earlier.name} over a {earlier.over}")

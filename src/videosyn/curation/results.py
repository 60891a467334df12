"""What a run of curation hands to its caller and to the writers of tables and reports. Torch-free. Next: `tables.py`.

`Result` is the whole dataset as the ledger knows it; two runs of the same sources and config, by whichever engine,
have equal `sources`, `clips`, `versions` and `config`, in the same order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from videosyn.curation.config import CurationConfig
from videosyn.curation.records import Clip, Source


@dataclass(frozen=True)
class SetAside:
    """A unit that failed too often, or a file that need not be looked at, and what that cost."""

    path: str
    """The source's path as given; empty for a stage over all sources."""
    stage: str
    unit: str
    """What the stage was working on: a path, a source, SOURCE/SPAN or a clip."""
    reason: str
    """One line."""
    attempts: int


@dataclass(frozen=True)
class Timing:
    """What a stage cost, all units together."""

    stage: str
    units: int
    """Spans, sources or clips it has done."""
    seconds: float
    """Sum over units of the time inside the stage's code; not the wall clock where several workers share it."""


@dataclass(frozen=True)
class Result:
    """All that a dataset's ledger holds."""

    sources: tuple[Source, ...]
    """Sorted by path. Of paths with the same content only the first is here, the others are in `set_aside`."""
    clips: tuple[Clip, ...]
    """Kept and rejected, sorted by source id, start and end."""
    set_aside: tuple[SetAside, ...]
    """Sorted by path, stage and unit."""
    timings: tuple[Timing, ...]
    """In the pipeline's order."""
    versions: Mapping[str, str]
    """Stage -> version, in the pipeline's order; only the stages that are on."""
    config: CurationConfig

    @property
    def kept(self) -> tuple[Clip, ...]:
        return tuple(clip for clip in self.clips if not clip.rejected_by)

    @property
    def rejected(self) -> tuple[Clip, ...]:
        return tuple(clip for clip in self.clips if clip.rejected_by)


@dataclass(frozen=True)
class StageCount:
    """How far a stage is, in units."""

    done: int = 0
    open: int = 0
    """Waiting for a worker or in one's hands; later units are not known yet."""
    dead: int = 0


@dataclass(frozen=True)
class Progress:
    """A look at a run under way; an engine calls `progress(Progress)` a few times a second at most."""

    stages: Mapping[str, StageCount]
    """In the pipeline's order."""
    kept: int = 0
    """Clips that no stage has rejected so far."""
    rejected: int = 0
    set_aside: int = 0
    note: str = ""
    """What the run waits for, if it does: one line."""


@dataclass(frozen=True)
class Summary:
    """What a finished run did."""

    num_sources: int
    num_kept: int
    rejected: Mapping[str, int] = field(default_factory=dict)
    """Stage -> clips it rejected, in the pipeline's order."""
    set_aside: tuple[SetAside, ...] = ()
    wall_s: float = 0.0
    """Of this run; a continued run counts from its own start."""

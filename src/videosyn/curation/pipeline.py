"""The visible list: what curation does, in order. A stage more or less is one row here.

Rows name code as "module:name", which is imported where it runs. A stage whose `switch` is off in the config is
skipped. Next: `tasks.py` (what follows what), then `ledger.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

from videosyn.core.errors import UserError
from videosyn.curation.config import CurationConfig

Unit = Literal["path", "span", "source", "clip", "dataset"]


@dataclass(frozen=True)
class Step:
    """A stage's place. `code` is a class, made as Class(config), with what its `over` asks for:

    path      process_path(path, work) -> Source: opens a file and says what it is
    span      num_spans(source) -> int and process_span(source, span, work) -> None
    source    process_source(source, work) -> list[Clip]: joins a source's spans
              or process_group(clips, work) -> list[Clip]: looks at all living clips of one source
    clip      process(clip, work) -> Clip
    dataset   process_group(clips, work) -> list[Clip]: all living clips; waits until every earlier task is done
    """

    name: str
    over: Unit
    code: str
    switch: str = ""
    """The config's part whose `enabled` turns the stage off; empty: always on."""


PIPELINE = (
    Step("probe", "path", "videosyn.curation.probe:Probe"),
    Step("shots", "span", "videosyn.curation.shots:Shots"),
    Step("clips", "source", "videosyn.curation.clips:Clips"),
    Step("source_dedup", "source", "videosyn.curation.dedup:SourceDedup", "dedup"),
    Step("aesthetics", "clip", "videosyn.curation.aesthetics:Aesthetics", "aesthetics"),
    Step("motion", "clip", "videosyn.curation.motion:Motion", "motion"),
    Step("text", "clip", "videosyn.curation.overlaid_text:OverlaidText", "text"),
    Step("dedup", "dataset", "videosyn.curation.dedup:Dedup", "dedup"),
    Step("captions", "clip", "videosyn.curation.captions:Captions"),
    Step("write", "clip", "videosyn.curation.write:Write"),
)

FINISH = (
    "videosyn.curation.write:collect",
    "videosyn.curation.webdataset:write_shards",
    "videosyn.curation.tables:write_tables",
    "videosyn.curation.report:write_report",
)
"""Called at the end as function(result: Result, dataset: Path, work: Work), in this order, again after a new run."""


def switched_on(pipeline: Sequence[Step], config: CurationConfig) -> tuple[Step, ...]:
    """The rows that this config runs."""
    return tuple(step for step in pipeline if not step.switch or getattr(config, step.switch).enabled)


def named(code: str) -> Callable[..., Any]:
    """The class or function that "module:name" names."""
    module, name = code.split(":")
    return getattr(import_module(module), name)


def choose(known: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """Of the `known` stages those that `names` picks, in order; "all" is every one. UserError for an unknown name."""
    for name in names:
        if name != "all" and name not in known:
            raise UserError(f"no stage {name!r}: choose among {', '.join(known)}, or all")
    return tuple(known) if "all" in names else tuple(name for name in known if name in names)

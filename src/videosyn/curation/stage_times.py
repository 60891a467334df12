"""Pass rates and time per stage, in the shape of the paper's Table 5, the paper's figures beside ours.

Next: `report.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from videosyn.curation.page import table
from videosyn.curation.results import Result


@dataclass(frozen=True)
class PaperRow:
    """A row of the paper's Table 5, and the stages of ours that do its work."""

    title: str
    stages: tuple[str, ...]
    minutes: float | None = None
    """For 1,000 videos."""
    pass_rate: float | None = None
    """In percent."""


TABLE_5 = (
    PaperRow("shots and clips", ("probe", "shots", "clips"), 1.0),
    PaperRow("deduplication", ("source_dedup", "dedup"), 3.0, 64.18),
    PaperRow("aesthetics", ("aesthetics",), 0.8, 90.23),
    PaperRow("motion", ("motion",), 12.0, 88.6),
    PaperRow("overlaid text", ("text",), 1.2, 67.9),
    PaperRow("captions", ("captions",)),
    PaperRow("writing", ("write",)),
)
SEQUENTIAL_MIN, PIPELINED_MIN = 18.0, 12.0
"""The paper's totals."""


_OWN_TITLES = {
    "shots": "long enough",
    "source_dedup": "deduplication within sources",
    "dedup": "deduplication across sources",
}
"""In the funnel, of stages that are only a part of a row above."""


@dataclass(frozen=True)
class Passed:
    """How many clips a stage saw and rejected."""

    title: str
    stage: str
    entered: int
    rejected: int
    paper_rate: str
    """Text to put after ours; empty where the paper has none."""


def funnel(result: Result) -> list[Passed]:
    """The stages that look at clips, in the pipeline's order."""
    rows = {stage: row for row in TABLE_5 for stage in row.stages}
    found, left = [], len(result.clips)
    for stage in result.versions:
        gone = sum(clip.rejected_by == stage for clip in result.clips)
        if stage in TABLE_5[0].stages and not gone:
            continue
        row = rows.get(stage)
        paper = f" (paper {row.pass_rate:g} %)" if row and row.pass_rate else ""
        title = _OWN_TITLES.get(stage)
        found.append(Passed(title or (row.title if row else stage), stage, left, gone, "" if title else paper))
        left -= gone
    return found


def stage_times(result: Result) -> str:
    """The table as HTML: minutes for 1,000 clips that reach a stage, on one worker, and pass rates."""
    counts = {step.stage: step for step in funnel(result)}
    seconds = {timing.stage: timing.seconds for timing in result.timings}
    known = {stage for row in TABLE_5 for stage in row.stages}
    others = tuple(PaperRow(stage, (stage,)) for stage in result.versions if stage not in known)
    rows, minutes = [], []
    for row in (*TABLE_5, *others):
        if not any(stage in result.versions for stage in row.stages):
            continue
        steps = [counts[stage] for stage in row.stages if stage in counts]
        entered = max((step.entered for step in steps), default=len(result.clips))
        gone = sum(step.rejected for step in steps)
        reached = entered - gone if row is TABLE_5[0] else entered
        spent_s = sum(seconds.get(stage, 0.0) for stage in row.stages)
        cost = spent_s / 60 / reached * 1000 if reached else 0.0
        rate = f"{100 * (1 - gone / entered):.1f} %" if steps and entered else "-"
        minutes.append(cost)
        paper = ["-" if row.minutes is None else f"{row.minutes:g}", f"{row.pass_rate:g} %" if row.pass_rate else "-"]
        rows.append([row.title, f"{spent_s:,.1f}", f"{cost:.2f}", rate, *paper])
    rows.append(
        ["one after the other", f"{sum(seconds.values()):,.1f}", f"{sum(minutes):.2f}", "", f"{SEQUENTIAL_MIN:g}", ""]
    )
    rows.append(["pipelined: the slowest stage", "", f"{max(minutes, default=0.0):.2f}", "", f"{PIPELINED_MIN:g}", ""])
    head = ("stage", "seconds here", "min per 1,000 clips", "pass rate", "paper: min", "paper: pass rate")
    return table(head, rows, numbers=True) + (
        "<p>Time inside a stage's code, added over all workers; minutes are for 1,000 clips that reach the stage (of "
        "the first: that leave it), on one worker. Motion is measured in the one decode, which counts under shots. "
        "The paper's figures are its Table 5: other footage, other machines.</p>"
    )

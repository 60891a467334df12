"""What `evaluate domains` found, as tables and plots: by domain, by length, by size. Next: `document.py`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from videosyn.evaluation.document import Chart, Document, Film, Table, said_with
from videosyn.evaluation.plots import lines, whiskers
from videosyn.evaluation.report import Share
from videosyn.evaluation.running import Running

FIGURES = ("adherence", "all shown", "permanence", "flickering", "smoothness")
PLOTTED = ("adherence", "permanence")
SHARE = "all shown"
"""1 or 0 of a film."""


@dataclass(frozen=True)
class Measured:
    """One film's figures and the domains that it belongs to."""

    source: str
    """model, or render: the ceiling."""
    shape: tuple[int, int]
    """Frames, and pixels a side."""
    domains: dict[str, tuple[str, ...]]
    figures: dict[str, float]


def means(films: Sequence[Measured]) -> dict[str, Running]:
    """Of every figure, over films."""
    found = {name: Running() for name in FIGURES}
    for each in films:
        for name, running in found.items():
            running.add(each.figures[name])
    return found


def document_of(
    settings: dict[str, Any], base: tuple[int, int], found: Sequence[Measured], films: list[tuple[str, list[Film]]]
) -> Document:
    """base: the shape of which every prompt has a film."""
    document = Document("Domains", settings, films=films)
    at_base = [each for each in found if each.shape == base]
    model = [each for each in at_base if each.source == "model"]
    ceiling = [each for each in at_base if each.source == "render"]
    document.facts = {"films": f"{len(found)}", "prompts": f"{len(model)}"}
    document.data = {"overall": _plain(means(model)), "ceiling": _plain(means(ceiling)), "domains": {}}
    rows = [_row("all", model)]
    if ceiling:
        rows.append(_row("the world's own renders", ceiling))
    for name in model[0].domains:
        groups = _groups(model, name)
        document.data["domains"][name] = {value: _plain(means(some)) for value, some in groups.items()}
        table = rows if name == "distribution" else [_row(value, some) for value, some in groups.items()]
        if name == "distribution":
            table += [_row(value, some) for value, some in groups.items()]
        head = ("domain", "films", *FIGURES)
        title = "On and off the training distribution" if name == "distribution" else f"By {name}"
        document.tables.append(Table(title, head, table))
        for figure in PLOTTED:
            points = {
                value: (each[figure].value, *interval(figure, each[figure]))
                for value, each in ((value, means(some)) for value, some in groups.items())
                if each[figure].count
            }
            overall = means(model)[figure].value
            if points:
                picture = whiskers(points, figure, mark=overall)
                document.charts.append(Chart(f"{figure} by {name}", picture, "Line: all films."))
    for axis, title, unit in ((0, "length", "frames"), (1, "size", "pixels a side")):
        _sweep(document, found, base, axis, title, unit)
    document.notes += [
        "Adherence: share of what the prompt names that the film shows, by the pixel judge of evaluate adherence. "
        "Permanence: of the things a film shows, the share of key frames in which they are found again; without films "
        "in which one passes behind another. Flickering and smoothness: VBench's rules, smoothness by classical flow.",
        "The judge knows the world alone: figures of models that were trained on other footage say how far they speak "
        "its language, not how good they are.",
    ]
    return document


def _sweep(
    document: Document, found: Sequence[Measured], base: tuple[int, int], axis: int, title: str, unit: str
) -> None:
    """The films of one prompt set along one axis of the shape, the other as at base."""
    model = [each for each in found if each.source == "model" and each.shape[1 - axis] == base[1 - axis]]
    values = sorted({each.shape[axis] for each in model})
    if len(values) < 2:
        return
    count = min(sum(each.shape[axis] == value for each in model) for value in values)
    off = [each for each in model if each.domains["distribution"][0].startswith("off")]
    steps = {value: means([each for each in off if each.shape[axis] == value][:count]) for value in values}
    document.data[f"by_{title}"] = {str(value): _plain(each) for value, each in steps.items()}
    rows = [(f"{value}", *_cells(each)) for value, each in steps.items()]
    note = f"The same {count} prompt{'s' if count > 1 else ''}, off the training distribution."
    document.tables.append(Table(f"By {title}", (unit, *FIGURES), rows, note))
    series = {name: [(float(value), each[name].value) for value, each in steps.items()] for name in FIGURES}
    document.charts.append(Chart(f"By {title}", lines(series, unit, "0 to 1"), note))


def _groups(films: Sequence[Measured], name: str) -> dict[str, list[Measured]]:
    """Value of a domain -> its films; a film of two objects belongs to both."""
    found: dict[str, list[Measured]] = {}
    for each in films:
        for value in each.domains[name]:
            found.setdefault(value, []).append(each)
    return dict(sorted(found.items()))


def interval(name: str, running: Running) -> tuple[float, float]:
    """Of a mean of figures that lie in 0 to 1: by Student's t, cut there; of a share of films by Wilson's rule."""
    if name == SHARE:
        return Share(running.count, round(running.mean * running.count)).interval
    low, high = running.interval
    return max(low, 0.0), min(high, 1.0)  # in this order nan stays nan


def _row(name: str, films: Sequence[Measured]) -> tuple[str, ...]:
    return (name, str(len(films)), *_cells(means(films)))


def _cells(found: dict[str, Running]) -> list[str]:
    return [said_with(each.value, *interval(name, each), 2) for name, each in found.items()]


def _plain(found: dict[str, Running]) -> dict[str, Any]:
    plain = {}
    for name, each in found.items():
        low, high = interval(name, each)
        plain[name] = {**each.to_dict(), "low": low, "high": high}
    return plain

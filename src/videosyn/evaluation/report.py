"""The figures of an adherence run: shares with intervals, and a contact sheet. Next: `adherence.py`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from videosyn.core.files import atomic_file
from videosyn.evaluation.comparison import ATTRIBUTES
from videosyn.evaluation.document import Chart, Document, Film, Table
from videosyn.evaluation.plots import whiskers
from videosyn.world.parsed import EVENTS, Parsed

ALL = "all at once"
SHEET_ROWS, SHEET_FRAMES, SHEET_SIDE = 24, 4, 96
"""Clips on the contact sheet, frames of each, and their height in pixels."""
TEXT_WIDTH = 420


@dataclass(frozen=True)
class Judged:
    """One prompt, what its film shows, and what of it is right."""

    prompt: str
    asked: Parsed
    seen: Parsed
    verdict: dict[str, bool]

    @property
    def right(self) -> bool:
        """Whether everything that is named is shown."""
        return all(self.verdict.values())


@dataclass(frozen=True)
class Share:
    """How many of `count` are right, with Wilson's 95 % interval."""

    count: int
    right: int

    @property
    def value(self) -> float:
        return self.right / self.count if self.count else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson 1927: the shares that would give this one by chance no seldomer than once in 20."""
        if not self.count:
            return 0.0, 1.0
        z, n, p = 1.96, self.count, self.value
        middle = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return max(0.0, middle - half), min(1.0, middle + half)

    @property
    def percents(self) -> tuple[float, float, float]:
        """The share and its interval, in per cent."""
        low, high = self.interval
        return 100 * self.value, 100 * low, 100 * high

    def to_dict(self) -> dict:
        low, high = self.interval
        return {"count": self.count, "right": self.right, "share": self.value, "low": low, "high": high}


def shares(judged: Sequence[Judged]) -> dict[str, Share]:
    """The share of every attribute, over the clips that name it, and of everything at once."""
    out = {}
    for name in ATTRIBUTES:
        named = [each.verdict[name] for each in judged if name in each.verdict]
        if named:
            out[name] = Share(len(named), sum(named))
    out[ALL] = Share(len(judged), sum(each.right for each in judged))
    return out


def groups(judged: Sequence[Judged]) -> dict[str, list[Judged]]:
    """The clips by what was asked: how many things, which relation, which camera, which style."""
    out: dict[str, list[Judged]] = {}
    for each in judged:
        asked = each.asked
        names = ["one thing" if asked.count == 1 else f"{asked.count} things"]
        if asked.relation is not None and asked.relation != "row":
            names.append("event" if asked.relation in EVENTS else "still relation")
            names.append(asked.relation)
        if asked.camera is not None:
            names.append("panning camera" if asked.camera != "still" else "still camera")
        if asked.style is not None:
            names.append(asked.style)
        for name in names:
            out.setdefault(name, []).append(each)
    return dict(sorted(out.items(), key=lambda item: -len(item[1])))


def summary(judged: Sequence[Judged]) -> dict:
    """All figures as plain data."""
    return {
        "attributes": {name: share.to_dict() for name, share in shares(judged).items()},
        "groups": {
            group: {name: share.to_dict() for name, share in shares(members).items()}
            for group, members in groups(judged).items()
        },
    }


def document_of(
    judged: Sequence[Judged], settings: dict, seconds: dict[str, float], films: Sequence[np.ndarray]
) -> Document:
    """Each attribute with its interval, each group's shares, and the first films with what is right about them.

    `seconds`: to make and to judge a clip.
    """
    clips = [asdict(each) for each in judged]
    document = Document("Adherence", settings, {"seconds": seconds, **summary(judged), "clips": clips})
    rows = []
    found = shares(judged)
    for name, share in found.items():
        low, high = share.interval
        cells = (f"{100 * share.value:.1f}", f"{100 * low:.1f} to {100 * high:.1f}")
        rows.append((name, str(share.count), str(share.right), *cells))
    document.tables.append(Table("Right, by attribute", ("attribute", "n", "right", "%", "95 % interval"), rows))
    names = [*ATTRIBUTES, ALL]
    rows = []
    for group, members in groups(judged).items():
        of_group = shares(members)
        cells = [f"{100 * of_group[name].value:.0f}" if name in of_group else "" for name in names]
        rows.append((group, str(len(members)), *cells))
    document.tables.append(Table("Per cent right, by what was asked", ("asked", "n", *names), rows))
    points = {name: each.percents for name, each in found.items()}
    document.charts.append(Chart("Per cent right", whiskers(points, "%"), "Shares with Wilson's 95 % intervals."))
    for film, each in zip(films, judged):
        marks = ", ".join(f"{name} {'right' if right else 'wrong'}" for name, right in each.verdict.items())
        document.films.append((each.prompt, [Film.of(marks, film)]))
    document.notes.append(f"{seconds['make']:.2f} s a clip to make, {seconds['judge']:.2f} s to judge.")
    return document


def write_sheet(path: Path, films: Sequence[np.ndarray], judged: Sequence[Judged]) -> None:
    """A PNG: for each film (uint8 (T, H, W, 3)) a few frames, its prompt, and what is right and wrong about it."""
    rows = [_row(film, each) for film, each in zip(films, judged, strict=True)]
    height, width = sum(row.height + 2 for row in rows), max(row.width for row in rows)
    sheet = Image.new("RGB", (width, height), "white")
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height + 2
    with atomic_file(path) as hidden:
        sheet.save(hidden)


def _row(film: np.ndarray, judged: Judged) -> Image.Image:
    chosen = [round(index * (len(film) - 1) / (SHEET_FRAMES - 1)) for index in range(SHEET_FRAMES)]
    width = round(SHEET_SIDE * film.shape[2] / film.shape[1])
    row = Image.new("RGB", (SHEET_FRAMES * (width + 2) + TEXT_WIDTH, SHEET_SIDE), "white")
    for place, index in enumerate(chosen):
        row.paste(Image.fromarray(film[index]).resize((width, SHEET_SIDE)), (place * (width + 2), 0))
    draw = ImageDraw.Draw(row)
    left, y = SHEET_FRAMES * (width + 2) + 6, 2
    for line in _wrapped(judged.prompt, 66)[:3]:
        draw.text((left, y), line, fill="black")
        y += 12
    x = left
    for number, (name, right) in enumerate(judged.verdict.items()):
        if number == 4:
            x, y = left, y + 14
        draw.text((x, y + 2), f"{'+' if right else 'x'} {name}", fill=(0, 120, 0) if right else (200, 0, 0))
        x += 100
    if not judged.right:
        draw.text((left, y + 18), _told(judged.seen), fill=(90, 90, 90))
    return row


def _told(seen: Parsed) -> str:
    things = ", ".join(f"{thing.colour} {thing.kind} {thing.motion}" for thing in seen.things)
    rest = [seen.place, seen.light, seen.camera, seen.style, seen.relation]
    return "\n".join(_wrapped(f"seen: {things or 'nothing'}; {', '.join(str(each) for each in rest if each)}", 66)[:3])


def _wrapped(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines

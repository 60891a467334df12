"""What every `videosyn evaluate` command leaves: tables in the terminal, `report.json`, and `report.html`, one page
that needs nothing else: figures, plots, and clips side by side that play together.

A command fills a `Document` and calls `publish`. Next: `plots.py`.
"""

from __future__ import annotations

import base64
import io
import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table as Drawn

from videosyn.core.config import to_dict
from videosyn.core.files import atomic_file
from videosyn.core.video_file import write_video
from videosyn.curation.page import page, section, table, tiles

CLIP_PX = 256
"""Longer side, at most, of a clip on the page."""
CLIP_FRAMES = 65
"""Frames of it, at most."""

_STYLE = """<style>
.chart polyline { fill: none; stroke-width: 2; } .chart .first { text-anchor: start; }
polyline.s0 { stroke: var(--kept); } circle.s0, .k0 { fill: var(--kept); background: var(--kept); }
polyline.s1 { stroke: var(--mark); } circle.s1, .k1 { fill: var(--mark); background: var(--mark); }
polyline.s2 { stroke: var(--w3); } circle.s2, .k2 { fill: var(--w3); background: var(--w3); }
polyline.s3 { stroke: var(--gone); } circle.s3, .k3 { fill: var(--gone); background: var(--gone); }
polyline.s4 { stroke: var(--w1); } circle.s4, .k4 { fill: var(--w1); background: var(--w1); }
polyline.s5 { stroke: var(--w2); } circle.s5, .k5 { fill: var(--w2); background: var(--w2); }
.cards svg.chart { max-width: 32rem; }
.reach { stroke: var(--kept); stroke-width: 2; } .numbers td { overflow-wrap: normal; }
.numbers td + td, .numbers th + th { padding-left: 1.2rem; }
.films { margin: .9rem 0; } .films p { margin: .2rem 0; color: var(--ink); }
.films > div { display: flex; flex-wrap: wrap; gap: .6rem; }
.films figure { flex: 0 1 16rem; min-width: 7rem; } .films video, .films img { display: block; width: 100%;
  border-radius: .3rem; background: #0002; image-rendering: auto; }
.films figcaption { font-size: .8rem; color: var(--soft); }
</style>"""
_TOGETHER = """<script>
for (const row of document.querySelectorAll(".films")) {
  const films = [...row.querySelectorAll("video")];
  for (const film of films) film.addEventListener("ended", () => {
    if (films.every(each => each.ended)) for (const each of films) { each.currentTime = 0; each.play(); }
  });
}
</script>"""


@dataclass(frozen=True)
class Table:
    """Cells are text; the first column names the row."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True)
class Chart:
    """`picture` is SVG or HTML of `plots.py` or `curation/charts.py`."""

    title: str
    picture: str
    note: str = ""


@dataclass(frozen=True)
class Film:
    """A clip as the page shows it, already encoded, so that a thousand frames are not kept."""

    label: str
    url: str

    @classmethod
    def of(cls, label: str, frames: np.ndarray, fps: float = 8.0) -> Film:
        """uint8 frames (T, H, W, 3); long and large ones are cut and made smaller."""
        return cls(label, clip_url(frames, fps))


@dataclass
class Document:
    """One command's findings. `data` goes into report.json as it is, beside `settings`."""

    title: str
    settings: dict[str, Any]
    data: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
    """Label -> figure, large at the top of the page."""
    tables: list[Table] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)
    films: list[tuple[str, list[Film]]] = field(default_factory=list)
    """Rows of clips side by side, each with its title."""
    notes: list[str] = field(default_factory=list)

    def count_unreadable(self, reasons: Sequence[str]) -> None:
        """Says how many clips could not be read, and why the first could not."""
        if reasons:
            self.data["unreadable"] = {"count": len(reasons), "first": reasons[0]}
            self.notes.append(f"unreadable clips: {len(reasons)}, first: {reasons[0]}")

    """Sentences on what the figures mean and do not mean."""


def publish(document: Document, folder: Path) -> None:
    """Prints the tables, writes FOLDER/report.json and FOLDER/report.html, each whole or not at all, and says where."""
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_file(folder / "report.json") as hidden:
        content = plain({"settings": document.settings, **document.data})
        hidden.write_text(json.dumps(content, indent=1, allow_nan=False), encoding="utf-8")
    with atomic_file(folder / "report.html") as hidden:
        hidden.write_text(as_page(document), encoding="utf-8")
    console = Console()
    for each in document.tables:
        console.print(_drawn(each, console.width))
    for note in document.notes:
        console.print(note, highlight=False, markup=False)  # a file may be named [/b].mp4
    print(folder / "report.html")


def _drawn(table: Table, width: int) -> Drawn:
    """The table for a terminal so wide; one that does not fit stands on its side, where that is narrower."""
    lines = [tuple(table.head), *map(tuple, table.rows)]
    if _width(lines) > width and _width(list(zip(*lines))) < _width(lines):
        lines = list(zip(*lines))
    drawn = Drawn(*lines[0], title=table.title, caption=table.note or None)
    for row in lines[1:]:
        drawn.add_row(*row)
    return drawn


def _width(lines: Sequence[Sequence[str]]) -> int:
    return sum(max(len(cell) for cell in column) + 3 for column in zip(*lines)) + 1


def as_page(document: Document) -> str:
    """The whole HTML page."""
    parts = [_STYLE]
    if document.facts:
        parts.append(tiles(document.facts))
    for each in document.tables:
        note = f"<p>{escape(each.note)}</p>" if each.note else ""
        parts.append(section(each.title, table(each.head, each.rows, numbers=True) + note))
    if document.charts:
        cells = (
            f"<figure><figcaption>{escape(each.title)}</figcaption>{each.picture}"
            + (f"<p>{escape(each.note)}</p>" if each.note else "")
            + "</figure>"
            for each in document.charts
        )
        parts.append(section("Plots", f'<div class="cards">{"".join(cells)}</div>'))
    if document.films:
        parts.append(section("Clips", "".join(_row(title, films) for title, films in document.films)) + _TOGETHER)
    if document.notes:
        parts.append(section("Notes", "".join(f"<p>{escape(note)}</p>" for note in document.notes)))
    settings = [[name, "" if value is None else f"{value}"] for name, value in document.settings.items()]
    parts.append(section("Settings", f"<details><summary>All</summary>{table(('field', 'value'), settings)}</details>"))
    return page(document.title, parts)


def settings_of(config: Any) -> dict[str, Any]:
    """A command's options as plain data."""
    return to_dict(config)


def plain(value: Any) -> Any:
    """The same as JSON knows it: what is not a number is null, and infinite is a word."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, (float, np.floating)):
        if math.isnan(value):
            return None
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, np.integer):
        return int(value)
    return str(value) if isinstance(value, Path) else value


def said(value: float, digits: int = 3) -> str:
    """A figure as a cell: nothing where there is none."""
    return "" if math.isnan(value) else f"{value:.{digits}f}"


def said_with(value: float, low: float, high: float, digits: int = 3) -> str:
    """A figure with its interval, as a cell."""
    if math.isnan(value):
        return ""
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})" if math.isfinite(low) else said(value, digits)


def clip_url(frames: np.ndarray, fps: float) -> str:
    """uint8 frames (T, H, W, 3) as a data URL: H.264 that plays in browsers, or a PNG of a single frame."""
    frames = frames[:CLIP_FRAMES]
    height, width = frames.shape[1:3]
    scale = min(1.0, CLIP_PX / max(height, width))
    size = [max(2, round(side * scale / 2) * 2) for side in (width, height)]  # H.264 wants even sides
    if size != [width, height]:
        resized = [Image.fromarray(frame).resize((size[0], size[1]), Image.Resampling.LANCZOS) for frame in frames]
        frames = np.stack([np.asarray(frame) for frame in resized])
    if len(frames) == 1:
        buffer = io.BytesIO()
        Image.fromarray(frames[0]).save(buffer, "PNG")
        return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        write_video(path, frames, fps or 8.0)
        return f"data:video/mp4;base64,{base64.b64encode(path.read_bytes()).decode()}"


def film_tag(url: str, label: str) -> str:
    """The HTML element that shows such a URL."""
    if url.startswith("data:image"):
        return f'<img alt="{escape(label)}" src="{url}">'
    return f'<video autoplay muted playsinline preload="auto" title="{escape(label)}" src="{url}"></video>'


def _row(title: str, films: Sequence[Film]) -> str:
    cells = (
        f"<figure>{film_tag(each.url, each.label)}<figcaption>{escape(each.label)}</figcaption></figure>"
        for each in films
    )
    return f'<div class="films"><p>{escape(title)}</p><div>{"".join(cells)}</div></div>'

"""The dataset folders that the operator named, read for the page *Curate*. Clients name datasets and clips by number
and id; which files those are is looked up here."""

from __future__ import annotations

import asyncio
import hashlib
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from videosyn.app.serve.decoding import Still, stills
from videosyn.app.serve.folders import Folders
from videosyn.app.serve.options import Limits
from videosyn.core.errors import UserError

DURATION = "duration_s"
TABLES = ("metadata.parquet", "rejected.parquet")
_NO_SCORES = {"start_s", "end_s", "fps"}
_CLIP_NAME = re.compile(r"clips/[\w-]+\.mp4")
THUMBNAIL_PX = 320


@dataclass(frozen=True)
class ClipRow:
    """A clip of a dataset, kept or rejected. `stage` and `reason` are empty for those that were kept."""

    id: str
    values: dict[str, Any]
    stage: str = ""
    reason: str = ""

    @property
    def kept(self) -> bool:
        return not self.stage

    def number(self, name: str) -> float | None:
        """The value of a score, None where the clip has none."""
        if name == DURATION:
            start, end = self.values.get("start_s"), self.values.get("end_s")
            return None if start is None or end is None else end - start
        value = self.values.get(name)
        return None if value is None or math.isnan(value) else float(value)


class Dataset:
    """One folder's tables, read once."""

    def __init__(self, folder: Path) -> None:
        """Raises UserError where the tables cannot be read."""
        self.name, self.folder = folder.resolve().name, folder.resolve()
        self.rows: list[ClipRow] = []
        self.scores = [DURATION]
        """Names of the figures that clips can be chosen by."""
        for table in TABLES:
            if (self.folder / table).is_file():
                self._read(self.folder / table)
        self._by_id = {row.id: row for row in self.rows}

    def _read(self, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(path)
        except (OSError, pa.ArrowException) as error:
            raise UserError(f"cannot read {path}: {str(error).splitlines()[0]}") from error
        numbers = [field.name for field in table.schema if pa.types.is_floating(field.type)]
        self.scores += [name for name in numbers if name not in _NO_SCORES and name not in self.scores]
        for place, values in enumerate(table.to_pylist()):
            stage, reason = values.get("rejected_by") or "", values.get("reason") or ""
            self.rows.append(ClipRow(values.get("id") or f"row{place}", values, stage, reason))

    @cached_property
    def reasons(self) -> dict[str, Counter[str]]:
        """Stage -> reason, its numbers taken out -> how many clips it rejected."""
        found: dict[str, Counter[str]] = {}
        for row in self.rows:
            if not row.kept:
                found.setdefault(row.stage, Counter())[re.sub(r"\d[\d.,]*", "…", row.reason)] += 1
        return found

    def chosen(
        self, which: str, score: str, least: float | None, most: float | None, stage: str = "", words: str = ""
    ) -> list[ClipRow]:
        """Clips that are kept, rejected or all, with a score within [least, most], sorted by it; None: no bound.

        Clips without that score are left out where there is a bound, else they come last. words: in the caption.
        """
        rows = [row for row in self.rows if which == "all" or row.kept == (which == "kept")]
        if stage:
            rows = [row for row in rows if row.stage == stage]
        if words.strip():
            rows = [row for row in rows if words.strip().lower() in str(row.values.get("text") or "").lower()]
        bounded = least is not None or most is not None
        pairs = [(row.number(score), row) for row in rows]
        within = [
            (value, row)
            for value, row in pairs
            if value is not None and (least is None or value >= least) and (most is None or value <= most)
        ]
        others = [] if bounded else [row for value, row in pairs if value is None]
        return [row for _, row in sorted(within, key=lambda pair: -pair[0])] + others

    def row(self, clip_id: str) -> ClipRow | None:
        return self._by_id.get(clip_id)

    def clip_file(self, row: ClipRow) -> Path | None:
        """A kept clip's file; None where it is not there, or the table names a file elsewhere."""
        name = row.values.get("file_name") or ""
        path = self.folder / name
        return path if row.kept and _CLIP_NAME.fullmatch(name) and path.is_file() else None

    def place_of_still(self, row: ClipRow) -> tuple[Path, float] | None:
        """The file and the second in it that show what a clip is about: its middle."""
        start, end = row.values.get("start_s"), row.values.get("end_s")
        if start is None or end is None:
            return None
        if (own := self.clip_file(row)) is not None:
            return own, (end - start) / 2
        source = Path(row.values.get("source_path") or "")
        return (source, (start + end) / 2) if source.is_file() else None


class Datasets:
    """All of them, each read when first opened and when its tables changed, and thumbnails of their clips."""

    def __init__(self, folders: Sequence[Path], files: Folders, limits: Limits) -> None:
        self._folders, self._files, self._limits = list(folders), files, limits
        self._open: dict[int, tuple[list[tuple[int, int]], Dataset]] = {}
        self._reading = asyncio.Lock()
        self._decoding = asyncio.Lock()

    @property
    def names(self) -> list[tuple[str, int]]:
        """(name, number) of each."""
        return [(folder.resolve().name, number) for number, folder in enumerate(self._folders)]

    async def get(self, number: int) -> Dataset | None:
        """Raises UserError where its tables cannot be read, which happens in a thread: large ones take seconds."""
        if not 0 <= number < len(self._folders):
            return None
        stamp = _stamp(self._folders[number])
        if number not in self._open or self._open[number][0] != stamp:
            async with self._reading:
                if number not in self._open or self._open[number][0] != stamp:  # not while this one waited
                    self._open[number] = stamp, await asyncio.to_thread(Dataset, self._folders[number])
        return self._open[number][1]

    def thumbnail(self, dataset: Dataset, row: ClipRow) -> Path:
        """Where its thumbnail is, once `make_thumbnails` made it."""
        key = hashlib.blake2b(f"{dataset.folder}\n{row.id}".encode(), digest_size=16).hexdigest()
        return self._files.thumbnail(key)

    async def make_thumbnails(self, dataset: Dataset, rows: Sequence[ClipRow]) -> None:
        """Those that are not there yet, in one process. A clip that does not decode stays without."""
        wanted = []
        for row in rows:
            place, target = dataset.place_of_still(row), self.thumbnail(dataset, row)
            if place is not None and not target.exists():
                wanted.append(Still(str(place[0]), place[1], str(target)))
        if wanted:
            async with self._decoding:
                await stills(wanted, THUMBNAIL_PX, self._limits)


def _stamp(folder: Path) -> list[tuple[int, int]]:
    """What changes when a table is written: time and size of those that are there."""
    found = [(folder / table).stat() for table in TABLES if (folder / table).is_file()]
    return [(each.st_mtime_ns, each.st_size) for each in found]

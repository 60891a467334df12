"""Captions that lie beside the sources as text. Next: `captions.py`.

For a source `talk.mp4`, the first of these that has something to say about the clip:

    talk.mp4.txt, talk.txt          a caption for the whole source
    talk.mp4.json, talk.json        an object with `caption`, `text` or `description`; or a list of objects as below
    talk.mp4.jsonl, talk.jsonl      a line an object: {"start_s": 0, "end_s": 9.5, "caption": "..."}
    captions.jsonl                  the same for all sources of the folder, with "file_name": "talk.mp4"

Of captions with times, which count in seconds from the source's start, the one that covers most of the clip is taken;
one without times covers all of it, and stands back behind one that covers at least half.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from videosyn.core.errors import UserError
from videosyn.curation.records import Clip
from videosyn.curation.work import Work

_CAPTION_KEYS = ("caption", "text", "description")
_MIN_COVER = 0.5


@dataclass(frozen=True)
class TimedCaption:
    text: str
    start_s: float | None = None
    """None: from the start."""
    end_s: float | None = None
    """None: to the end."""

    @property
    def is_timed(self) -> bool:
        return self.start_s is not None or self.end_s is not None


class Sidecars:
    """A Captioner that reads. Raises UserError for a file that is there and cannot be understood."""

    name = "sidecar"

    def __init__(self) -> None:
        self._read: tuple[str, str, list[TimedCaption]] | None = None

    def setup(self) -> None:
        """Nothing to load."""

    def caption(self, clip: Clip, work: Work) -> str:
        return best_caption(self._captions_of(clip.source, work), clip.start_s, clip.end_s)

    def _captions_of(self, source_id: str, work: Work) -> list[TimedCaption]:
        if self._read is None or self._read[:2] != (work.root, source_id):
            self._read = (work.root, source_id, read_sidecars(work.source(source_id).path))
        return self._read[2]


def best_caption(captions: Sequence[TimedCaption], start_s: float, end_s: float) -> str:
    """The caption for a span: the timed one that covers most of it, if that is half; else one without times."""
    best, most = "", 0.0
    for caption in captions:
        if caption.is_timed:
            first_s = max(start_s, caption.start_s if caption.start_s is not None else start_s)
            last_s = min(end_s, caption.end_s if caption.end_s is not None else end_s)
            cover = (last_s - first_s) / max(end_s - start_s, 1e-9)
            if cover > most and cover >= _MIN_COVER:
                best, most = caption.text, cover
    return best or next((caption.text for caption in captions if not caption.is_timed), "")


def read_sidecars(path: str) -> list[TimedCaption]:
    """All captions beside a source, a local path or an fsspec URL; those of the nearest name first."""
    folder, _, name = path.rpartition("/")
    stem = PurePosixPath(name).stem
    captions: list[TimedCaption] = []
    for base in dict.fromkeys((name, stem)):
        for suffix in (".txt", ".json", ".jsonl"):
            content = _read(folder, base + suffix)
            if content is not None:
                captions += parse(content, suffix, f"{folder}/{base}{suffix}")
    content = _read(folder, "captions.jsonl")
    if content is not None:
        captions += parse(content, ".jsonl", f"{folder}/captions.jsonl", only=(name, stem))
    return captions


def parse(content: str, suffix: str, where: str, only: Sequence[str] = ()) -> list[TimedCaption]:
    """The captions in a file's content. only: names that `file_name` must be one of; empty: it is not asked for."""
    if suffix == ".txt":
        return [TimedCaption(content.strip())] if content.strip() else []
    try:
        if suffix == ".json":
            found = json.loads(content)
            rows = found if isinstance(found, list) else [found]
        else:
            rows = [json.loads(line) for line in content.splitlines() if line.strip()]
    except ValueError as error:
        raise UserError(f"{where} is no {suffix[1:].upper()} ({error}): mend it, or take it away") from error
    if not all(isinstance(row, dict) for row in rows):
        raise UserError(f"{where} must hold objects with a caption, such as {{'caption': 'A dog runs.'}}")
    return [caption for row in rows if _is_meant(row, only) and (caption := _of_row(row, where)) is not None]


def _is_meant(row: dict[str, Any], only: Sequence[str]) -> bool:
    return not only or str(row.get("file_name", "")).rpartition("/")[2] in only


def _of_row(row: dict[str, Any], where: str) -> TimedCaption | None:
    """None: the object says something else, such as a licence."""
    text = next((row[key] for key in _CAPTION_KEYS if isinstance(row.get(key), str) and row[key].strip()), "")
    if not text:
        return None
    try:
        start_s, end_s = (None if row.get(key) is None else float(row[key]) for key in ("start_s", "end_s"))
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: start_s and end_s must be seconds ({error})") from error
    text = text.encode(errors="replace").decode()  # JSON may hold halves of characters, which no table takes
    return TimedCaption(text.strip(), start_s, end_s)


def _read(folder: str, name: str) -> str | None:
    try:
        return Work(folder).read(name).decode("utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:  # with its suffix, where the source's own just fits
            return None
        raise

"""Captioned clips in files, as a list: a folder that `videosyn curate` wrote, any VideoFolder, or WebDataset shards.

    clips/*.mp4 and metadata.parquet, .csv or .jsonl        a row a clip: `file_name`, `text`, perhaps sizes
    *.tar, or shards/*.tar                                  per clip KEY.mp4, KEY.txt, perhaps KEY.json with its row

Frames, size and frames a second come from the row where it has them, else from the file. Torch-free; pyarrow and PyAV
are imported when a table or a file asks for them. Next: `windows.py`.
"""

from __future__ import annotations

import csv
import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videosyn.core.errors import UserError
from videosyn.dataset.decode import DamagedClip, Place, probe

TABLES = ("metadata.parquet", "metadata.csv", "metadata.jsonl")
CAPTION_COLUMNS = ("text", "caption", "description")
_CLIP_SUFFIXES = (".mp4", ".mkv", ".webm", ".mov", ".avi", ".m4v", ".jpg", ".jpeg", ".png", ".webp")


@dataclass(frozen=True)
class FootageClip:
    """One clip, or one picture: a clip of one frame."""

    name: str
    """As the table has it; the key in a shard."""
    place: Place
    caption: str
    num_frames: int
    height: int
    width: int
    fps: float


@dataclass(frozen=True)
class Footage:
    """The clips of a folder in the order of their names, and those that could not be taken, with the reason."""

    folder: Path
    clips: tuple[FootageClip, ...]
    refused: tuple[tuple[str, str], ...] = ()


def read_footage(folder: Path, with_captions: bool = True) -> Footage:
    """Lists the clips of a dataset folder. Raises UserError where there is none, or (`with_captions`) no caption.

    Clips whose file cannot be opened, or (`with_captions`) whose caption is empty, are in `refused`.
    """
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}: give the folder of a dataset, with metadata.parquet and clips/")
    table = next((folder / name for name in TABLES if (folder / name).is_file()), None)
    tars = sorted(folder.glob("*.tar")) or sorted((folder / "shards").glob("*.tar"))
    if table is None and not tars:
        raise UserError(f"{folder} is no dataset: it has none of {', '.join(TABLES)}, nor *.tar shards")
    entries = list(_rows_of_table(folder, table) if table is not None else _rows_of_tars(tars))
    if not entries:
        raise UserError(f"{table or folder} lists no clips")
    if with_captions and not any(_caption(row) for _, _, row in entries):
        raise UserError(
            f"{table or folder} has no captions: give it a column `text`, or curate with --captions.captioner"
        )
    with ThreadPoolExecutor(max_workers=8) as threads:  # PyAV opens files without holding the interpreter
        ordered = sorted(entries, key=lambda entry: entry[0])
        taken = list(threads.map(lambda entry: _take(entry[0], entry[1], entry[2], with_captions), ordered))
    clips = tuple(each for each in taken if isinstance(each, FootageClip))
    return Footage(folder, clips, tuple(each for each in taken if isinstance(each, tuple)))


def _take(name: str, place: Place, row: Mapping[str, Any], with_captions: bool) -> FootageClip | tuple[str, str]:
    caption = _caption(row)
    if with_captions and not caption:
        return name, "has no caption"
    known = [row.get(key) for key in ("num_frames", "height", "width", "fps")]
    try:
        num_frames, height, width, fps = (float(each) for each in known)  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError):
        try:
            num_frames, height, width, fps = probe(place)
        except DamagedClip as error:
            return name, str(error)
    if min(num_frames, height, width) < 1 or fps <= 0:
        return name, f"says it has {num_frames:g} frames of {height:g}x{width:g} at {fps:g} a second"
    return FootageClip(name, place, caption, int(num_frames), int(height), int(width), fps)


def _caption(row: Mapping[str, Any]) -> str:
    return next((" ".join(str(row[key]).split()) for key in CAPTION_COLUMNS if row.get(key)), "")


def _rows_of_table(folder: Path, path: Path) -> Iterator[tuple[str, Place, Mapping[str, Any]]]:
    for row in _table(path):
        name = row.get("file_name")
        if not name:
            raise UserError(f"{path} must have a column file_name: a path of each clip beside the table")
        yield str(name), Place(str(folder / str(name))), row


def _table(path: Path) -> Iterable[Mapping[str, Any]]:
    try:
        if path.suffix == ".csv":
            with path.open(encoding="utf-8", newline="") as file:
                return list(csv.DictReader(file))
        if path.suffix == ".jsonl":
            return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        return _parquet(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged ({str(error).splitlines()[0]}): write it again") from error


def _parquet(path: Path) -> Iterable[Mapping[str, Any]]:
    try:
        import pyarrow.parquet as pq
    except ImportError as error:
        raise UserError(f"reading {path.name} needs pyarrow: pip install 'videosyn[train]'") from error
    wanted = {"file_name", *CAPTION_COLUMNS, "num_frames", "height", "width", "fps"}
    names = [name for name in pq.read_schema(path).names if name in wanted]
    return pq.read_table(path, columns=names).to_pylist()


def _rows_of_tars(paths: list[Path]) -> Iterator[tuple[str, Place, Mapping[str, Any]]]:
    """Where in its tar each clip lies: it is read there, the shard is never unpacked."""
    seen: set[str] = set()  # shards may each number their clips from 0: clips of one name would share their latents
    for path in paths:
        found: dict[str, dict[str, Any]] = {}
        try:
            with tarfile.open(path, "r:") as tar:
                for member in tar:
                    key, suffix = _split(member.name)
                    entry = found.setdefault(key, {})
                    if suffix in _CLIP_SUFFIXES:
                        entry["place"] = Place(str(path), member.offset_data, member.size, suffix)
                    elif suffix == ".txt":
                        entry["text"] = _content(tar, member).decode()
                    elif suffix == ".json":
                        entry["row"] = json.loads(_content(tar, member))
        except (OSError, ValueError, tarfile.TarError) as error:
            raise UserError(f"the shard {path} is damaged ({error}): write it again") from error
        for key, entry in found.items():
            if "place" in entry:
                text = {"text": entry["text"]} if "text" in entry else {}
                yield f"{path.name}/{key}" if key in seen else key, entry["place"], {**entry.get("row", {}), **text}
        seen |= set(found)


def _split(member: str) -> tuple[str, str]:
    """ "a/b.c.mp4" -> "a/b", ".mp4": in WebDataset the key ends at the first dot of the file's name."""
    folder, _, file = member.rpartition("/")
    key = file.partition(".")[0]
    return (f"{folder}/{key}" if folder else key), Path(file).suffix.lower()


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    return b"" if file is None else file.read()

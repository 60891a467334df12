"""Captioned clips in files, as a list: a folder that `videosyn curate` wrote, any VideoFolder, or WebDataset shards.

    clips/*.mp4 and metadata.parquet, .csv or .jsonl        a row a clip: `file_name`, `text`, perhaps sizes
    *.tar, or shards/*.tar                                  per clip KEY.mp4, KEY.txt, perhaps KEY.json with its row

The folder may be an fsspec URL, such as s3://bucket/dataset: nothing is copied, clips are read where they lie. Frames,
size and frames a second come from the row where it has them, else from the file. Torch-free; pyarrow and PyAV are
imported when a table or a file asks for them. Next: `windows.py`.
"""

from __future__ import annotations

import csv
import io
import json
import os
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from videosyn.core.errors import UserError
from videosyn.dataset.decode import DamagedClip, Place, probe
from videosyn.dataset.places import Folder, open_binary, open_headers

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
    num_bytes: int = 0
    """Of its file, or of its part of a shard; 0: unknown."""


@dataclass(frozen=True)
class Footage:
    """The clips of a folder in the order of their names, and those that could not be taken, with the reason."""

    folder: str
    clips: tuple[FootageClip, ...]
    refused: tuple[tuple[str, str], ...] = ()


def read_footage(folder: str | os.PathLike, with_captions: bool = True) -> Footage:
    """Lists the clips of a dataset folder, local or an fsspec URL. Raises UserError where there is none, or
    (`with_captions`) no caption.

    Clips whose file cannot be opened, or (`with_captions`) whose caption is empty, are in `refused`.
    """
    inside = Folder(os.fspath(folder))
    table = next((name for name in TABLES if inside.is_file(name)), None)
    tars = [] if table is not None else inside.names("*.tar") or inside.names("shards/*.tar")
    if table is None and not tars:
        raise UserError(f"{folder} is no dataset: it has none of {', '.join(TABLES)}, nor *.tar shards")
    entries = list(_rows_of_table(inside, table) if table is not None else _rows_of_tars(inside, tars))
    what = inside.root if table is None else inside.path(table)
    if not entries:
        raise UserError(f"{what} lists no clips")
    if with_captions and not any(_caption(row) for _, _, row in entries):
        raise UserError(f"{what} has no captions: give it a column `text`, or curate with --captions.captioner")
    size_of = inside.sizes() if table is not None else (lambda _: 0)

    def take(entry: tuple[str, Place, Mapping[str, Any]]) -> FootageClip | tuple[str, str]:
        name, place, row = entry
        clip = _take(name, place, row, with_captions)
        return replace(clip, num_bytes=place.length or size_of(name)) if isinstance(clip, FootageClip) else clip

    with ThreadPoolExecutor(max_workers=8) as threads:  # PyAV opens files without holding the interpreter
        taken = list(threads.map(take, sorted(entries, key=lambda entry: entry[0])))
    clips = tuple(each for each in taken if isinstance(each, FootageClip))
    return Footage(inside.root, clips, tuple(each for each in taken if isinstance(each, tuple)))


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


def _rows_of_table(folder: Folder, table: str) -> Iterator[tuple[str, Place, Mapping[str, Any]]]:
    for row in _table(folder, table):
        name = row.get("file_name")
        if not name:
            raise UserError(f"{folder.path(table)} must have a column file_name: a path of each clip beside the table")
        yield str(name), Place(folder.path(str(name))), row


def _table(folder: Folder, name: str) -> Iterable[Mapping[str, Any]]:
    try:
        if name.endswith(".csv"):
            return list(csv.DictReader(io.StringIO(folder.read_text(name), newline="")))
        if name.endswith(".jsonl"):
            return [json.loads(line) for line in folder.read_text(name).splitlines() if line.strip()]
        return _parquet(folder.path(name))
    except UserError:
        raise
    except (OSError, ValueError) as error:
        raise UserError(f"{folder.path(name)} is damaged ({str(error).splitlines()[0]}): write it again") from error


def _parquet(path: str) -> Iterable[Mapping[str, Any]]:
    try:
        import pyarrow.parquet as pq
    except ImportError as error:
        raise UserError(f"reading {path} needs pyarrow: pip install 'videosyn[train]'") from error
    wanted = {"file_name", *CAPTION_COLUMNS, "num_frames", "height", "width", "fps"}
    with open_binary(path) as file, pq.ParquetFile(file) as table:
        return table.read([name for name in table.schema_arrow.names if name in wanted]).to_pylist()


def _rows_of_tars(folder: Folder, names: list[str]) -> Iterator[tuple[str, Place, Mapping[str, Any]]]:
    """Where in its tar each clip lies: it is read there, the shard is never unpacked."""
    seen: set[str] = set()  # shards may each number their clips from 0: clips of one name would share their latents
    with ThreadPoolExecutor(max_workers=8) as threads:
        for path, found in threads.map(_members, [folder.path(name) for name in names]):
            for key, entry in found.items():
                if "place" in entry:
                    text = {"text": entry["text"]} if "text" in entry else {}
                    name = f"{path.rpartition('/')[2]}/{key}" if key in seen else key
                    yield name, entry["place"], {**entry.get("row", {}), **text}
            seen |= set(found)


def _members(path: str) -> tuple[str, dict[str, dict[str, Any]]]:
    """The shard's path, and by key its clip's place, its text and its row, those that are there."""
    found: dict[str, dict[str, Any]] = {}
    try:
        with open_headers(path) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                key, suffix = _split(member.name)
                entry = found.setdefault(key, {})
                if suffix in _CLIP_SUFFIXES:
                    entry["place"] = Place(path, member.offset_data, member.size, suffix)
                elif suffix == ".txt":
                    entry["text"] = _content(tar, member).decode()
                elif suffix == ".json":
                    entry["row"] = json.loads(_content(tar, member))
    except (OSError, ValueError, tarfile.TarError) as error:
        raise UserError(f"the shard {path} is damaged ({error}): write it again") from error
    return path, found


def _split(member: str) -> tuple[str, str]:
    """ "a/b.c.mp4" -> "a/b", ".mp4": in WebDataset the key ends at the first dot of the file's name."""
    folder, _, file = member.rpartition("/")
    key = file.partition(".")[0]
    return (f"{folder}/{key}" if folder else key), Path(file).suffix.lower()


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    return b"" if file is None else file.read()

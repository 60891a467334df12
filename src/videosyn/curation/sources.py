"""Which files a curation reads: files, folders, globs and fsspec URLs -> paths, and the licence beside a file.

What is a video is found out later, by its content: here only names are seen. Next: `probe.py`.
"""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from videosyn.core.errors import UserError
from videosyn.curation.work import is_url

_SIDECARS = (".license", ".json", ".jsonl", ".txt")
_LICENCE_TAGS = ("license", "licence", "copyright")
_OTHER_THINGS = frozenset(
    """
    .aac .ass .bib .bmp .bz2 .c .cc .cfg .cpp .css .csv .db .doc .docx .flac .gz .h .htm .html .ini .ipynb .jpeg .jpg
    .js .json .jsonl .license .log .lrc .m3u8 .m4a .md .mp3 .nfo .npy .npz .oga .ogg .opus .parquet .part .pdf .pkl .png
    .pptx .pt .py .rar .rs .rst .safetensors .sh .so .sql .sqlite .srt .ssa .sub .svg .tar .tex .tgz .tif .tiff .toml
    .torrent .tsv .ttf .txt .url .vtt .wav .webp .wma .xls .xlsx .xml .xz .yaml .yml .zip .zst
    """.split()
)


def find_sources(words: Sequence[str], skip: Sequence[str] = ()) -> list[str]:
    """Files, folders, globs and fsspec URLs -> the paths of all files that may be videos, sorted, each once.

    Local paths become absolute, so that a worker with another working directory reads the same file. A folder gives
    every file below it, a glob every file that matches; of both, hidden files and files whose name says that they are
    something else (`.txt`, `.json`, `.jpg`, `.mp3`, ...) are left out. A file that is named itself is taken as it is,
    unless it is the sidecar of another one. Nothing below the folders or URLs `skip` is taken, whatever links lead to
    them. Raises UserError for a word that matches nothing, and where nothing is left.
    """
    if not words:
        raise UserError("sources are needed: videosyn curate FOLDER -o DATASET")
    skipped = tuple(_real(folder).rstrip("/") + "/" for folder in skip)
    found: set[str] = set()
    for word in words:
        found.update(_expand(word))
    parents = {path.rpartition("/")[0] for path in found} if skip else set()
    inside = {parent for parent in parents if f"{_real(parent)}/".startswith(skipped)}
    kept = sorted(path for path in found if path.rpartition("/")[0] not in inside)
    kept = _without_sidecars(kept)
    if not kept:
        raise UserError(f"no source found in {', '.join(words)}: give videos, or folders that hold some")
    return kept


def licence_of(path: str, tags: Mapping[str, str] | None = None) -> str:
    """The licence of a source in one line, empty where nobody says.

    In order: `PATH.license` (its SPDX-License-Identifier, else its first line), `PATH.json` or the same name with
    `.json` in place of the suffix (key `license` or `licence`), the container's tags `license`, `licence`, `copyright`.
    """
    stem = path[: -len(suffix)] if (suffix := PurePosixPath(path).suffix) else path
    for name in (f"{path}.license", f"{stem}.license"):
        if (text := _read_text(name)) is not None and (line := _licence_line(text)):
            return line
    for name in (f"{path}.json", f"{stem}.json"):
        if (text := _read_text(name)) is not None and (line := _licence_key(text)):
            return line
    lower = {key.lower(): value for key, value in (tags or {}).items()}
    return next((" ".join(lower[tag].split()) for tag in _LICENCE_TAGS if lower.get(tag, "").strip()), "")


def _expand(word: str) -> Iterable[str]:
    if is_url(word):
        return _expand_url(word)
    path = Path(word).expanduser()
    if path.is_dir():
        return _walk(path)
    if path.exists():
        return [_absolute(str(path))]
    matches = glob.glob(str(path), recursive=True) if glob.has_magic(word) else []
    if not matches:
        raise UserError(f"no source found: {word} does not exist")
    return [file for match in matches for file in (_walk(Path(match)) if os.path.isdir(match) else _named_video(match))]


def _walk(folder: Path) -> list[str]:
    def closed(error: OSError) -> None:
        raise UserError(f"cannot read {error.filename}: {error.strerror}") from error

    files = []
    for parent, folders, names in os.walk(folder, onerror=closed):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files += [file for name in names for file in _named_video(os.path.join(parent, name))]
    return files


def _named_video(path: str) -> list[str]:
    return [_absolute(path)] if may_be_video(path) and os.path.isfile(path) else []


def may_be_video(name: str) -> bool:
    """Whether a file of this name is worth opening: not hidden, and not named as something else."""
    base = PurePosixPath(name).name
    return not base.startswith(".") and PurePosixPath(base.lower()).suffix not in _OTHER_THINGS


def _expand_url(url: str) -> list[str]:
    try:
        filesystem, path = _filesystem(url)
        if filesystem.isfile(path):  # before patterns: names may hold [ ] and *
            return [filesystem.unstrip_protocol(path)]
        if glob.has_magic(path) and not filesystem.isdir(path):
            inside = [match for match in filesystem.glob(path) if filesystem.isfile(match) and may_be_video(match)]
        else:
            inside = [match for match in filesystem.find(path) if may_be_video(match)]
            inside = [match for match in inside if "/." not in match[len(path) :]]
        files = [filesystem.unstrip_protocol(match) for match in inside]
    except UserError:
        raise
    except Exception as error:  # every filesystem has its own
        raise UserError(f"cannot list {url}: {' '.join(str(error).split()) or type(error).__name__}") from error
    if not files:
        raise UserError(f"no source found: {url} holds no video")
    return files


def _without_sidecars(paths: list[str]) -> list[str]:
    """Leaves out texts that lie beside another path and bear its name, `a.mp4.json` or `a.json` beside `a.mp4`."""
    names = {path for path in paths if not path.lower().endswith(_SIDECARS)}
    stems = names | {str(path.rsplit(".", 1)[0]) for path in names}
    return [path for path in paths if path in names or path.rsplit(".", 1)[0] not in stems]


def _absolute(path: str) -> str:
    return path if is_url(path) else os.path.abspath(os.path.expanduser(path))


def _real(folder: str) -> str:
    """A folder's or URL's one name, whatever links and spellings lead to it."""
    if not is_url(folder) or folder.startswith("file://"):
        return os.path.realpath(os.path.expanduser(folder.removeprefix("file://")))
    try:
        filesystem, path = _filesystem(folder)
    except Exception as error:  # every filesystem has its own
        raise UserError(f"cannot read {folder}: {' '.join(str(error).split()) or type(error).__name__}") from error
    return filesystem.unstrip_protocol(path)


def _filesystem(url: str) -> tuple[Any, str]:
    from fsspec.core import url_to_fs

    return url_to_fs(url)


def _read_text(name: str) -> str | None:
    try:
        if is_url(name):
            filesystem, path = _filesystem(name)
            return filesystem.cat_file(path).decode(errors="replace") if filesystem.exists(path) else None
        return Path(name).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _licence_line(text: str) -> str:
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    marked = [line.split(":", 1)[1].strip() for line in lines if line.startswith("SPDX-License-Identifier:")]
    return (marked or lines or [""])[0]


def _licence_key(text: str) -> str:
    try:
        mapping = json.loads(text)
    except ValueError:
        return ""
    if not isinstance(mapping, dict):
        return ""
    values = (mapping.get(key) for key in ("license", "licence"))
    line = next((" ".join(value.split()) for value in values if isinstance(value, str) and value.strip()), "")
    return line.encode(errors="replace").decode()  # JSON may hold halves of characters, which no table takes

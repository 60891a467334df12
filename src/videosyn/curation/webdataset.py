"""For millions of clips: tar shards that stream in order, and the same rows as partitioned Parquet.

    shards/00000.tar     per clip CLIP_ID.mp4, CLIP_ID.txt (the caption) and CLIP_ID.json (its row of metadata.parquet)
    shards/00000.parquet the rows of that shard

This is the layout of WebDataset. A shard ends with the clip that makes it larger than SHARD_BYTES. A shard whose rows
have not changed is left alone. Next: `report.py`.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from videosyn.core.files import atomic_file
from videosyn.curation.results import Result
from videosyn.curation.tables import as_table, kept_rows, kept_schema
from videosyn.curation.work import Work

SHARD_BYTES = 1_000_000_000
_DIGEST = b"videosyn.rows"


def write_shards(result: Result, dataset: Path, work: Work) -> None:
    """Writes DATASET/shards from DATASET/clips where the config asks for it, each file whole or not at all."""
    if not result.config.write.shards:
        return
    import pyarrow.parquet as pq

    folder = dataset / "shards"
    folder.mkdir(exist_ok=True)
    written = set()
    for number, rows in enumerate(_shards(kept_rows(result), SHARD_BYTES)):
        tar, table = folder / f"{number:05d}.tar", folder / f"{number:05d}.parquet"
        written |= {tar, table}
        digest = hashlib.blake2b(json.dumps(rows, sort_keys=True).encode()).hexdigest().encode()
        if tar.exists() and table.exists() and (pq.read_schema(table).metadata or {}).get(_DIGEST) == digest:
            continue
        with atomic_file(tar) as hidden:
            _write_tar(hidden, rows, dataset)
        with atomic_file(table) as hidden:  # last: its digest says that both are there
            pq.write_table(as_table(rows, kept_schema(result).with_metadata({_DIGEST: digest})), hidden)
    for path in {*folder.glob("*.tar"), *folder.glob("*.parquet")} - written:
        path.unlink()


def _shards(rows: Iterable[dict[str, Any]], largest_bytes: int) -> Iterator[list[dict[str, Any]]]:
    shard, size = [], 0
    for row in rows:
        shard.append(row)
        size += row["bytes"]
        if size >= largest_bytes:
            yield shard
            shard, size = [], 0
    if shard:
        yield shard


def _write_tar(path: Path, rows: list[dict[str, Any]], dataset: Path) -> None:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for row in rows:
            name = row["id"]
            with open(dataset / row["file_name"], "rb") as clip:
                clip.seek(0, io.SEEK_END)
                entry = tarfile.TarInfo(f"{name}.mp4")
                entry.size = clip.tell()
                clip.seek(0)
                tar.addfile(entry, clip)
            for suffix, text in (("txt", row["text"]), ("json", _json(row))):
                content = text.encode()
                entry = tarfile.TarInfo(f"{name}.{suffix}")
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))


def _json(row: Mapping[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False, sort_keys=True)

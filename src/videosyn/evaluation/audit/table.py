"""A dataset folder's clips with what its metadata says of them. Next: `looks.py`."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videosyn.core.config import from_dict
from videosyn.core.errors import UserError
from videosyn.evaluation.footage import video_files
from videosyn.world.scene import Scene

NAMES = ("metadata.parquet", "metadata.jsonl", "metadata.csv")
CAPTIONS = ("text", "caption")


@dataclass(frozen=True)
class Row:
    """A clip. `caption` None: the metadata has no captions; `scene` None: the world did not make it."""

    path: Path
    caption: str | None = None
    scene: Scene | None = None
    captioner: str = ""


def read_table(folder: Path) -> tuple[list[Row], list[str]]:
    """All clips in the order of the metadata, or of their names without; and notes on files that are not there."""
    table = next((folder / name for name in NAMES if (folder / name).is_file()), None)
    if table is None:
        return [Row(path) for path in video_files(folder)], ["There is no metadata: captions cannot be measured."]
    found, missing = [], 0
    for line in _lines(table):
        name = line.get("file_name")
        if not isinstance(name, str):
            raise UserError(f"{table} has a row without file_name: every clip needs one")
        if not (folder / name).is_file():
            missing += 1
            continue
        caption = next((line[key] for key in CAPTIONS if isinstance(line.get(key), str)), None)
        scene = from_dict(Scene, line["scene"], f"{table}, {name}") if isinstance(line.get("scene"), dict) else None
        found.append(Row(folder / name, caption, scene, str(line.get("captioner") or "")))
    if not found:
        raise UserError(f"{table} names no clip that is there: give the folder that holds both")
    return found, [f"{missing} clips of the metadata are not there."] if missing else []


def _lines(table: Path) -> list[Mapping[str, Any]]:
    try:
        if table.suffix == ".parquet":
            import pyarrow.parquet as pq

            return pq.read_table(table).to_pylist()
        with open(table, encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file)) if table.suffix == ".csv" else [json.loads(line) for line in file]
    except ImportError as error:
        raise UserError(f"{table} needs pyarrow: pip install 'videosyn[curate]'") from error
    except (OSError, ValueError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {table}: {' '.join(str(error).split())[:150]}") from error

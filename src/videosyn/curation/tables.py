"""What a dataset's user reads: metadata.parquet, a row a kept clip, and rejected.parquet, a row for all else.

metadata.parquet is the table of a Hugging Face VideoFolder: `file_name` and `text`, then where the clip comes from and
what it is, every score and every label as a column of its own, and the versions of the stages. Rows are sorted by
source path, then start. The same result gives the same bytes. Captions that `videosyn caption` wrote into the table
are in no ledger: `with_captions` takes them from there. Next: `report.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videosyn.core.errors import UserError
from videosyn.core.files import atomic_file
from videosyn.curation.records import Clip, Source
from videosyn.curation.results import Result
from videosyn.curation.work import Work

if TYPE_CHECKING:
    import pyarrow as pa

_FILE = {"file_name": "string", "text": "string"}
_ORIGIN = {
    "id": "string",  # of the clip
    "source": "string",  # first 16 hex digits of the BLAKE2b of the source's content
    "source_path": "string",
    "licence": "string",  # empty: unknown
    "start_s": "double",
    "end_s": "double",
    "start_frame": "int64",
    "num_frames": "int64",
}
_SIZE = {"width": "int32", "height": "int32", "fps": "double", "bytes": "int64"}
_WHY = {"rejected_by": "string", "reason": "string"}
_BECAME = {"width_px": "width", "height_px": "height", "fps": "fps", "bytes": "bytes"}
"""Scores of the stage `write` that are columns of _SIZE."""


def with_captions(result: Result, dataset: Path) -> Result:
    """The result whose kept clips without a caption have the one of DATASET/metadata.parquet, if it has one.

    A UserError where that file cannot be read: what is written next would lose its captions.
    """
    path = dataset / "metadata.parquet"
    if not path.is_file() or all(clip.caption for clip in result.kept):
        return result
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            there = {"id", "text", "captioner"} & set(file.schema_arrow.names)
            rows = file.read(sorted(there)).to_pylist()
    except (OSError, ValueError) as error:  # pyarrow's own are of both kinds
        line = str(error).strip().splitlines()[0]
        raise UserError(f"cannot read {path} ({line}): remove it, and the same command writes it anew") from error
    told = {row["id"]: row for row in rows if row.get("id") and row.get("text")}
    lacking = {clip.id for clip in result.kept if not clip.caption} & told.keys()
    clips = tuple(_told(clip, told[clip.id]) if clip.id in lacking else clip for clip in result.clips)
    return replace(result, clips=clips)


def _told(clip: Clip, row: Mapping[str, Any]) -> Clip:
    scores = {**clip.scores, "caption_words": float(len(row["text"].split()))}
    labels = {**clip.labels, "captioner": row.get("captioner") or clip.labels.get("captioner", "")}
    return replace(clip, caption=row["text"], scores=scores, labels=labels)


def write_tables(result: Result, dataset: Path, work: Work) -> None:
    """Writes DATASET/metadata.parquet and DATASET/rejected.parquet, each whole or not at all."""
    import pyarrow.parquet as pq

    rows = {"metadata.parquet": kept_rows(result), "rejected.parquet": rejected_rows(result)}
    rejected_schema = _schema({**_ORIGIN, **_WHY}, result.rejected, result)
    schemas = {"metadata.parquet": kept_schema(result), "rejected.parquet": rejected_schema}
    for name, schema in schemas.items():
        with atomic_file(dataset / name) as hidden:
            pq.write_table(as_table(rows[name], schema), hidden)


def kept_schema(result: Result) -> pa.Schema:
    """The columns of metadata.parquet: scores and labels are those that any kept clip has."""
    return _schema({**_FILE, **_ORIGIN, **_SIZE}, result.kept, result)


def kept_rows(result: Result) -> Iterator[dict[str, Any]]:
    """Rows of metadata.parquet in order, as plain values."""
    versions = _versions(result)
    for source, clip in in_order(result, written(result)):
        scores = {name: value for name, value in clip.scores.items() if name not in _BECAME}
        size = {column: clip.scores[score] for score, column in _BECAME.items()}
        size = {column: value if _SIZE[column] == "double" else int(value) for column, value in size.items()}
        file = {"file_name": clip.labels["file_name"], "text": clip.caption}
        labels = {name: value for name, value in clip.labels.items() if name != "file_name"}
        yield {**file, **_origin(source, clip), **size, **scores, **labels, **versions}


def written(result: Result) -> list[Clip]:
    """The kept clips that have their file: all, unless a stage over the whole dataset was set aside."""
    return [clip for clip in result.kept if "file_name" in clip.labels]


def rejected_rows(result: Result) -> Iterator[dict[str, Any]]:
    """Rows of rejected.parquet: rejected clips, then what was set aside, which has no span."""
    versions = _versions(result)
    for source, clip in in_order(result, result.rejected):
        why = {"rejected_by": clip.rejected_by, "reason": clip.reason}
        yield {**_origin(source, clip), **why, **clip.scores, **clip.labels, **versions}
    by_path = {source.path: source for source in result.sources}
    for unit in result.set_aside:
        source = by_path.get(unit.path)
        origin = {"source": source.id, "licence": source.licence} if source else {}
        yield {**origin, "source_path": unit.path, "rejected_by": unit.stage, "reason": unit.reason, **versions}


def in_order(result: Result, clips: Iterable[Clip]) -> list[tuple[Source, Clip]]:
    """Clips with their sources, sorted by source path, start and end."""
    sources = {source.id: source for source in result.sources}
    pairs = [(sources[clip.source], clip) for clip in clips]
    return sorted(pairs, key=lambda pair: (pair[0].path, pair[1].start_frame, pair[1].end_frame, pair[1].id))


def _origin(source: Source, clip: Clip) -> dict[str, Any]:
    span = {
        "start_s": clip.start_s,
        "end_s": clip.end_s,
        "start_frame": clip.start_frame,
        "num_frames": clip.num_frames,
    }
    return {"id": clip.id, "source": source.id, "source_path": source.path, "licence": source.licence, **span}


def _versions(result: Result) -> dict[str, str]:
    return {f"version_{stage}": version for stage, version in result.versions.items()}


def _schema(first: Mapping[str, str], clips: Sequence[Clip], result: Result) -> pa.Schema:
    import pyarrow as pa

    taken = {*first, *_BECAME, "file_name"}
    scores = _names((clip.scores for clip in clips), taken)
    labels = _names((clip.labels for clip in clips), {*taken, *scores})
    types = {**first, **dict.fromkeys(scores, "double"), **dict.fromkeys([*labels, *_versions(result)], "string")}
    return pa.schema([(name, pa.type_for_alias(kind)) for name, kind in types.items()])


def _names(mappings: Iterable[Mapping[str, Any]], taken: set[str]) -> list[str]:
    return sorted({name for mapping in mappings for name in mapping} - taken)


def as_table(rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Values that a row lacks are null; values without a column are left out."""
    import pyarrow as pa

    listed: Sequence[Mapping[str, Any]] = list(rows)
    columns = [pa.array([row.get(field.name) for row in listed], field.type) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)

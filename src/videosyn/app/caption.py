"""`videosyn caption`: files or datasets in, captions out; what is done is kept, and the same command goes on.

sources -> clips without a caption -> a few frames of each, read ahead -> captioner -> lines, printed or in a table
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from tqdm import tqdm

from videosyn.app.caption_options import BATCH_SIZE, MAX_TOKENS, METADATA, CaptionConfig, is_dataset
from videosyn.captioner.clip_captioner import ClipCaptioner, MemoryCaptioner, is_ours, open_captioner
from videosyn.core.errors import UserError
from videosyn.core.files import atomic_file, writing_to
from videosyn.core.looking import Look, count_frames, every_frame, films_of, look_at

PROGRESS = ".captions.jsonl"
"""In a dataset: captions that are not in its table yet."""


@dataclass(frozen=True)
class _Row:
    """A line of the output."""

    file_name: str
    text: str
    captioner: str
    num_frames: int


def run(config: CaptionConfig) -> None:
    """Captions every source. A file that cannot be read is told of, and the others are done; then a UserError."""
    datasets = [source for source in config.sources if is_dataset(source)]
    others = [source for source in config.sources if source not in datasets]
    if config.max_tokens is not None and is_ours(config.captioner):
        raise UserError(f"max-tokens is for vision language models, and {config.captioner} is ours: leave it out")
    captioner = open_captioner(config.captioner, config.device, config.dtype, config.max_tokens or MAX_TOKENS)
    if config.every_frame and not isinstance(captioner, MemoryCaptioner):
        raise UserError(f"every-frame is for captioners of ours, and {captioner.name} is none: leave it out")
    lost: list[str] = []
    for dataset in datasets:
        lost += _caption_dataset(dataset, captioner, config)
    if others:
        lost += _caption_files([film for source in others for film in films_of(source)], captioner, config)
    if lost:
        raise UserError(f"{len(lost)} files could not be captioned, the first: {lost[0]}")


def _caption_files(paths: list[Path], captioner: ClipCaptioner, config: CaptionConfig) -> list[str]:
    paths = list(dict.fromkeys(paths))
    done = {} if config.output is None else _read_lines(config.output)
    missing = [path for path in paths if config.overwrite or str(path) not in done]
    lost: list[str] = []
    written = 0
    try:
        for row in _captions([(str(path), path) for path in missing], captioner, config, lost):
            if config.output is None:
                tqdm.write(_printable(f"{row.file_name}: {row.text}"), file=sys.stdout)
            else:
                _append(config.output, row)
                written += 1
    finally:
        if config.output is not None and config.overwrite:
            _read_lines(config.output)  # rows that have a newer one go
    if config.output is not None:
        print(_printable(f"{config.output}: {written} captioned, {len(paths) - len(missing)} were there"))
    return lost


def _printable(text: str) -> str:
    """A file name may hold bytes that no terminal shows."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _caption_dataset(dataset: Path, captioner: ClipCaptioner, config: CaptionConfig) -> list[str]:
    """Fills the columns `text` and `captioner` of a dataset's table, which is replaced when all clips are done."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise UserError("a dataset's table needs pyarrow: pip install 'videosyn[train]'") from error
    try:
        table = pq.read_table(dataset / METADATA)
    except (OSError, ValueError) as error:  # pyarrow's own are of both kinds
        line = str(error).strip().splitlines()[0]
        raise UserError(f"cannot read {dataset / METADATA} ({line}): remove it, and curate writes it anew") from error
    if "file_name" not in table.column_names:
        raise UserError(f"{dataset / METADATA} has no column file_name: name a dataset that curate made")
    names: list[str] = table["file_name"].to_pylist()
    texts = [text or "" for text in table["text"].to_pylist()] if "text" in table.column_names else [""] * len(names)
    old = table["captioner"].to_pylist() if "captioner" in table.column_names else [None] * len(names)
    done = _captions_kept(dataset / PROGRESS, captioner.name if config.overwrite else "")
    wanted = [name for name, text in zip(names, texts) if (config.overwrite or not text) and name not in done]
    lost: list[str] = []
    for row in _captions([(name, dataset / name) for name in wanted], captioner, config, lost):
        _append(dataset / PROGRESS, row)
    done = _captions_kept(dataset / PROGRESS, captioner.name if config.overwrite else "")
    new = [done[name].text if name in done else text for name, text in zip(names, texts)]
    who = [done[name].captioner if name in done else each for name, each in zip(names, old)]
    columns: dict[str, Any] = {name: table[name] for name in table.column_names}
    columns |= {"text": pa.array(new, pa.string()), "captioner": pa.array(who, pa.string())}
    if "caption_words" in columns:
        columns["caption_words"] = pa.array([float(len(text.split())) for text in new], pa.float64())
    with writing_to(dataset / METADATA):
        with atomic_file(dataset / METADATA) as hidden:
            pq.write_table(pa.table(columns), hidden)
        (dataset / PROGRESS).unlink(missing_ok=True)
    print(f"{dataset / METADATA}: {len(done)} clips captioned, {len(names) - len(done)} left as they were")
    return lost


def _captions(
    clips: list[tuple[str, Path]], captioner: ClipCaptioner, config: CaptionConfig, lost: list[str]
) -> Iterator[_Row]:
    """(name, file) -> rows, in order; what cannot be read goes into `lost`."""
    bar = tqdm(total=len(clips), unit="clip", disable=None, file=sys.stderr, leave=False)

    def look(path: Path) -> Look | str:
        try:
            return look_at(path, captioner.num_frames, captioner.look_px)
        except UserError as error:
            return str(error)

    with bar, _pool() as pool:
        if config.every_frame:
            assert isinstance(captioner, MemoryCaptioner)
            for name, path in clips:
                row = _watch_whole(name, path, captioner, config, lost)
                bar.update()
                if row is not None:
                    yield row
            return
        # A vision language model answers clip by clip, and slowly: what it has said is written at once.
        size = (config.batch_size or BATCH_SIZE) if isinstance(captioner, MemoryCaptioner) else 1
        ahead = _ahead(pool, look, [path for _, path in clips], 2 * size)
        for batch in _batches(zip(clips, ahead), size):
            seen = [(name, found) for (name, _), found in batch if isinstance(found, Look)]
            lost += [found for _, found in batch if isinstance(found, str)]
            frames, times = [found.frames for _, found in seen], [found.times for _, found in seen]
            texts = captioner.caption(frames, config.prompt, times) if seen else []
            bar.update(len(batch))
            for (name, found), text in zip(seen, texts):
                yield _Row(name, text, captioner.name, found.num_frames)


def _watch_whole(
    name: str, path: Path, captioner: MemoryCaptioner, config: CaptionConfig, lost: list[str]
) -> _Row | None:
    try:
        count = count_frames(path)
        text = captioner.caption_whole(every_frame(path, captioner.look_px), count, config.prompt)
    except UserError as error:
        lost.append(str(error))
        return None
    return _Row(name, text, captioner.name, count)


@contextmanager
def _pool() -> Iterator[ThreadPoolExecutor]:
    """Two threads. Whoever leaves, also by Ctrl-C, waits for what they do, and not for what they would do next."""
    pool = ThreadPoolExecutor(2)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _ahead(pool: ThreadPoolExecutor, act: Any, items: list[Any], count: int) -> Iterator[Any]:
    """act(item) of each item in order, up to `count` of them computed before they are asked for."""
    waiting: list[Any] = []
    left = iter(items)
    while True:
        waiting += [pool.submit(act, item) for item in islice(left, count - len(waiting))]
        if not waiting:
            return
        yield waiting.pop(0).result()


def _batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    left = iter(items)
    while batch := list(islice(left, size)):
        yield batch


def _captions_kept(path: Path, captioner: str) -> dict[str, _Row]:
    """Rows of a run that was stopped. captioner: rows of others do not count; empty: all do."""
    return {name: row for name, row in _read_lines(path).items() if captioner in ("", row.captioner)}


def _read_lines(path: Path) -> dict[str, _Row]:
    """Rows by file name. A line that a kill cut short does not count, and is cut off; of two of one file the newer one
    stays, in the older one's place.
    """
    if not path.is_file():
        return {}
    rows: dict[str, _Row] = {}
    kept: dict[str, bytes] = {}
    for line in path.read_bytes().splitlines(keepends=True):
        if not line.endswith(b"\n"):
            break
        try:
            row = _Row(**json.loads(line))
        except (ValueError, TypeError) as error:
            raise UserError(f"{path} is no file of captions ({error}): give another output") from error
        rows[row.file_name], kept[row.file_name] = row, line
    whole = b"".join(kept.values())
    if len(whole) < path.stat().st_size:
        with writing_to(path), atomic_file(path) as hidden:
            hidden.write_bytes(whole)
    return rows


def _append(path: Path, row: _Row) -> None:
    with writing_to(path), path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(vars(row)) + "\n")

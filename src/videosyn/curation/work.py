"""Where stages leave what later stages need: a folder or an fsspec URL, every file written whole or not at all.

    sources/<source>.json            what the probe found
    scans/<source>/<span>.npz        per frame of a span: what the one decode measured
    frames/<source>/<index>.jpg      kept frames, full resolution

Arrays are .npz without pickles. fsspec is imported only for URLs. Next: `stages.py`.
"""

from __future__ import annotations

import errno
import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from videosyn.core.config import from_dict, to_dict
from videosyn.core.errors import UserError
from videosyn.core.files import atomic_file
from videosyn.curation.records import Source

if TYPE_CHECKING:
    import numpy as np


def is_url(path: str) -> bool:
    """Whether `path` is an fsspec URL, not a local path."""
    return "://" in path


def is_full(error: BaseException) -> bool:
    """Whether it says that a disk takes no more, whatever was to be written."""
    return getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class Work:
    """A work folder. Names are relative, with forward slashes. Pickles and travels as its root."""

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")

    def write(self, name: str, content: bytes) -> None:
        """Writes a file whole, in place of any other."""
        if is_url(self.root):
            with _filesystem(self.root).open(
                f"{self.root}/{name}", "wb"
            ) as file:  # object stores show whole files only
                file.write(content)
            return
        path = Path(self.root, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as hidden:
            hidden.write_bytes(content)

    def read(self, name: str) -> bytes:
        """A file's content. FileNotFoundError where there is none."""
        if is_url(self.root):
            with _filesystem(self.root).open(f"{self.root}/{name}", "rb") as file:
                return file.read()
        return Path(self.root, name).read_bytes()

    @contextmanager
    def new_file(self, name: str) -> Iterator[Path]:
        """Yields a local path; what is written there becomes the file `name` when the block ends without an error."""
        if is_url(self.root):
            with TemporaryDirectory(prefix="videosyn-") as folder:
                path = Path(folder, _base_name(name))
                yield path
                if path.exists():
                    _filesystem(self.root).put_file(str(path), f"{self.root}/{name}")
            return
        target = Path(self.root, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(target) as hidden:
            yield hidden

    def exists(self, name: str) -> bool:
        if is_url(self.root):
            return _filesystem(self.root).exists(f"{self.root}/{name}")
        return Path(self.root, name).exists()

    def write_json(self, name: str, value: Any) -> None:
        self.write(name, json.dumps(value, sort_keys=True).encode())

    def read_json(self, name: str) -> Any:
        return json.loads(self.read(name))

    def write_arrays(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Named arrays of numbers as .npz."""
        import numpy as np

        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)  # pyright: ignore[reportArgumentType]
        self.write(name, buffer.getvalue())

    def read_arrays(self, name: str) -> dict[str, np.ndarray]:
        import numpy as np

        with np.load(io.BytesIO(self.read(name)), allow_pickle=False) as file:
            return dict(file)

    def write_source(self, source: Source) -> None:
        self.write_json(f"sources/{source.id}.json", to_dict(source))

    def source(self, source_id: str) -> Source:
        return from_dict(Source, self.read_json(f"sources/{source_id}.json"), where=f"source {source_id}")


@contextmanager
def local_file(path: str) -> Iterator[Path]:
    """A local path with the content of `path`; an fsspec URL is copied to a temporary folder first.

    The last copy stays until another URL is asked for: tasks of one source often come one after the other. A child's
    last one goes with its temporary folder. Raises UserError where there is nothing, OSError where the copy has no
    room.
    """
    if not is_url(path):
        if not Path(path).is_file():
            raise UserError(f"{path} does not exist or is no file: give a video")
        yield Path(path)
        return
    folder = _fetched(path)
    yield Path(folder.name, _base_name(path))


@contextmanager
def source_file(source: Source) -> Iterator[Path]:
    """`local_file` of a probed source. Raises UserError also where it is no longer as long as it was then."""
    with local_file(source.path) as path:
        if (size_bytes := path.stat().st_size) != source.size_bytes:
            raise UserError(
                f"{source.path} changed since it was first read, {source.size_bytes} bytes then, {size_bytes} now: "
                "bring the old file back, or curate the new one into another folder"
            )
        yield path


@lru_cache(maxsize=1)
def _fetched(url: str) -> TemporaryDirectory[str]:
    """A folder with a copy of `url`, removed when nobody refers to it."""
    from fsspec.core import url_to_fs

    folder = TemporaryDirectory(prefix="videosyn-", ignore_cleanup_errors=True)
    copy = Path(folder.name, _base_name(url))
    try:
        filesystem, path = url_to_fs(url)
        filesystem.get_file(path, str(copy))  # `get` would take [ ] and * in a name for a pattern
    except OSError as error:
        folder.cleanup()
        if is_full(error):
            raise
        raise UserError(f"cannot read {url}: {error}") from error
    if not copy.is_file():
        folder.cleanup()
        raise UserError(f"{url} is no file: give a video")
    return folder


def _base_name(url: str) -> str:
    return url.rstrip("/").rsplit("/", 1)[-1]


def _filesystem(url: str) -> Any:
    from fsspec.core import url_to_fs

    return url_to_fs(url, auto_mkdir=True)[0] if url.startswith("file://") else url_to_fs(url)[0]

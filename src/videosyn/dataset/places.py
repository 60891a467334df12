"""Folders of data, local or on an fsspec filesystem (`s3://bucket/dataset`, `gs://...`), read where they lie.

fsspec is imported for URLs only. No torch. Next: `decode.py`, `footage.py`.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from videosyn.core.errors import UserError

WHOLE_BYTES = 1 << 26
"""A remote file up to this size is fetched in one request; what is larger, piece by piece as it is read."""
_HEADER_BYTES = 1 << 16
"""Of a remote shard, fetched at once while its members are listed: the content of clips between is not."""


def is_url(path: str) -> bool:
    return "://" in path


class Folder:
    """A local folder or an fsspec URL. Names inside are relative, with forward slashes."""

    def __init__(self, root: str) -> None:
        """Raises UserError where there is no such folder, or no package for such URLs."""
        self.root = root.rstrip("/") if is_url(root) else root
        if not is_url(root):
            exists = Path(root).is_dir()
        else:
            filesystem, path = _filesystem(self.root)
            exists = _reached(root, lambda: filesystem.isdir(path))
        if not exists:
            raise UserError(
                f"there is no folder {root}: give the folder of a dataset, with metadata.parquet and clips/"
            )

    def path(self, name: str) -> str:
        return f"{self.root}/{name}" if is_url(self.root) else str(Path(self.root, name))

    def is_file(self, name: str) -> bool:
        if not is_url(self.root):
            return Path(self.root, name).is_file()
        filesystem, path = _filesystem(self.path(name))
        return _reached(self.root, lambda: filesystem.isfile(path))

    def names(self, pattern: str) -> list[str]:
        """Of the files that match, such as `shards/*.tar`, sorted."""
        if not is_url(self.root):
            return sorted(path.relative_to(self.root).as_posix() for path in Path(self.root).glob(pattern))
        filesystem, path = _filesystem(self.root)
        found = _reached(self.root, lambda: filesystem.glob(f"{path}/{pattern}"))
        return sorted(each[len(path) :].lstrip("/") for each in found)

    def sizes(self) -> Callable[[str], int]:
        """Gives the bytes of a file inside, 0 where they are not known. A URL is listed, once: no request a file."""
        if not is_url(self.root):
            return self._size
        filesystem, path = _filesystem(self.root)
        found = _reached(self.root, lambda: filesystem.find(path, detail=True))
        listed = {each[len(path) :].lstrip("/"): int(about.get("size") or 0) for each, about in found.items()}
        return lambda name: listed.get(name, 0)

    def _size(self, name: str) -> int:
        try:
            return Path(self.root, name).stat().st_size
        except OSError:
            return 0

    def read_text(self, name: str) -> str:
        with open_binary(self.path(name)) as file:
            return file.read().decode("utf-8")


def open_binary(path: str) -> BinaryIO:
    """A local file or a URL, to read and to seek in. Raises OSError."""
    if not is_url(path):
        return open(path, "rb")
    filesystem, inside = _filesystem(path)
    file = _or_os_error(lambda: filesystem.open(inside, "rb"))
    if (getattr(file, "size", None) or WHOLE_BYTES + 1) > WHOLE_BYTES:
        return file
    with file:
        return io.BytesIO(_or_os_error(file.read))


def open_headers(path: str) -> BinaryIO:
    """The same for a file of which small parts, far from each other, are read."""
    if not is_url(path):
        return open(path, "rb")
    filesystem, inside = _filesystem(path)
    return _or_os_error(lambda: filesystem.open(inside, "rb", block_size=_HEADER_BYTES))


def read_range(path: str, offset: int, length: int) -> bytes:
    """`length` bytes from `offset` on. Raises OSError."""
    if is_url(path):
        filesystem, inside = _filesystem(path)
        return _or_os_error(lambda: filesystem.cat_file(inside, start=offset, end=offset + length))
    with open(path, "rb") as file:
        file.seek(offset)
        return file.read(length)


def _filesystem(url: str) -> tuple[Any, str]:
    """fsspec's filesystem for a URL, which it keeps, and the path there. Raises UserError where a package lacks."""
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise UserError(f"{url} needs fsspec: pip install 'videosyn[train]'") from error
    protocol = url.partition("://")[0]
    try:
        return url_to_fs(url)
    except ImportError as error:
        package = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
        fix = f"pip install {package[protocol]}" if protocol in package else " ".join(str(error).split())
        raise UserError(f"{url} needs a package for {protocol}://: {fix}") from error
    except ValueError as error:
        raise UserError(f"{url} is on no filesystem of fsspec's ({error}): use s3://, gs:// or a folder") from error


def _reached(url: str, ask: Any) -> Any:
    try:
        return ask()
    except Exception as error:  # every filesystem has its own
        raise UserError(f"cannot read {url}: {_line(error)}; are its name and your credentials right?") from error


def _or_os_error(ask: Any) -> Any:
    try:
        return ask()
    except OSError:
        raise
    except Exception as error:  # every filesystem has its own
        raise OSError(_line(error)) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__

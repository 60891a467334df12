"""Files and folders that appear whole or not at all. Torch-free."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from videosyn.core.errors import UserError

LONGEST_NAME = 255 - len("..12345678")
"""Bytes that file systems take, and `atomic_file` leaves."""


@contextmanager
def atomic_file(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a hidden path in the same folder and with the same suffix; leaving the block renames it to `path`.

    Where the block raises, Ctrl-C included, the hidden file is removed and `path` stays as it was.
    """
    path = Path(path)
    hidden = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        yield hidden
        os.replace(hidden, path)
    finally:
        hidden.unlink(missing_ok=True)


@contextmanager
def writing_to(path: str | os.PathLike) -> Iterator[None]:
    """What the disk refuses inside the block is a UserError that names `path`."""
    try:
        yield
    except OSError as error:
        why = " ".join(str(error.strerror or error).split())
        raise UserError(
            f"{path} cannot be written ({why}): free some space, or name another folder, and give the same command"
        ) from error


@contextmanager
def atomic_folder(path: str | os.PathLike) -> Iterator[Path]:
    """The same for a folder that is not there yet: whoever writes makes the hidden one."""
    path = Path(path)
    hidden = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        yield hidden
        os.replace(hidden, path)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def check_writable(path: str | os.PathLike) -> Path:
    """Returns `path` if a file can be written there; a UserError where its name is too long, or its folder missing or
    closed to us.
    """
    path = Path(path)
    if (length := len(os.fsencode(path.name))) > LONGEST_NAME:
        raise UserError(f"a file name has at most {LONGEST_NAME} bytes, got {length}: choose a shorter one")
    if path.is_dir():
        raise UserError(f"{path} is a folder: add a file name, such as {path / 'film.mp4'}")
    if not path.parent.is_dir():
        raise UserError(f"the folder {path.parent} does not exist: make it first, or choose another")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise UserError(f"the folder {path.parent} cannot be written to: choose another")
    return path

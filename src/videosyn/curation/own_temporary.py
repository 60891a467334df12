"""A temporary folder for one child process, removed by its parent, or by a later run where the parent was killed too.

A child ends by SIGKILL, which runs no finalizer: what it fetched would stay for good. Next: `isolation.py`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_PREFIX = "videosyn-child-"


class OwnTemporary:
    """A new folder in the system's temporary folder. The lock on it says that whoever made it is alive; the system
    frees it however that process ends, so process ids, which come again, do not matter.
    """

    def __init__(self) -> None:
        _remove_orphans()
        while True:
            self.path = Path(tempfile.mkdtemp(prefix=_PREFIX))
            self._lock = _locked(self.path, wait=True)
            if self.path.is_dir():  # not taken for an orphan before it was locked
                return
            self._unlock()

    def remove(self) -> None:
        """With all that is in it. Doing it again changes nothing."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._unlock()

    def _unlock(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)


def _remove_orphans() -> None:
    """Removes what killed runs left. Where there are no such locks, nothing."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # another user's, another run's, or gone
            lock = _locked(path, wait=False)
            if lock is not None:
                shutil.rmtree(path, ignore_errors=True)
                os.close(lock)


def _locked(folder: Path, wait: bool) -> int | None:
    """A descriptor that holds the folder's lock. Raises OSError where another holds it, unless `wait`."""
    if fcntl is None:
        return None
    descriptor = -1
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        if descriptor >= 0:
            os.close(descriptor)
        if not wait:
            raise
        return None  # a file system without locks: nobody removes what cannot be locked
    return descriptor

"""Where the service keeps its files. Their names are ids that the service itself made. Torch-free. Next: `store.py`."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from videosyn.core.errors import UserError

_OWN_NAME = re.compile(r"\.?[0-9a-f]{32}\b")
"""Jobs, uploads and what is made for them bear the 32 digits of `new_id`."""
_GRADIOS_NAME = re.compile(r"[0-9a-f]{64}")
"""Folders in which Gradio keeps a file each."""


@dataclass(frozen=True)
class Folders:
    """Everything under one root."""

    root: Path

    @property
    def database(self) -> Path:
        return self.root / "jobs.sqlite"

    @property
    def scratch(self) -> Path:
        """For what is half done. Emptied when the service starts."""
        return self.root / "scratch"

    @property
    def studio(self) -> Path:
        """For what Gradio keeps of the studio's uploads and films."""
        return self.root / "studio"

    def studio_bytes(self) -> int:
        """All that Gradio keeps."""
        total = 0
        for folder, _, names in os.walk(self.studio):
            for name in names:
                with contextlib.suppress(FileNotFoundError):  # Gradio removes what is old meanwhile
                    total += os.path.getsize(os.path.join(folder, name))
        return total

    def film(self, job_id: str) -> Path:
        return self.root / "films" / f"{job_id}.mp4"

    def poster(self, job_id: str) -> Path:
        """A frame of a finished film, JPEG."""
        return self.root / "films" / f"{job_id}.jpg"

    def preview(self, job_id: str) -> Path:
        """What a film under way looks like, JPEG."""
        return self.root / "previews" / f"{job_id}.jpg"

    def upload(self, upload_id: str) -> Path:
        """As it came, once it was known to decode."""
        return self.root / "uploads" / upload_id

    def thumbnail(self, key: str) -> Path:
        return self.root / "thumbnails" / f"{key}.jpg"

    def make(self) -> None:
        """Makes the folders, for this user alone. Raises UserError where that cannot be."""
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            for name in ("films", "previews", "uploads", "scratch", "thumbnails"):
                (self.root / name).mkdir(exist_ok=True, mode=0o700)
        except OSError as error:
            raise self._no_place(error) from error

    def lock(self) -> IO[str]:
        """Held for as long as the returned file is open. A UserError where another service holds it."""
        try:
            file = (self.root / "lock").open("w", encoding="ascii")
        except OSError as error:
            raise self._no_place(error) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise UserError(f"another service uses {self.root}: stop it, or choose another --data") from None
        file.write(f"{os.getpid()}\n")
        file.flush()
        return file

    def _no_place(self, error: OSError) -> UserError:
        return UserError(f"cannot keep jobs in {self.root}: {error.strerror}: choose another --data")

    def sweep(self, films: set[str], uploads: set[str]) -> None:
        """Removes what is half done, what belongs to no job in `films` and to none of `uploads`, and what Gradio kept;
        never a file that is not the service's."""
        kept = {"films": films, "uploads": uploads, "scratch": set(), "previews": set()}
        for folder, ids in kept.items():
            for path in (self.root / folder).iterdir():
                if path.stem not in ids and _OWN_NAME.match(path.name) and path.is_file():
                    path.unlink()
        if self.studio.is_dir():
            for path in self.studio.iterdir():
                if _GRADIOS_NAME.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)

    def remove_film(self, job_id: str) -> None:
        for path in (self.film(job_id), self.poster(job_id), self.preview(job_id)):
            path.unlink(missing_ok=True)

"""Takes in pictures and clips: bounded in size and time, decoded elsewhere, kept under an id. Next: `decoding.py`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.requests import ClientDisconnect

from videosyn.app.serve.decoding import decode
from videosyn.app.serve.problems import ApiProblem
from videosyn.app.serve.service import Service
from videosyn.app.serve.store import Upload, new_id
from videosyn.core.errors import UserError

RECEIVE_S = 120.0
"""The longest that an upload may take to arrive."""
AT_ONCE = 2
"""Uploads that are decoded at the same time; others wait."""
MOST_WAITING = 16
MOST_STORED = 32
"""All uploads together may take this many times the most that one may."""


class Uploads:
    """The service's uploads."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._decoders = asyncio.Semaphore(AT_ONCE)
        self._present = 0
        self._taken: dict[tuple[Path, int], str] = {}
        """File and time of its last change -> the upload that it became."""

    @property
    def most_bytes(self) -> int:
        """All uploads together."""
        return MOST_STORED * self._service.upload_bytes

    async def receive(self, chunks: AsyncIterator[bytes]) -> Upload:
        """The body of a request -> a picture or clip that decodes. Raises ApiProblem for everything else."""
        if self._present >= MOST_WAITING:
            raise ApiProblem(429, "busy", "too many uploads at once: try again in 5 s", {"Retry-After": "5"})
        self._present += 1
        upload_id = new_id()
        path = self._service.folders.scratch / upload_id
        try:
            try:
                async with asyncio.timeout(RECEIVE_S):
                    await self._store(chunks, path)
            except ClientDisconnect:
                raise ApiProblem(400, "gone", "the upload was broken off") from None
            except TimeoutError:
                raise ApiProblem(408, "slow", f"the upload took longer than {RECEIVE_S:g} s") from None
            return await self._keep(upload_id, path)
        finally:
            self._present -= 1
            path.unlink(missing_ok=True)

    async def take(self, path: Path) -> Upload:
        """The same for a file that another part of this service received; given again, it is the upload of before."""
        upload_id = new_id()
        copy = self._service.folders.scratch / upload_id
        try:
            about = path.stat()
            key = (path, about.st_mtime_ns)
            if (upload := self._service.store.upload(self._taken.get(key, ""))) is not None:
                return upload
            if about.st_size > self._service.upload_bytes:
                raise self._too_large()
            copy.write_bytes(path.read_bytes())
            upload = await self._keep(upload_id, copy)
        except FileNotFoundError:
            raise ApiProblem(422, "gone", "the file is not here any more: upload it again") from None
        finally:
            copy.unlink(missing_ok=True)
        stored = self._service.store.upload_ids()
        self._taken = {each: taken for each, taken in self._taken.items() if taken in stored} | {key: upload.id}
        return upload

    async def _store(self, chunks: AsyncIterator[bytes], path: Path) -> None:
        size = 0
        with path.open("wb") as file:
            async for chunk in chunks:
                size += len(chunk)
                if size > self._service.upload_bytes:
                    raise self._too_large()
                file.write(chunk)
        if size == 0:
            raise ApiProblem(422, "invalid", "the upload is empty: send a picture or a clip as the request's body")

    async def _keep(self, upload_id: str, path: Path) -> Upload:
        service = self._service
        num_bytes = path.stat().st_size
        if service.store.upload_bytes() + num_bytes > self.most_bytes:
            raise ApiProblem(507, "no-room", "there is no room for more uploads today: try again tomorrow")
        async with self._decoders:
            try:
                content = await decode(path, service.limits)
            except UserError as error:
                raise ApiProblem(422, "invalid", str(error)) from None
        upload = Upload(
            upload_id,
            content.kind,
            content.height,
            content.width,
            content.num_frames,
            content.fps,
            num_bytes,
            time.time(),
        )
        path.replace(service.folders.upload(upload_id))
        await service.write(lambda store: store.add_upload(upload))
        return upload

    def _too_large(self) -> ApiProblem:
        return ApiProblem(413, "too-large", f"an upload must have at most {self._service.limits.upload_mb:g} MB")

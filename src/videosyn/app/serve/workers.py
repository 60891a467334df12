"""Keeps a worker process alive on every device. A worker that ends gives its jobs back and is started again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sqlite3
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import Any

from videosyn.app.serve.folders import Folders
from videosyn.app.serve.options import TOKEN_VARIABLE, ServeOptions
from videosyn.app.serve.store import JobStore, new_id

Write = Callable[[Callable[[JobStore], Any]], Awaitable[Any]]
LONGEST_PAUSE_S = 60.0
STEADY_S = 60.0
"""A worker that lived this long is started again at once."""
_log = logging.getLogger(__name__)


class Workers:
    """One worker a device."""

    def __init__(self, options: ServeOptions, folders: Folders, models: Mapping[str, str]) -> None:
        """models: name -> folder."""
        self._options, self._folders, self._models = options, folders, dict(models)
        self.states = {_place(number, device): "starting" for number, device in enumerate(options.devices)}
        """Device -> starting, ready or lost."""
        self.restarts = 0
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, write: Write) -> None:
        """`write`: runs a change on the store."""
        self._tasks = [
            asyncio.create_task(self._keep(place, device, write))
            for place, device in zip(self.states, self._options.devices)
        ]

    def wake(self) -> None:
        """There is work."""
        for process in self._processes.values():
            if process.stdin is not None and process.returncode is None:
                with contextlib.suppress(OSError, RuntimeError):
                    process.stdin.write(b"\n")

    async def stop(self) -> None:
        """Ends all workers, whatever they are at."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _keep(self, place: str, device: str, write: Write) -> None:
        pause_s = 1.0
        while True:
            lease, begin = new_id(), time.monotonic()
            try:
                status = await self._run(place, device, lease)
            except OSError as error:  # no process could be started, or it ended before it was told its setup
                status = error.errno
            except Exception:  # whatever it is, a device without a worker serves nobody
                _log.exception("the worker on %s is lost", device)
                status = None
            self.states[place] = "lost"
            self.restarts += 1
            pause_s = 1.0 if time.monotonic() - begin > STEADY_S else min(2 * pause_s, LONGEST_PAUSE_S)
            _log.error("the worker on %s ended with status %s; another starts in %.0f s", device, status, pause_s)
            await self._give_back(lease, write)
            await asyncio.sleep(pause_s)

    async def _give_back(self, lease: str, write: Write) -> None:
        """Tries until the database takes it: otherwise the jobs would count as running for ever."""
        while True:
            try:
                return await write(lambda store: store.give_back(lease))
            except sqlite3.Error:
                _log.exception("jobs of a lost worker could not be given back; trying again")
                await asyncio.sleep(LONGEST_PAUSE_S)

    async def _run(self, place: str, device: str, lease: str) -> int | None:
        """One worker's life; it ends when this task is cancelled."""
        self.states[place] = "starting"
        environment = {name: value for name, value in os.environ.items() if name != TOKEN_VARIABLE}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "videosyn.app.serve.worker"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=environment,
        )
        assert process.stdin is not None and process.stdout is not None  # noqa: PT018
        self._processes[place] = process
        setup = {
            "data": str(self._folders.root),
            "lease": lease,
            "device": device,
            "dtype": self._options.dtype,
            "models": self._models,
            "batch": self._options.batch,
            "workers": len(self._options.devices),
            "limits": asdict(self._options.limits),
        }
        try:
            process.stdin.write(json.dumps(setup).encode() + b"\n")
            async for line in process.stdout:
                if line.strip() == b"ready":
                    self.states[place] = "ready"
            return await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


def _place(number: int, device: str) -> str:
    """Two workers may share a device."""
    return f"{device}/{number}"

"""A worker process: claims jobs, makes their films on its one device, puts them where they belong. Next: `workers.py`.

It is started by the service and ends with it: its stdin is a pipe that the service holds, a line on it says that there
is work, and its end that there is no one left to work for. torch is imported here and nowhere else in the service.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videosyn import __version__
from videosyn.app.serve.decoding import Fitting, decode
from videosyn.app.serve.folders import Folders
from videosyn.app.serve.options import Limits
from videosyn.app.serve.store import Job, JobStore
from videosyn.core.errors import UserError
from videosyn.core.files import atomic_file
from videosyn.core.video_file import write_video

if TYPE_CHECKING:
    import numpy as np

    from videosyn.sampling.foreign import ForeignPipeline
    from videosyn.sampling.output import VideoOutput
    from videosyn.sampling.pipeline import VideoSynPipeline

IDLE_S = 1.0
"""A worker that is not told of work looks for some this often."""
NICENESS = 10  # a film takes seconds, a request should not
PREVIEW_EVERY_S = 0.4
PREVIEW_SHARE = 0.1
"""Of a worker's time goes into previews, at most."""
PROGRESS_EVERY_S = 0.1
SETTINGS = ("num_frames", "height", "width", "num_steps", "guidance", "fps", "sampler")
_log = logging.getLogger("videosyn.serve.worker")


@dataclass(frozen=True)
class WorkerSetup:
    """What the service tells a worker when it starts."""

    data: str
    lease: str
    device: str
    dtype: str
    models: dict[str, str]
    """Name -> folder."""
    batch: int
    workers: int
    """All of the service, this one included."""
    limits: Limits


class Unwanted(BaseException):
    """Nobody wants the films any more: stops a pipeline in the middle. No error of the pipeline's catches it."""


def main() -> None:
    """Serves until stdin ends. The first line of stdin is the setup."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    for name in (signal.SIGINT, signal.SIGTERM):  # for the service, which ends its workers
        signal.signal(name, signal.SIG_IGN)
    line = json.loads(sys.stdin.readline())
    setup = WorkerSetup(**{**line, "limits": Limits(**line["limits"])})
    _step_back()
    work = threading.Event()
    threading.Thread(target=_listen, args=(work,), daemon=True).start()
    worker = Worker(setup)
    with contextlib.suppress(UserError):  # whoever asks for that model is told
        worker.open(next(iter(setup.models)))
    print("ready", flush=True)
    while True:
        work.clear()
        if not worker.work():
            work.wait(IDLE_S)


class Worker:
    """One device's worker. Keeps the model of its last jobs loaded."""

    def __init__(self, setup: WorkerSetup) -> None:
        self._setup = setup
        self._folders = Folders(Path(setup.data))
        self._store = JobStore(self._folders.database, durable=False)
        self._open: tuple[str, VideoSynPipeline | ForeignPipeline] | None = None

    def open(self, name: str) -> VideoSynPipeline | ForeignPipeline:
        """The model of that name, loaded; the one before it is let go first. Raises UserError."""
        if self._open is not None and self._open[0] == name:
            return self._open[1]
        if name not in self._setup.models:
            raise UserError(f"the model {name!r} is not served any more")
        from videosyn.sampling.foreign import open_pipeline

        self._open = None
        folder = self._setup.models[name]
        try:
            pipeline = open_pipeline(folder, self._setup.device, self._setup.dtype)
        except UserError as error:
            _log.error("%s", error)
            raise UserError(str(error).replace(folder, name)) from error  # clients see no paths
        self._open = name, pipeline
        return pipeline

    def work(self) -> bool:
        """Makes the films of the jobs whose turn it is; False where none waits."""
        jobs = self._store.claim(self._setup.lease, self._setup.batch, self._setup.workers)
        if not jobs:
            return False
        try:
            self._make(jobs)
        finally:
            for job in jobs:
                self._folders.preview(job.id).unlink(missing_ok=True)
        return True

    def _make(self, jobs: Sequence[Job]) -> None:
        """Films that cannot be made together are made one by one: whichever is to blame, the others are not."""
        begin, output, why = time.perf_counter(), None, ""
        try:
            output = self._films(jobs)
        except Unwanted:
            _log.info("cancelled: %s", ", ".join(job.id for job in jobs))
            return
        except Exception as error:
            why = _said(error, jobs)
        if output is None and (len(jobs) == 1 or self._open is None):
            for job in jobs:
                self._store.fail(self._setup.lease, job.id, why)
            return
        busy_s = (time.perf_counter() - begin) / len(jobs)
        for index, job in enumerate(jobs):
            if not self._store.wanted(self._setup.lease, [job.id]):
                continue
            if output is None:
                self._make([job])
                continue
            try:
                self._finish(job, output, index, busy_s)
            except Exception as error:
                self._store.fail(self._setup.lease, job.id, _said(error, [job]))

    def _films(self, jobs: Sequence[Job]) -> VideoOutput:
        """One call of the pipeline for all: they differ in prompt and seed alone."""
        from videosyn.sampling.pipeline import VideoSynPipeline

        first = jobs[0].request
        pipeline = self.open(first["model"])
        watch = _Watch(self._store, self._setup.lease, [job.id for job in jobs], self._folders)
        prompts = [job.request["prompt"] for job in jobs]
        settings: dict[str, Any] = {name: first[name] for name in (*SETTINGS, "negative_prompt")}
        settings |= {"seed": [job.request["seed"] for job in jobs]}
        settings |= {"progress": watch.progress, "preview": watch.preview}
        if isinstance(pipeline, VideoSynPipeline):
            given: dict[str, Any] = {name: self._given(first, name) for name in ("image", "extend", "last_image")}
            return pipeline(prompts, **settings, **given)
        del settings["sampler"]  # it has its own
        output = pipeline(prompts, **settings, batch=len(jobs))
        return replace(output, notes=(*output.notes, *watch.notes))

    def _given(self, request: dict[str, Any], name: str) -> np.ndarray | None:
        """The frames of a picture (H, W, 3) or a clip (T, H, W, 3) that a film is to have, at its size and rate."""
        if (source := request[name]) is None:
            return None
        upload = self._folders.upload(source)
        path = upload if upload.exists() else self._folders.film(source)
        if not path.exists():
            raise UserError(f"what {name} names is not here any more: upload it again")
        target = self._folders.scratch / f"{uuid.uuid4().hex}.safetensors"
        fitting = Fitting(str(target), request["height"], request["width"], request["fps"])
        try:
            asyncio.run(decode(path, self._setup.limits, fitting))
            from safetensors.numpy import load

            frames = load(target.read_bytes())["frames"]
        finally:
            target.unlink(missing_ok=True)
        return frames if name == "extend" else frames[0]

    def _finish(self, job: Job, output: VideoOutput, index: int, busy_s: float) -> None:
        frames = output.frames[index]
        film = {"num_frames": len(frames), "height": frames.shape[1], "width": frames.shape[2], "fps": output.fps}
        asked = {name: value for name, value in job.request.items() if name not in ("prompt", "seed")}
        metadata = {
            "prompt": job.request["prompt"],
            "seed": str(job.request["seed"]),
            "settings": json.dumps(asked | film),
            "videosyn": __version__,
        }
        ready = self._folders.scratch / f"{job.id}-{self._setup.lease}.mp4"
        try:
            write_video(ready, frames, output.fps, metadata)
            _write_picture(self._folders.poster(job.id), frames[len(frames) // 2])
            num_bytes = ready.stat().st_size + self._folders.poster(job.id).stat().st_size
            place = lambda: os.replace(ready, self._folders.film(job.id))  # noqa: E731
            notes = (*self._unknown_words(job), *output.notes_of(index))
            self._store.succeed(self._setup.lease, job.id, film, num_bytes, busy_s, notes, place)
        finally:
            ready.unlink(missing_ok=True)

    def _unknown_words(self, job: Job) -> list[str]:
        """The note on words that the model never learned, where there are some."""
        if self._open is None:
            return []
        unknown = self._open[1].unknown_words([job.request["prompt"], job.request["negative_prompt"] or ""])
        return [f"words this model never learned: {', '.join(unknown)}"] if unknown else []


def _said(error: Exception, jobs: Sequence[Job]) -> str:
    """What the clients are told of it, one line."""
    if isinstance(error, UserError):
        return str(error)
    _log.error("jobs failed: %s", ", ".join(job.id for job in jobs), exc_info=error)
    return f"the model failed ({type(error).__name__}): the service's log says more"


class _Watch:
    """Tells the service how far films are, and stops them when none of them is wanted any more."""

    def __init__(self, store: JobStore, lease: str, job_ids: Sequence[str], folders: Folders) -> None:
        self._store, self._lease, self._ids, self._folders = store, lease, list(job_ids), folders
        self._told, self._show_at = 0.0, time.monotonic() + PREVIEW_EVERY_S
        self.notes: list[str] = []
        """Why there is no preview."""

    def progress(self, done: int, total: int) -> None:
        now = time.monotonic()
        if done < total and now - self._told < PROGRESS_EVERY_S:
            return
        self._told = now
        if not self._store.wanted(self._lease, self._ids):
            raise Unwanted
        self._store.progress(self._lease, self._ids, done, total)

    def preview(self, films: range, pictures: Callable[[], np.ndarray]) -> None:
        begin = time.monotonic()
        if begin < self._show_at:
            return
        try:
            shown = pictures()
        except UserError as error:
            _log.warning("%s", error)
            self.notes, self._show_at = [str(error)], math.inf
            return
        for index, picture in zip(films, shown):
            _write_picture(self._folders.preview(self._ids[index]), picture)
        end = time.monotonic()
        self._show_at = end + max(PREVIEW_EVERY_S, (end - begin) / PREVIEW_SHARE)


def _write_picture(path: Path, pixels: np.ndarray) -> None:
    from PIL import Image

    with atomic_file(path) as hidden:
        Image.fromarray(pixels).save(hidden, "JPEG", quality=85)


def _listen(work: threading.Event) -> None:
    for _ in sys.stdin:
        work.set()
    os._exit(0)  # the service is gone: what runs here runs for nobody


def _step_back() -> None:
    """The API answers first, and on Linux the worker is what goes when memory runs out."""
    os.nice(NICENESS)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("900", encoding="ascii")


if __name__ == "__main__":
    main()

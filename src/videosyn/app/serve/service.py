"""What the API and the studio both do: accept a job, tell how it stands, cancel it, keep the house. Next: `workers.py`.

Reads happen on the event loop's own connection and take microseconds. Writes wait for the disk, so they have a
connection and a thread of their own.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import secrets
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, TypeVar

from videosyn.app.serve.documents import Film, LimitsDocument, Model, ModelList, Video, VideoRequest
from videosyn.app.serve.folders import Folders
from videosyn.app.serve.models import ServedModel, open_models
from videosyn.app.serve.options import ServeOptions
from videosyn.app.serve.problems import ApiProblem
from videosyn.app.serve.store import ACTIVE, Job, JobStore, KeyReused, QueueFull
from videosyn.app.serve.workers import Workers
from videosyn.core.errors import UserError

HOUSEKEEPING_S = 30.0
UPLOADS_KEPT_S = 24 * 3600.0
RECORDS_KEPT_S = 30 * 24 * 3600.0
PACE_KEPT_S = 0.2
SETTINGS = ("num_frames", "height", "width", "fps", "num_steps", "guidance")
MAX_DRAWN_SEED = 2**31 - 1
_log = logging.getLogger(__name__)
Value = TypeVar("Value")


class Service:
    """Everything behind the doors. `start` and `stop` belong to one event loop."""

    def __init__(self, options: ServeOptions) -> None:
        """Opens the models' configurations and the jobs of before. Raises UserError."""
        self.options, self.limits = options, options.limits
        self.models: dict[str, ServedModel] = open_models(options.named_models(), options.limits)
        self.folders = Folders(options.data_folder().resolve())
        self.folders.make()
        self._lock = self.folders.lock()
        try:
            self.store = JobStore(self.folders.database)
            self._writes = JobStore(self.folders.database)
        except sqlite3.DatabaseError as error:
            raise UserError(
                f"{self.folders.database} is not this service's ({error}): choose another --data"
            ) from error
        self._writer = ThreadPoolExecutor(1, "writes")
        self._writes.forgive()
        if waiting := self._writes.give_back():
            _log.info("%d jobs that were under way begin again", waiting)
        films = {job.id for job in self.store.latest(-1, states=("succeeded",))}
        self.folders.sweep(films, self.store.upload_ids())
        self.workers = Workers(options, self.folders, {name: str(each.folder) for name, each in self.models.items()})
        self._tasks: list[asyncio.Task[None]] = []
        self._pace_at, self._pace_then = -math.inf, (None, 0)

    async def start(self) -> None:
        self.workers.start(self.write)
        self._tasks = [asyncio.create_task(self._keep_house())]

    async def stop(self) -> None:
        """Ends the workers; their jobs wait for the next start."""
        for task in self._tasks:
            task.cancel()
        await self.workers.stop()
        await self.write(lambda store: (store.forgive(), store.give_back()))
        self._writer.shutdown()
        self._writes.close()
        self.store.close()
        self._lock.close()

    async def write(self, change: Callable[[JobStore], Value]) -> Value:
        """Runs `change` on the writing connection, in its thread."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, change, self._writes)

    async def submit(self, asked: VideoRequest, key: str | None = None) -> tuple[Job, bool]:
        """Accepts a job; False: `key` came with the same request before, and this is its job. Raises ApiProblem."""
        request, sources = self._complete(asked)
        shape = "" if sources else json.dumps([request[name] for name in _OF_A_BATCH])
        words = asked.model_dump_json()
        try:
            job, is_new = await self.write(
                lambda store: store.add(request, shape, self.options.queue, key, words, sources)
            )
        except QueueFull:
            wait_s = self.retry_after_s()
            raise ApiProblem(
                429,
                "queue-full",
                f"{self.options.queue} jobs wait already: try again in {wait_s} s",
                {"Retry-After": str(wait_s)},
            ) from None
        except KeyReused:
            detail = "this Idempotency-Key came with another request before: use a new one"
            raise ApiProblem(422, "key-reused", detail) from None
        self.workers.wake()
        return job, is_new

    def _complete(self, asked: VideoRequest) -> tuple[dict[str, Any], list[str]]:
        """The request with a value for every setting; the ids of what it uses."""
        name = asked.model if asked.model is not None else next(iter(self.models))
        if name not in self.models:
            raise ApiProblem(422, "no-model", f"no model {name!r} here: use {', '.join(self.models)}")
        model, limits = self.models[name], self.limits
        for field in ("prompt", "negative_prompt"):
            text = getattr(asked, field)
            if text is not None and len(text) > limits.prompt_chars:
                raise ApiProblem(
                    422, "limit", f"{field} must have at most {limits.prompt_chars:,} characters, got {len(text):,}"
                )
        if not asked.prompt.strip():
            raise ApiProblem(422, "invalid", "prompt must not be empty: say what the film shows")
        try:
            settings = model.complete({each: getattr(asked, each) for each in SETTINGS}, limits)
        except UserError as error:
            raise ApiProblem(422, "invalid", str(error)) from None
        given = {each: getattr(asked, each) for each in ("image", "extend", "last_image")}
        sources = [source for source in given.values() if source is not None]
        if sources and not model.takes_pictures:
            raise ApiProblem(422, "invalid", f"the model {name} takes no pictures or clips")
        if asked.image is not None and asked.extend is not None:
            raise ApiProblem(422, "invalid", "image and extend both say how a film begins: give one of them")
        found = {field: self._source(field, source) for field, source in given.items() if source is not None}
        has_image, clip, has_last = asked.image is not None, found.get("extend"), asked.last_image is not None
        try:
            model.check_given(settings, has_image, clip, has_last, limits)
        except UserError as error:
            raise ApiProblem(422, "invalid", str(error)) from None
        return {
            "model": name,
            "prompt": asked.prompt.strip(),
            "negative_prompt": asked.negative_prompt,
            **{each: getattr(settings, each) for each in (*SETTINGS, "sampler")},
            "seed": secrets.randbelow(MAX_DRAWN_SEED) if asked.seed is None else asked.seed,
            **given,
        }, sources

    def _source(self, field: str, source: str) -> tuple[int, float]:
        """Frames and rate of what a request names. Raises ApiProblem where that is not here, or of another kind."""
        wanted = "clip" if field == "extend" else "picture"
        upload = self.store.upload(source)
        if upload is not None and upload.kind == wanted:
            return upload.num_frames, upload.fps
        if upload is not None:
            raise ApiProblem(422, "invalid", f"{field} must be a {wanted}, but {source} is a {upload.kind}")
        job = self.store.get(source) if field == "extend" else None
        if job is None or job.state != "succeeded" or job.film is None:
            what = "uploaded clip or finished film" if field == "extend" else "uploaded picture"
            raise ApiProblem(422, "invalid", f"{field}: there is no {what} {source}: upload it first")
        return job.film["num_frames"], job.film["fps"]

    def retry_after_s(self) -> int:
        """Whole seconds after which a place in the queue is likely free."""
        mean_s = self.store.mean_busy_s()
        return max(1, math.ceil((5.0 if mean_s is None else mean_s) / len(self.options.devices)))

    def job(self, job_id: str) -> Job:
        """Raises ApiProblem where there is none."""
        job = self.store.get(job_id)
        if job is None:
            raise ApiProblem(404, "no-video", f"there is no video {job_id}")
        return job

    async def delete(self, job_id: str) -> None:
        """Cancels a job that is not finished; forgets one that is, with its film."""
        job = self.job(job_id)
        if job.state in ACTIVE and await self.write(lambda store: store.cancel(job_id)):
            return
        if job_id in self.store.used_sources():
            raise ApiProblem(409, "in-use", "a job that is not finished goes on from this film: cancel it first")
        if await self.write(lambda store: store.remove(job_id)):
            self.folders.remove_film(job_id)

    def video(self, job: Job) -> Video:
        """The job as clients see it."""
        request = {name: value for name, value in job.request.items() if name != "sampler"}
        position = self.store.position(job) if job.state == "queued" else None
        film = None
        if job.film is not None and job.state == "succeeded":
            film = Film(**job.film, bytes=job.bytes, content=f"/v1/videos/{job.id}/content")
        return Video(
            id=job.id,
            state=job.state,  # pyright: ignore[reportArgumentType]
            progress=_progress(job),
            eta_s=self._eta_s(job, position),
            position=position,
            created_at=moment(job.created),
            started_at=None if job.started is None else moment(job.started),
            finished_at=None if job.finished is None else moment(job.finished),
            film=film,
            error=job.error,
            notes=list(job.notes),
            **request,
        )

    def _eta_s(self, job: Job, position: int | None) -> float | None:
        if job.state == "running" and job.started is not None and job.steps_done:
            spent_s = time.time() - job.started
            return round(spent_s / job.steps_done * (job.steps_total - job.steps_done), 2)
        mean_s, num_running = self._pace()
        if job.state == "running":
            return mean_s
        if position is None or mean_s is None:
            return None
        return round(mean_s * (1 + (position + num_running) / len(self.options.devices)), 2)

    def _pace(self) -> tuple[float | None, int]:
        """What a job took of late, in seconds, and how many run: all who wait ask for it, so it is kept a moment."""
        now = time.monotonic()
        if now - self._pace_at > PACE_KEPT_S:
            self._pace_at, self._pace_then = now, (self.store.mean_busy_s(), self.store.count("running"))
        return self._pace_then

    def model_list(self) -> ModelList:
        models = []
        for each in self.models.values():
            trained = each.index.trained if each.index is not None else None
            models.append(
                Model(
                    name=each.name,
                    **{name: getattr(each.defaults, name) for name in SETTINGS},
                    size_multiple=each.size_multiple,
                    time_factor=each.time_factor,
                    takes_pictures=each.takes_pictures,
                    trained_frames=(trained.max_frames or None) if trained else None,
                    trained_pixels=(trained.max_pixels or None) if trained else None,
                )
            )
        limits = self.limits
        return ModelList(
            models=models,
            limits=LimitsDocument(
                prompt_chars=limits.prompt_chars,
                frames=limits.frames,
                side_px=limits.side_px,
                film_pixels=limits.film_pixels,
                steps=limits.steps,
                upload_bytes=self.upload_bytes,
            ),
        )

    @property
    def upload_bytes(self) -> int:
        """The most that an upload may have."""
        return int(self.limits.upload_mb * 1_000_000)

    async def _keep_house(self) -> None:
        while True:
            try:
                await self.expire()
            except Exception:  # such as a full disk; the next round may do better
                _log.exception("could not remove what is too old")
            await asyncio.sleep(HOUSEKEEPING_S)

    async def expire(self) -> None:
        """Removes films and uploads that are too old or too many."""
        keep_s, keep_bytes = self.options.keep_hours * 3600, int(self.options.keep_gb * 1e9)
        for job_id in await self.write(lambda store: store.expire(keep_s, keep_bytes)):
            self.folders.remove_film(job_id)
        for upload_id in await self.write(lambda store: store.expire_uploads(UPLOADS_KEPT_S)):
            self.folders.upload(upload_id).unlink(missing_ok=True)
        await self.write(lambda store: store.forget(RECORDS_KEPT_S))


_OF_A_BATCH = ("model", "negative_prompt", *SETTINGS, "sampler")
"""What jobs that are made together have in common."""


def _progress(job: Job) -> float:
    if job.state in ("succeeded", "expired"):
        return 1.0
    return job.steps_done / job.steps_total if job.steps_total else 0.0


def moment(seconds: float) -> datetime:
    """Seconds since 1970 -> the same with its time zone, UTC."""
    return datetime.fromtimestamp(seconds, UTC)

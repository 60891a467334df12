"""The HTTP API: routes, in the order of a film's life. The studio stands beside it on the same port."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import FastAPI, Header, Path, Query, Request, Response
from fastapi.responses import FileResponse, JSONResponse, RedirectResponse
from starlette.middleware import Middleware

from videosyn import __version__
from videosyn.app.serve.access import Door, known_names
from videosyn.app.serve.documents import Health, ModelList, Video, VideoList, VideoRequest
from videosyn.app.serve.documents import Upload as UploadDocument
from videosyn.app.serve.metrics import CONTENT_TYPE, Measured, Metrics
from videosyn.app.serve.options import ServeOptions
from videosyn.app.serve.polling import ROUTE, Polls
from videosyn.app.serve.problems import ApiProblem, add_problem_handlers, documented
from videosyn.app.serve.service import UPLOADS_KEPT_S, Service, moment
from videosyn.app.serve.studio.mount import Studio
from videosyn.app.serve.uploads import Uploads

VideoId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", description="As POST /v1/videos gave it.")]
UPLOAD_TYPES = ("image/", "video/", "application/octet-stream")


def make_app(options: ServeOptions, service: Service) -> FastAPI:
    """The whole application. It starts the service's workers and stops them."""
    uploads, metrics = Uploads(service), Metrics(service)
    studio = Studio(service, uploads) if options.studio else None

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await service.start()
        if studio is not None:
            studio.start()
        yield
        if studio is not None:
            await studio.stop()
        await service.stop()

    token = options.token()
    open_to_any = token is not None or options.insecure
    hostnames = None if open_to_any else known_names(options.host, options.hostnames)
    app = FastAPI(
        title="videosyn",
        version=__version__,
        description="Films from prompts. Errors are RFC 9457 problem details.",
        lifespan=lifespan,
        docs_url=None,  # FastAPI's pages load their scripts from elsewhere
        redoc_url=None,
        middleware=[
            Middleware(Measured, metrics=metrics),
            Middleware(Door, token=token, hostnames=hostnames, upload_bytes=service.upload_bytes),
            Middleware(Polls, service=service),
        ],
        responses=documented(401) if token is not None else None,
    )
    add_problem_handlers(app)
    _add_videos(app, service)
    _add_uploads(app, uploads)
    _add_state(app, service, metrics)
    if studio is not None:
        studio.add_to(app, token)

        @app.get("/", include_in_schema=False)
        async def front() -> RedirectResponse:
            return RedirectResponse("/studio/")

    return app


def _add_videos(app: FastAPI, service: Service) -> None:
    @app.post("/v1/videos", status_code=202, response_model=Video, responses=documented(400, 413, 422, 429))
    async def make_video(
        request: VideoRequest,
        response: Response,
        idempotency_key: Annotated[
            str | None,
            Header(
                min_length=1,
                max_length=128,
                pattern=r"^[!-~]+$",
                description="A request sent again with the same key is accepted once.",
            ),
        ] = None,
    ) -> Any:
        """Accepts a film and answers at once with its id."""
        job, _ = await service.submit(request, idempotency_key)
        response.headers["Location"] = f"/v1/videos/{job.id}"
        return service.video(job)

    @app.get("/v1/videos", response_model=VideoList, responses=documented(422))
    async def list_videos(
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        before: Annotated[int | None, Query(ge=0, le=2**62, description="`next` of an earlier answer.")] = None,
    ) -> Any:
        """Jobs, the newest first."""
        jobs = service.store.latest(limit, before)
        return VideoList(
            videos=[service.video(job) for job in jobs], next=jobs[-1].number if len(jobs) == limit else None
        )

    @app.get(ROUTE, response_model=Video, responses=documented(404, 422))
    async def get_video(id: VideoId) -> Any:
        """How a job stands."""  # of those that there are, `Polls` tells
        return service.video(service.job(id))

    film = {"content": {"video/mp4": {"schema": {"type": "string", "format": "binary"}}}}

    @app.get(
        "/v1/videos/{id}/content",
        response_class=FileResponse,
        responses={
            200: {"description": "The film, H.264", **film},
            206: {"description": "The asked part of the film", **film},
            **documented(404, 409, 410, 422),
            400: {"description": "The Range header makes no sense", "content": {"text/plain": {}}},
            416: {"description": "The film has no such range", "content": {"text/plain": {}}},
        },
    )
    async def get_content(id: VideoId) -> Any:
        """The film as an MP4 file. Ranges are answered, as players ask for them."""
        path = service.folders.film(id)
        _check_finished(service, id, path)
        return FileResponse(path, media_type="video/mp4", filename=f"{id}.mp4", content_disposition_type="inline")

    picture = {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}}

    @app.get(
        "/v1/videos/{id}/preview",
        response_class=Response,
        responses={200: {"description": "A picture", **picture}, **documented(404, 422)},
    )
    async def get_preview(id: VideoId) -> Any:
        """A frame as it looks now, of a job under way; of the film, once it is finished."""
        job = service.job(id)
        path = service.folders.poster(id) if job.state == "succeeded" else service.folders.preview(id)
        try:
            return Response(path.read_bytes(), media_type="image/jpeg", headers={"Cache-Control": "no-store"})
        except FileNotFoundError:
            raise ApiProblem(404, "no-preview", f"there is no picture of {id} yet") from None

    @app.delete("/v1/videos/{id}", status_code=204, response_class=Response, responses=documented(404, 409, 422))
    async def delete_video(id: VideoId) -> Response:
        """Cancels a job that is queued or running; forgets one that is finished, with its film."""
        await service.delete(id)
        return Response(status_code=204)


def _check_finished(service: Service, job_id: str, path: Any) -> None:
    job = service.job(job_id)
    if job.state == "expired" or (job.state == "succeeded" and not path.exists()):
        raise ApiProblem(410, "expired", "the film was removed for its age, or to make room: make it again")
    if job.state != "succeeded":
        raise ApiProblem(409, "not-finished", f"there is no film: the job is {job.state}")


def _add_uploads(app: FastAPI, uploads: Uploads) -> None:
    binary = {"schema": {"type": "string", "format": "binary"}}

    @app.post(
        "/v1/uploads",
        status_code=201,
        response_model=UploadDocument,
        responses=documented(400, 408, 413, 415, 422, 429, 507),
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"image/*": binary, "video/*": binary, "application/octet-stream": binary},
            }
        },
    )
    async def upload(request: Request) -> Any:
        """A picture (PNG, JPEG, WebP) or a clip (MP4, WebM, MOV, MKV, AVI, GIF) as the request's body."""
        kind = request.headers.get("content-type", "").lower()
        if not kind.startswith(UPLOAD_TYPES):
            raise ApiProblem(415, "not-a-picture", "send Content-Type image/*, video/* or application/octet-stream")
        kept = await uploads.receive(request.stream())
        fields = {name: value for name, value in vars(kept).items() if name not in ("bytes", "created")}
        return UploadDocument(**fields, expires_at=moment(kept.created + UPLOADS_KEPT_S))


def _add_state(app: FastAPI, service: Service, metrics: Metrics) -> None:
    @app.get("/v1/models", response_model=ModelList)
    async def list_models() -> Any:
        """The models of this service and the most that a request may ask of them."""
        return service.model_list()

    @app.get(
        "/healthz",
        response_model=Health,
        responses={503: {"description": "No worker is alive", "model": Health}},
    )
    async def health() -> Any:
        """Whether films are made here: 503 where every worker is lost."""
        states = service.workers.states
        fine = any(state != "lost" for state in states.values())
        body = Health(status="ok" if "lost" not in states.values() else "degraded", workers=states)
        return JSONResponse(body.model_dump(), 200 if fine else 503)

    @app.get(
        "/metrics",
        response_class=Response,
        responses={200: {"description": "Figures", "content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def show_metrics() -> Response:
        """For Prometheus."""
        return Response(metrics.text(), media_type=CONTENT_TYPE)

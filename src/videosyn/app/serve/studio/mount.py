"""Brings the studio up beside the API: Gradio takes seconds to import, and the API answers meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from fastapi import FastAPI, Request, Response
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse

from videosyn.app.serve.access import COOKIE, App, Receive, Scope, Send, same_secret, session_value
from videosyn.app.serve.problems import ApiProblem, answer
from videosyn.app.serve.service import Service
from videosyn.app.serve.studio.datasets import Datasets
from videosyn.app.serve.uploads import Uploads

PATH = "/studio"
USED = re.compile(
    r"/(|config|theme\.css|favicon\.ico|manifest\.json|pwa_icon|robots\.txt|(assets|static|svelte)/.*"
    r"|gradio_api/(info|app_id|startup-events|queue/(join|data)|upload|upload_progress|heartbeat/\w+|cancel|reset"
    r"|file=/.*))/?"
)
"""What the studio needs of Gradio's routes; the others are closed. A file is a path: an address Gradio would fetch."""
SESSION_S = 30 * 24 * 3600
_log = logging.getLogger(__name__)


class Studio:
    """An ASGI application under PATH. Until Gradio is there, it answers with a page that looks again by itself."""

    def __init__(self, service: Service, uploads: Uploads) -> None:
        self._service, self._uploads = service, uploads
        self._datasets = Datasets(service.options.datasets, service.folders, service.limits)
        self._inner: App | None = None
        self._failed = False
        self._exit = contextlib.AsyncExitStack()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._bring_up())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._exit.aclose()

    async def _bring_up(self) -> None:
        try:
            app = await asyncio.to_thread(_make, self._service, self._uploads, self._datasets)
            await self._exit.enter_async_context(app.router.lifespan_context(app))
            self._inner = app
            gc.freeze()  # no collection goes through all that Gradio imported again, which takes 100 ms and more
        except Exception:
            self._failed = True
            _log.exception("the studio cannot start; the API goes on without it")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].removeprefix(PATH)
        if not USED.fullmatch(path or "/"):
            await answer(404, "", "the studio has no such page")(scope, receive, send)
        elif path == "/gradio_api/upload" and self._service.folders.studio_bytes() >= self._uploads.most_bytes:
            await answer(507, "no-room", "there is no room for more uploads: those of a day ago go by themselves")(
                scope, receive, send
            )
        elif self._inner is not None:
            await self._inner({**scope, "root_path": "", "app_root_path": ""}, receive, send)
        elif self._failed:
            await answer(503, "no-studio", "the studio could not start: the log says why")(scope, receive, send)
        else:
            page = HTMLResponse(_WAITING, 503 if path.strip("/") else 200, {"Retry-After": "1"})
            await page(scope, receive, send)

    def add_to(self, app: FastAPI, token: str | None) -> None:
        """Mounts it, the files of datasets, and a page to log in where there is a token."""
        if token is not None:
            _add_login(app, token)
        _add_clips(app, self._datasets)

        @app.get("/favicon.ico", include_in_schema=False)
        async def icon() -> Response:  # browsers ask for it by themselves
            return Response(status_code=204)

        @app.get("/manifest.json", include_in_schema=False)
        async def manifest() -> dict[str, str]:  # Gradio's page asks for it here
            return {"name": "videosyn studio", "start_url": f"{PATH}/", "display": "browser"}

        app.mount(PATH, self)


def _make(service: Service, uploads: Uploads, datasets: Datasets) -> FastAPI:
    """Imports Gradio, with everything off that would reach out of this machine."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["GRADIO_TEMP_DIR"] = str(service.folders.studio)
    import gradio

    from videosyn.app.serve.studio.pages import make_pages
    from videosyn.app.serve.studio.style import CSS, HEAD, theme

    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    return gradio.mount_gradio_app(
        app,
        make_pages(service, uploads, datasets),
        PATH,
        footer_links=[],
        run_history=False,
        show_error=True,
        ssr_mode=False,
        max_file_size=service.upload_bytes,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=theme(),
        css=CSS,
        head=HEAD,
        allowed_paths=[str(service.folders.root / "films"), str(service.folders.root / "thumbnails")],
        blocked_paths=[str(Path(service.folders.root, name)) for name in ("uploads", "scratch", "jobs.sqlite")],
    )


def _add_clips(app: FastAPI, datasets: Datasets) -> None:
    @app.get(PATH + "/datasets/{number}/{name}", include_in_schema=False)
    async def get_clip(number: int, name: str) -> Response:
        """A clip's file or its thumbnail: which those are, the dataset's tables say."""
        clip_id, _, suffix = name.rpartition(".")
        dataset = await datasets.get(number)
        row = dataset.row(clip_id) if dataset is not None else None
        if dataset is not None and row is not None and suffix in ("mp4", "jpg"):
            path = dataset.clip_file(row) if suffix == "mp4" else datasets.thumbnail(dataset, row)
            if path is not None and path.is_file():
                return FileResponse(path, media_type="video/mp4" if suffix == "mp4" else "image/jpeg")
        raise ApiProblem(404, "no-clip", "there is no such clip")


def _add_login(app: FastAPI, token: str) -> None:
    @app.get("/login", include_in_schema=False)
    async def ask() -> HTMLResponse:
        return HTMLResponse(_LOGIN.replace("NOTE", ""))

    @app.post("/login", include_in_schema=False)
    async def enter(request: Request) -> Response:
        fields = parse_qs((await request.body()).decode("utf-8", "replace"))
        if not same_secret(fields.get("token", [""])[0].strip(), token):
            await asyncio.sleep(0.5)
            return HTMLResponse(_LOGIN.replace("NOTE", "<p>That is not the token.</p>"), 401)
        response: Any = RedirectResponse(f"{PATH}/", 303)
        secure = request.url.scheme == "https"
        response.set_cookie(
            COOKIE, session_value(token), SESSION_S, httponly=True, samesite="strict", secure=secure, path="/"
        )
        return response


_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>videosyn studio</title>
<meta name="viewport" content="width=device-width, initial-scale=1">HEAD<style>:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; display: grid; place-items: center; min-height: 90vh; margin: 1rem }
form { display: grid; gap: .6rem } input, button { font: inherit; padding: .5rem .8rem }</style></head>
<body>BODY</body></html>"""
_WAITING = _PAGE.replace("HEAD", '<meta http-equiv="refresh" content="1">').replace(
    "BODY", "<p>The studio is starting. This page looks again every second.</p>"
)
_LOGIN = _PAGE.replace("HEAD", "").replace(
    "BODY",
    '<form method="post" action="/login">NOTE<label for="token">The token of this service</label>'
    '<input id="token" name="token" type="password" autocomplete="current-password" autofocus>'
    "<button>Enter</button></form>",
)

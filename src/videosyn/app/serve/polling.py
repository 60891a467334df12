"""The request that clients repeat, how a job stands, answered before the framework is asked. Plain ASGI.

Waiting clients send almost nothing else, and FastAPI's way through its dependencies and its check of the answer takes
most of such a request's time (`benchmarks/serve_load.py`). The route in `api.py` documents it, and answers whatever is
not found here, so that errors are made in one place.
"""

from __future__ import annotations

import re

from videosyn.app.serve.access import App, Receive, Scope, Send
from videosyn.app.serve.service import Service

ROUTE = "/v1/videos/{id}"
_PATH = re.compile(r"/v1/videos/([0-9a-f]{32})")


class Polls:
    """Middleware, behind the door."""

    def __init__(self, app: App, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = _PATH.fullmatch(scope["path"]) if scope["type"] == "http" and scope["method"] == "GET" else None
        job = self._service.store.get(asked[1]) if asked else None
        if job is None:
            await self._app(scope, receive, send)
            return
        scope["route_path"] = ROUTE
        body = self._service.video(job).model_dump_json().encode()
        headers = [(b"content-length", str(len(body)).encode()), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

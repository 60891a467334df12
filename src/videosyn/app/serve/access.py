"""The door: who may come in, how much they may bring, and what pages may load. Plain ASGI. Next: `api.py`.

With a token, every request but /healthz bears it: `Authorization: Bearer TOKEN`, or in a browser the cookie that
/login gives for it. Without one, only names that are known for this service are answered, so that a web page elsewhere
cannot reach it through a name of its own (DNS rebinding). A request that changes something and comes from another
site's page is refused either way.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any

from starlette.exceptions import HTTPException

from videosyn.app.serve.options import LOOPBACK
from videosyn.app.serve.problems import answer

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

COOKIE = "videosyn_session"
OPEN_PATHS = ("/healthz", "/login")
MOST_BODY_BYTES = 1_000_000
"""Of requests that are no uploads."""
UPLOAD_PATHS = ("/v1/uploads", "/studio/gradio_api/upload")
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
"""Pages load nothing from any other place."""


def session_value(token: str) -> str:
    """What a browser keeps instead of the token."""
    return hmac.new(token.encode(), b"videosyn studio session", hashlib.sha256).hexdigest()


def same_secret(given: str, secret: str) -> bool:
    """Compares in a time that does not depend on how much of it is right."""
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), secret.encode())


class Door:
    """Middleware around the whole application."""

    def __init__(self, app: App, token: str | None, hostnames: tuple[str, ...] | None, upload_bytes: int) -> None:
        """hostnames: the names to answer to; None: any."""
        self._app, self._token, self._hostnames = app, token, hostnames
        self._session = session_value(token or "")
        self._upload_bytes = upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = _headers(scope)
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        most = self._upload_bytes + 100_000 if scope["path"] in UPLOAD_PATHS else MOST_BODY_BYTES
        length = headers.get("content-length", "")
        if length.isascii() and length.isdigit() and (len(length) > 15 or int(length) > most):
            await answer(413, "too-large", f"the request's body must have at most {most:,} bytes")(scope, receive, send)
            return
        await self._bounded(scope, receive, send, most)

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> Any:
        """A response that says no, or None."""
        host = headers.get("host", "")
        if self._hostnames is not None and _name(host) not in self._hostnames:
            return answer(421, "unknown-host", "this service does not go by that name: see --hostnames")
        origin = headers.get("origin")
        changes = scope["method"] not in ("GET", "HEAD", "OPTIONS")
        if changes and origin is not None and origin.partition("://")[2].lower() != host.lower():
            return answer(403, "other-site", "a page of another site may not do that")
        if self._token is None or scope["path"] in OPEN_PATHS or self._knows(headers, self._token):
            return None
        if (scope["path"] == "/" or scope["path"].startswith("/studio")) and "text/html" in headers.get("accept", ""):
            from starlette.responses import RedirectResponse

            return RedirectResponse("/login", 303)
        said = "bear the token: Authorization: Bearer TOKEN"
        return answer(401, "no-token", said, {"WWW-Authenticate": 'Bearer realm="videosyn"'})

    def _knows(self, headers: dict[str, str], token: str) -> bool:
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and same_secret(given.strip(), token):
            return True
        try:
            kept = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return kept is not None and same_secret(kept.value, self._session)

    async def _bounded(self, scope: Scope, receive: Receive, send: Send, most: int) -> None:
        """Passes on a body of at most so many bytes, whatever its headers say, and adds headers to the answer."""
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > most:
                raise HTTPException(413, f"the request's body must have at most {most:,} bytes")
            return message

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message.get("headers", []),
                    (b"x-content-type-options", b"nosniff"),
                    (b"referrer-policy", b"no-referrer"),
                    (b"content-security-policy", POLICY.encode()),
                ]
            await send(message)

        await self._app(scope, counted, guarded)


def known_names(host: str, hostnames: tuple[str, ...]) -> tuple[str, ...]:
    """The names that a service without a token answers to."""
    return tuple({name.lower() for name in (*LOOPBACK, host, *hostnames)})


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def _name(host: str) -> str:
    """The host of a Host header, without its port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()

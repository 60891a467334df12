"""HTTP as uvicorn reads it with httptools, a parser in C, with bounds on its memory and patience. Next: `api.py`.

A body is handed on as it comes and counted by the door. What stands before and after it, headers above all, the parser
collects for as long as a client sends it. And uvicorn waits for the rest of a request for ever, so that a thousand
clients that stop in the middle would leave no connection for others.
"""

from __future__ import annotations

from asyncio import TimerHandle
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_HEAD_BYTES = 65_536
"""Of a request without its body. One read of the socket may go beyond it."""
HEAD_S = 20.0
"""Seconds until a request's headers must be there, from the connection's first byte or the request's."""
REQUEST_S = 180.0
"""Seconds until all of a request must be there, from its headers on: more than an upload may take (`uploads.py`)."""


class BoundedProtocol(HttpToolsProtocol):
    """Ends connections on which more comes than this without a body's next part or a request's end, or too slowly."""

    _without_body = 0
    _timer: TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._expect(HEAD_S)

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect(None)
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._expect(HEAD_S)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._expect(REQUEST_S)
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        self._without_body += len(data)
        super().data_received(data)
        if self._without_body > MOST_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(f"headers must have at most {MOST_HEAD_BYTES:,} bytes")

    def on_body(self, body: bytes) -> None:
        self._without_body = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._without_body = 0
        self._expect(None)
        super().on_message_complete()

    def _expect(self, seconds: float | None) -> None:
        """The connection ends after so long, unless this is called again before; None: it may stay."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self.loop.call_later(seconds, self.transport.close)

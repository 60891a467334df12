"""HTTP as uvicorn reads it with httptools, a parser in C, with a bound on what that keeps in memory. Next: `api.py`.

A body is handed on as it comes and counted by the door. What stands before and after it, headers above all, the parser
collects for as long as a client sends it.
"""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_HEAD_BYTES = 65_536
"""Of a request without its body. One read of the socket may go beyond it."""


class BoundedProtocol(HttpToolsProtocol):
    """Ends connections on which more comes than this without a body's next part or a request's end."""

    _without_body = 0

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
        super().on_message_complete()

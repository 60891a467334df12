"""Connections that send too much or too slowly, against a small application behind the service's protocol."""

import asyncio
import contextlib

import pytest

pytest.importorskip("httptools")
uvicorn = pytest.importorskip("uvicorn")

from videosyn.app.serve import wire  # noqa: E402

REQUEST = b"POST / HTTP/1.1\r\nhost: here\r\ncontent-length: 6\r\n\r\n"
PATIENCE_S = 30.0


async def application(scope, receive, send):
    """Answers with the body, once all of it is there."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body, more = body + message["body"], message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@contextlib.asynccontextmanager
async def serving():
    """The port of a server."""
    config = uvicorn.Config(application, http=wire.BoundedProtocol, log_config=None, lifespan="off", port=0)
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None
    task = asyncio.create_task(server._serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await task


async def conversation(*parts, pause_s=0.0):
    """All that the server says to these parts, sent with a pause after each, until it ends the connection."""
    async with serving() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)

        async def speak():
            for part in parts:
                with contextlib.suppress(ConnectionError):
                    writer.write(part)
                    await writer.drain()
                await asyncio.sleep(pause_s)

        speaking = asyncio.create_task(speak())
        try:
            return await asyncio.wait_for(reader.read(), PATIENCE_S)
        finally:
            speaking.cancel()
            writer.close()


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(wire, "HEAD_S", 0.5)
    monkeypatch.setattr(wire, "REQUEST_S", 0.5)


@pytest.mark.parametrize(
    "begun",
    [b"", b"POST / HTTP/1.1\r\nhost: here\r\n", REQUEST, REQUEST + b"abc"],
    ids=["silent", "head", "none", "half"],
)
def test_a_request_that_stops_in_the_middle_ends_its_connection(impatient, begun):
    assert asyncio.run(conversation(begun)) == b""


def test_headers_that_trickle_do_not_buy_time(impatient):
    trickle = [b"x-%d: y\r\n" % index for index in range(300)]
    assert asyncio.run(conversation(b"GET / HTTP/1.1\r\n", *trickle, pause_s=0.1)) == b""


def test_two_whole_requests_on_one_connection_are_answered(impatient):
    asked = [REQUEST + b"abcdef", REQUEST.replace(b"here\r\n", b"here\r\nconnection: close\r\n") + b"uvwxyz"]
    said = asyncio.run(conversation(*asked, pause_s=0.3))
    assert said.count(b"200 OK") == 2
    assert said.index(b"abcdef") < said.index(b"uvwxyz")


def test_headers_without_end_are_refused():
    line = b"x-long: " + b"a" * 8000 + b"\r\n"
    said = asyncio.run(conversation(b"GET / HTTP/1.1\r\n", *[line] * 9, pause_s=0.1))
    assert said.startswith(b"HTTP/1.1 400")
    assert b"headers must have at most 65,536 bytes" in said

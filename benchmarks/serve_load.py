"""Many clients at once: is any job lost or made twice, and does GET stay fast while films are made?

python benchmarks/serve_load.py [--clients 200] [--seconds 120] [--model FOLDER] [--devices cpu cpu]

Each client posts a film, polls it every half second until it is finished, fetches the file, and posts the next; where
the queue is full it waits as long as Retry-After says. The model is one of tiny random weights unless one is given. A
client's own wait is measured, from the request to the last byte. All clients live in one process beside the service's,
so a client is no more than a connection: what it computes would be taken from the service. On a machine that is busy
with other work the waits say little; what a request costs the API's process in CPU time still does. Exits with 1 where
a job was lost or made twice, or an answer was not as it should be.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

POLL_EVERY_S = 0.5
PATIENCE_S = 600.0


@dataclass
class Seen:
    """What all clients saw."""

    posted: list[str] = field(default_factory=list)
    succeeded: Counter[str] = field(default_factory=Counter)
    odd: list[str] = field(default_factory=list)
    refused: int = 0
    seconds: dict[str, list[float]] = field(default_factory=lambda: {"GET": [], "POST": [], "content": []})
    """Of each request, by kind."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    """Names in lower case."""
    content: bytes

    @property
    def document(self) -> dict[str, Any]:
        return json.loads(self.content)


class Client:
    """A connection that is kept: HTTP/1.1 as the service speaks it, a Content-Length in every answer, and no more."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._host, self._port = str(address.hostname), int(address.port or 80)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, path: str, body: object = None) -> Answer:
        """`body`: sent as JSON."""
        if self._streams is None or self._streams[0].at_eof():  # the service closes connections that are long idle
            self.close()
            self._streams = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._streams
        sent = b"" if body is None else json.dumps(body).encode()
        kind = "" if body is None else f"Content-Type: application/json\r\nContent-Length: {len(sent)}\r\n"
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\n{kind}\r\n".encode() + sent)
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        content = await reader.readexactly(int(headers.get("content-length", 0)))
        return Answer(int(first.split()[1]), headers, content)

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None


async def load(url: str, clients: int, seconds: float, steps: int | None = None) -> Seen:
    """Keeps so many clients busy for so long, then waits until all that was accepted is finished."""
    seen, end = Seen(), time.monotonic() + seconds
    await asyncio.gather(*(_client(Client(url), number, seen, end, steps) for number in range(clients)))
    return seen


async def _client(client: Client, number: int, seen: Seen, end: float, steps: int | None) -> None:
    chance = random.Random(number)
    await asyncio.sleep(chance.uniform(0, 2 * POLL_EVERY_S))  # people do not arrive in step
    body: dict[str, object] = {"prompt": "a red ball bounces", "seed": number}
    if steps is not None:
        body["num_steps"] = steps
    while time.monotonic() < end:
        answer = await _timed(client, seen, "POST", "POST", "/v1/videos", body)
        if answer.status == 429:
            seen.refused += 1
            await asyncio.sleep(float(answer.headers["retry-after"]) * chance.uniform(1, 1.5))
            continue
        if answer.status != 202:
            seen.odd.append(f"POST: {answer.status} {answer.content[:200]!r}")
            break
        video_id = answer.document["id"]
        seen.posted.append(video_id)
        await _follow(client, seen, video_id)
    client.close()


async def _follow(client: Client, seen: Seen, video_id: str) -> None:
    begin = time.monotonic()
    while time.monotonic() - begin < PATIENCE_S:
        await asyncio.sleep(POLL_EVERY_S)
        answer = await _timed(client, seen, "GET", "GET", f"/v1/videos/{video_id}")
        state = answer.document.get("state")
        if state == "succeeded":
            film = await _timed(client, seen, "content", "GET", f"/v1/videos/{video_id}/content")
            if film.status == 200 and film.content[4:8] == b"ftyp":
                seen.succeeded[video_id] += 1
            else:
                seen.odd.append(f"{video_id}: no film, {film.status}")
            return
        if state not in ("queued", "running"):
            seen.odd.append(f"{video_id}: {state} {answer.content[:200]!r}")
            return
    seen.odd.append(f"{video_id}: not finished after {PATIENCE_S:g} s")


async def _timed(client: Client, seen: Seen, kind: str, method: str, path: str, body: object = None) -> Answer:
    begin = time.perf_counter()
    answer = await client.ask(method, path, body)
    seen.seconds[kind].append(time.perf_counter() - begin)
    return answer


def lost_and_doubled(seen: Seen, data: Path) -> tuple[int, int]:
    """Accepted jobs without exactly one film, by what clients saw and by what lies on the disk; films beyond them."""
    films = Counter(path.stem for path in (data / "films").glob("*.mp4"))
    rows = Counter(row[0] for row in sqlite3.connect(data / "jobs.sqlite").execute("SELECT id FROM jobs"))
    lost = sum(not (seen.succeeded[each] and films[each] and rows[each]) for each in seen.posted)
    accepted = set(seen.posted)
    doubled = len(seen.posted) - len(accepted) + sum(each not in accepted for each in [*films, *rows])
    return lost, doubled + sum(number > 1 for number in seen.succeeded.values())


def cpu_s(pid: int) -> float:
    """Seconds that a process has computed, its children not counted."""
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--model", default="")
    parser.add_argument("--devices", nargs="+", default=["cpu"], help="a worker for each; a device may come twice")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data, model = Path(folder) / "data", options.model
        if not model:
            from models import random_tiny

            model = str(Path(folder) / "tiny")
            random_tiny().save_pretrained(model)
        words = ["serve", "--models", f"m={model}", "--data", str(data), "--port", "0", "--no-studio"]
        service = subprocess.Popen(
            [sys.executable, "-m", "videosyn", *words, "--queue", "150", "--devices", *options.devices],
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert service.stderr is not None
            line = service.stderr.readline()
            url = next((word for word in line.split() if word.startswith("http")), None)
            if url is None:
                raise SystemExit(line)
            before_s, own_before_s = cpu_s(service.pid), cpu_s(os.getpid())
            seen = asyncio.run(load(url.removesuffix("/v1/"), options.clients, options.seconds))
            spent_s, own_s = cpu_s(service.pid) - before_s, cpu_s(os.getpid()) - own_before_s
        finally:
            service.terminate()
            service.wait()
        lost, doubled = lost_and_doubled(seen, data)
    took = f"{options.clients} clients, {options.seconds:g} s"
    print(f"{took}: {len(seen.posted):,} jobs accepted, {seen.refused:,} refused")
    print(f"lost {lost}, doubled {doubled}, other {len(seen.odd)}")
    for kind, seconds in seen.seconds.items():
        if len(seconds) > 1:
            cuts = statistics.quantiles(seconds, n=100)
            print(
                f"{kind:<8} {len(seconds):>7,} requests: median {1000 * cuts[49]:.1f} ms, "
                f"p99 {1000 * cuts[98]:.1f} ms, worst {1000 * max(seconds):.0f} ms"
            )
    num_requests = sum(map(len, seen.seconds.values()))
    each_ms = 1000 / max(1, num_requests)
    print(
        f"CPU time a request: {spent_s * each_ms:.2f} ms in the API's process, {own_s * each_ms:.2f} ms in the clients'"
    )
    for each in seen.odd[:5]:
        print(each)
    if lost or doubled or seen.odd:
        raise SystemExit(1)


if __name__ == "__main__":
    main()

"""Many clients at once: is any job lost or made twice, and does GET stay fast while films are made?

python benchmarks/serve_load.py [--clients 200] [--seconds 120] [--model FOLDER]

Each client posts a film, polls it every half second until it is finished, fetches the file, and posts the next; where
the queue is full it waits as long as Retry-After says. The model is one of tiny random weights unless one is given. A
client's own wait is measured, from the request to the last byte, in one process beside the service's two. On a machine
that is busy with other work the waits say little; what a request costs the API's process in CPU time still does.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sqlite3
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
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


async def load(url: str, clients: int, seconds: float, steps: int | None = None) -> Seen:
    """Keeps so many clients busy for so long, then waits until all that was accepted is finished."""
    seen, end = Seen(), time.monotonic() + seconds
    plain = ssl.create_default_context()  # made once: it takes longer than many requests
    async with AsyncExitStack() as stack:
        # One client each: a pool is searched from end to end at every request, which 200 of them would mostly measure.
        all_of_them = [
            await stack.enter_async_context(httpx.AsyncClient(base_url=url, verify=plain, timeout=60, trust_env=False))
            for _ in range(clients)
        ]
        await asyncio.gather(*(_client(each, number, seen, end, steps) for number, each in enumerate(all_of_them)))
    return seen


async def _client(client: httpx.AsyncClient, number: int, seen: Seen, end: float, steps: int | None) -> None:
    chance = random.Random(number)
    await asyncio.sleep(chance.uniform(0, 2 * POLL_EVERY_S))  # people do not arrive in step
    body: dict[str, object] = {"prompt": "a red ball bounces", "seed": number}
    if steps is not None:
        body["num_steps"] = steps
    while time.monotonic() < end:
        answer = await _timed(client, seen, "POST", "POST", "/v1/videos", json=body)
        if answer.status_code == 429:
            seen.refused += 1
            await asyncio.sleep(float(answer.headers["retry-after"]) * chance.uniform(1, 1.5))
            continue
        if answer.status_code != 202:
            seen.odd.append(f"POST: {answer.status_code} {answer.text[:200]}")
            return
        video_id = answer.json()["id"]
        seen.posted.append(video_id)
        await _follow(client, seen, video_id)


async def _follow(client: httpx.AsyncClient, seen: Seen, video_id: str) -> None:
    begin = time.monotonic()
    while time.monotonic() - begin < PATIENCE_S:
        await asyncio.sleep(POLL_EVERY_S)
        answer = await _timed(client, seen, "GET", "GET", f"/v1/videos/{video_id}")
        state = answer.json().get("state")
        if state == "succeeded":
            film = await _timed(client, seen, "content", "GET", f"/v1/videos/{video_id}/content")
            if film.status_code == 200 and film.content[4:8] == b"ftyp":
                seen.succeeded[video_id] += 1
            else:
                seen.odd.append(f"{video_id}: no film, {film.status_code}")
            return
        if state not in ("queued", "running"):
            seen.odd.append(f"{video_id}: {state} {answer.text[:200]}")
            return
    seen.odd.append(f"{video_id}: not finished after {PATIENCE_S:g} s")


async def _timed(client: httpx.AsyncClient, seen: Seen, kind: str, method: str, path: str, **more: object):
    begin = time.perf_counter()
    answer = await client.request(method, path, **more)  # pyright: ignore[reportArgumentType]
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
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data, model = Path(folder) / "data", options.model
        if not model:
            from models import random_tiny

            model = str(Path(folder) / "tiny")
            random_tiny().save_pretrained(model)
        words = ["serve", "--models", f"m={model}", "--data", str(data), "--port", "0", "--no-studio"]
        service = subprocess.Popen(
            [sys.executable, "-m", "videosyn", *words, "--queue", "150", "--devices", "cpu"],
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert service.stderr is not None
            line = service.stderr.readline()
            url = next((word for word in line.split() if word.startswith("http")), None)
            if url is None:
                raise SystemExit(line)
            before_s = cpu_s(service.pid)
            seen = asyncio.run(load(url.removesuffix("/v1/"), options.clients, options.seconds))
            spent_s = cpu_s(service.pid) - before_s
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
    print(f"CPU time of the API's process: {1000 * spent_s / max(1, num_requests):.2f} ms a request")
    for each in seen.odd[:5]:
        print(each)


if __name__ == "__main__":
    main()

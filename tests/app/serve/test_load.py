"""The benchmark's clients, fewer of them and for a shorter time: what is accepted is made, once."""

import asyncio
import importlib.util
import os
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("httpx")
pytest.importorskip("psutil")


@pytest.fixture(scope="module")
def serve_load():
    path = Path(__file__).parents[3] / "benchmarks" / "serve_load.py"
    spec = importlib.util.spec_from_file_location("serve_load", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["serve_load"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("lost", "odd", "fails"), [((0, 0), [], False), ((1, 0), [], True), ((0, 1), [], True), ((0, 0), ["?"], True)]
)
def test_the_benchmark_fails_where_a_job_was_lost_made_twice_or_odd(
    serve_load, monkeypatch, tmp_path, lost, odd, fails
):
    async def load(*_):
        return serve_load.Seen(odd=odd)

    service = SimpleNamespace(
        stderr=SimpleNamespace(readline=lambda: "API http://127.0.0.1:1/v1/"),
        pid=os.getpid(),
        terminate=lambda: None,
        wait=lambda: None,
    )
    monkeypatch.setattr(sys, "argv", ["serve_load.py", "--model", str(tmp_path)])
    monkeypatch.setattr(serve_load, "load", load)
    monkeypatch.setattr(serve_load, "lost_and_doubled", lambda *_: lost)
    monkeypatch.setattr(serve_load.subprocess, "Popen", lambda *_, **__: service)
    with pytest.raises(SystemExit, match=r"^1$") if fails else nullcontext():
        serve_load.main()


@pytest.mark.slow
def test_no_job_of_many_clients_is_lost_or_made_twice(serve, serve_load):
    service = serve("--no-studio", "--queue", "5").ready()
    seen = asyncio.run(serve_load.load(service.url, clients=40, seconds=5, steps=1))
    assert seen.odd == []
    assert len(seen.posted) >= 20
    assert seen.refused > 0  # the queue was full at times, and said so
    assert serve_load.lost_and_doubled(seen, service.log.parent / "data") == (0, 0)

"""The benchmark's clients, fewer of them and for a shorter time: what is accepted is made, once."""

import asyncio
import importlib.util
import sys
from pathlib import Path

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


@pytest.mark.slow
def test_no_job_of_many_clients_is_lost_or_made_twice(serve, serve_load):
    service = serve("--no-studio", "--queue", "5").ready()
    seen = asyncio.run(serve_load.load(service.url, clients=40, seconds=5, steps=1))
    assert seen.odd == []
    assert len(seen.posted) >= 20
    assert seen.refused > 0  # the queue was full at times, and said so
    assert serve_load.lost_and_doubled(seen, service.log.parent / "data") == (0, 0)

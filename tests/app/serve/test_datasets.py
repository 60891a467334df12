"""Dataset folders as the page Curate reads them."""

import asyncio
import threading

import pytest

from videosyn.app.serve.folders import Folders
from videosyn.app.serve.options import Limits
from videosyn.app.serve.studio import datasets as module

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def write_table(folder, num_clips):
    pq.write_table(pa.table({"id": [f"c{place}" for place in range(num_clips)]}), folder / "metadata.parquet")


def test_a_dataset_is_read_again_when_it_grew_and_only_then(tmp_path):
    write_table(tmp_path, 2)
    datasets = module.Datasets([tmp_path], Folders(tmp_path / "data"), Limits())

    async def opened():
        return await datasets.get(0)

    first = asyncio.run(opened())
    assert len(first.rows) == 2
    assert asyncio.run(opened()) is first
    write_table(tmp_path, 5)
    assert len(asyncio.run(opened()).rows) == 5
    pq.write_table(pa.table({"id": ["r"], "rejected_by": ["motion"]}), tmp_path / "rejected.parquet")
    assert len(asyncio.run(opened()).rows) == 6


def test_tables_are_read_once_for_all_who_wait_and_not_on_the_event_loop(tmp_path, monkeypatch):
    write_table(tmp_path, 2)
    datasets, threads = module.Datasets([tmp_path], Folders(tmp_path / "data"), Limits()), []

    def read(folder):
        threads.append(threading.current_thread())
        return object()

    monkeypatch.setattr(module, "Dataset", read)

    async def open_twice():
        return await asyncio.gather(datasets.get(0), datasets.get(0))

    one, two = asyncio.run(open_twice())
    assert one is two
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()

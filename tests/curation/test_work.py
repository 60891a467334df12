"""Places: files whole or not at all, local or behind an fsspec URL."""

from __future__ import annotations

import errno

import numpy as np
import pytest

from videosyn.core.errors import UserError
from videosyn.curation.records import Source
from videosyn.curation.work import Work, local_file, source_file


@pytest.fixture(params=["folder", "memory://{name}/work"])
def work(request, tmp_path):
    place = request.param.format(name=tmp_path.name)
    return Work(place if "://" in place else str(tmp_path / place))


def test_what_is_written_is_read_back(work):
    work.write("a/b.bin", b"\0\1")
    work.write_json("c.json", {"one": [1, 2]})
    work.write_arrays("d.npz", {"x": np.arange(3), "words": np.asarray(["a", "bc"])})
    work.write_source(Source("ab", "/a.mp4", 3, fps=24.0))
    assert (work.read("a/b.bin"), work.read_json("c.json")) == (b"\0\1", {"one": [1, 2]})
    arrays = work.read_arrays("d.npz")
    assert (arrays["x"].tolist(), arrays["words"].tolist()) == ([0, 1, 2], ["a", "bc"])
    assert work.source("ab") == Source("ab", "/a.mp4", 3, fps=24.0)
    assert work.exists("a/b.bin")
    assert not work.exists("a/none")
    with pytest.raises(FileNotFoundError):
        work.read("a/none")


def test_a_new_file_appears_when_its_block_ends_and_not_before(work):
    with work.new_file("clips/x.mp4") as path:
        path.write_bytes(b"film")
        assert path.suffix == ".mp4"
        assert not work.exists("clips/x.mp4")
    assert work.read("clips/x.mp4") == b"film"


def test_a_block_that_fails_leaves_no_file(work):
    def fail():
        with work.new_file("clips/x.mp4") as path:
            path.write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not work.exists("clips/x.mp4")


def test_a_remote_source_is_fetched_once_for_tasks_in_a_row(tmp_path):
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe({"/far/a.mp4": b"one", "/far/b.mp4": b"two"})
    with local_file("memory://far/a.mp4") as first:
        assert (first.name, first.read_bytes()) == ("a.mp4", b"one")
    with local_file("memory://far/a.mp4") as again:
        assert again == first
        with local_file("memory://far/b.mp4") as other:
            assert (other.read_bytes(), again.read_bytes()) == (b"two", b"one")
    assert not first.exists()


def test_a_remote_name_is_no_pattern(tmp_path):
    (tmp_path / "clip a.mp4").write_bytes(b"other")
    (tmp_path / "clip [abc].mp4").write_bytes(b"this")
    with local_file(f"file://{tmp_path}/clip [abc].mp4") as path:
        assert (path.name, path.read_bytes()) == ("clip [abc].mp4", b"this")


def test_a_copy_without_room_is_no_mistake_of_the_source(monkeypatch):
    from fsspec.implementations.memory import MemoryFileSystem

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(MemoryFileSystem, "get_file", full)
    with pytest.raises(OSError, match="No space left"), local_file("memory://far/large.mp4"):
        pass


def test_a_source_that_is_not_there_is_a_mistake(tmp_path):
    for path in (tmp_path / "none.mp4", tmp_path, "memory://far/none.mp4", f"file://{tmp_path}"):
        with pytest.raises(UserError, match=r"none|no file"), local_file(str(path)):
            pass


def test_a_source_of_another_size_is_not_the_one_that_was_probed(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"film")
    source = Source("ab", str(tmp_path / "a.mp4"), 4)
    with source_file(source) as path:
        assert path.read_bytes() == b"film"
    (tmp_path / "a.mp4").write_bytes(b"another")
    with pytest.raises(UserError, match=r"a\.mp4 changed since it was first read, 4 bytes then, 7 now: "):
        source_file(source).__enter__()

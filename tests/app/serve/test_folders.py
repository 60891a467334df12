"""What the service's folder holds, and what of it is the service's to remove."""

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest

from videosyn.app.serve.folders import Folders
from videosyn.core.errors import UserError


def test_sweeping_removes_what_is_left_over_and_nothing_that_is_not_the_services(tmp_path: Path):
    folders = Folders(tmp_path)
    folders.make()
    kept, left = "0" * 32, "1" * 32
    for name in (f"films/{kept}.mp4", f"films/{left}.mp4", f"previews/{left}.jpg", f"scratch/{left}-lease.mp4"):
        (tmp_path / name).touch()
    (tmp_path / "films" / "holiday.mp4").touch()
    for name in ("2" * 32, "3" * 32, "letter.txt"):
        (tmp_path / "uploads" / name).touch()
    for name in ("a" * 64, "mine"):
        (tmp_path / "studio" / name).mkdir(parents=True)
        (tmp_path / "studio" / name / "film.mp4").write_bytes(b"1234")
    assert folders.studio_bytes() == 8
    (tmp_path / "scratch" / "folder").mkdir()
    folders.sweep({kept}, {"2" * 32})
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert [each for each in found if "/" in each] == [
        f"films/{kept}.mp4",
        "films/holiday.mp4",
        "studio/mine/film.mp4",
        f"uploads/{'2' * 32}",
        "uploads/letter.txt",
    ]


def test_the_studio_takes_no_upload_when_gradio_keeps_too_much(tmp_path: Path):
    pytest.importorskip("fastapi")
    from videosyn.app.serve.studio.mount import Studio

    folders = Folders(tmp_path)
    folders.make()
    (folders.studio / ("a" * 64)).mkdir(parents=True)
    (folders.studio / ("a" * 64) / "film.mp4").write_bytes(b"12345678")
    service = SimpleNamespace(folders=folders, options=SimpleNamespace(datasets=()), limits=None)

    def status(most_bytes: int) -> int:
        studio = Studio(service, SimpleNamespace(most_bytes=most_bytes))  # pyright: ignore[reportArgumentType]
        sent = []

        async def send(message):
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/studio/gradio_api/upload", "headers": []}
        asyncio.run(studio(scope, None, send))  # pyright: ignore[reportArgumentType]
        return sent[0]["status"]

    assert status(8) == 507
    assert status(9) == 503  # Gradio is not there yet


def test_a_lock_that_cannot_be_written_is_a_user_error(tmp_path: Path):
    (tmp_path / "lock").mkdir()
    with pytest.raises(UserError, match=r"^cannot keep jobs in .*: Is a directory: choose another --data$"):
        Folders(tmp_path).lock()

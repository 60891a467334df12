"""Files that the studio received become uploads, once each."""

import asyncio
from types import SimpleNamespace

import pytest

pytest.importorskip("fastapi")

from PIL import Image

from videosyn.app.serve.folders import Folders
from videosyn.app.serve.options import Limits
from videosyn.app.serve.problems import ApiProblem
from videosyn.app.serve.store import JobStore
from videosyn.app.serve.uploads import Uploads


@pytest.fixture
def service(tmp_path):
    folders = Folders(tmp_path / "data")
    folders.make()
    store = JobStore(folders.database)

    async def write(change):
        return change(store)

    return SimpleNamespace(
        folders=folders, store=store, write=write, limits=Limits(upload_seconds=300), upload_bytes=1_000_000
    )


def test_a_file_taken_again_is_one_upload_until_it_changes_or_the_upload_goes(service, tmp_path):
    uploads, path = Uploads(service), tmp_path / "first.png"
    Image.new("RGB", (32, 32)).save(path)

    async def take_all():
        found = [await uploads.take(path), await uploads.take(path)]
        service.store.expire_uploads(-1)
        found.append(await uploads.take(path))
        Image.new("RGB", (48, 32)).save(path)
        return [*found, await uploads.take(path)]

    first, again, later, changed = asyncio.run(take_all())
    assert first.id == again.id
    assert len({first.id, later.id, changed.id}) == 3
    assert service.store.upload_ids() == {later.id, changed.id}
    assert (later.width, changed.width) == (32, 48)


def test_a_file_that_is_gone_is_asked_for_again_without_its_path(service, tmp_path):
    with pytest.raises(ApiProblem) as caught:
        asyncio.run(Uploads(service).take(tmp_path / "gone.png"))
    assert caught.value.detail == "the file is not here any more: upload it again"

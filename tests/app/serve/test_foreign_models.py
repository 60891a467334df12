"""diffusers' own pipelines behind the service: small random ones, whose folders the operator names."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from videosyn.app.serve.folders import Folders
from videosyn.app.serve.store import JobStore
from videosyn.core.errors import UserError
from videosyn.core.video_file import read_metadata

pytestmark = pytest.mark.slow
SIZE = {"num_frames": 9, "height": 32, "width": 32}


def test_films_of_a_diffusers_pipeline_are_batched_shown_on_their_way_and_cancelled(serve, foreign_folders, tmp_path):
    service = serve("--no-studio", model=foreign_folders["wan"]).ready()
    (model,) = service.ask("GET", "/v1/models")[2]["models"]
    assert (model["fps"], model["guidance"], model["size_multiple"], model["time_factor"]) == (16.0, 5.0, 16, 4)
    assert not model["takes_pictures"]

    # A film so long that it can be caught at work; three of one shape wait behind it.
    long = service.make(num_frames=97, height=64, width=64, num_steps=100)
    alike = [service.make(seed=seed, num_steps=2, **SIZE) for seed in (1, 2, 1)]
    picture = service.wait(lambda: preview(service, long["id"]))
    assert picture.size == (64, 64)
    assert 0 < service.get(long["id"])["progress"] < 1
    assert service.ask("DELETE", f"/v1/videos/{long['id']}")[0] == 204

    videos = [service.finished(video["id"]) for video in alike]
    assert [video["state"] for video in videos] == ["succeeded"] * 3
    assert len({video["started_at"] for video in videos}) == 1  # together, and by the worker of before
    assert service.ask("GET", "/metrics")[2].count(b"videosyn_worker_restarts_total 0.0") == 1
    films = [service.ask("GET", video["film"]["content"])[2] for video in videos]
    assert videos[0]["film"]["fps"] == 16.0
    assert pixels(films[0], tmp_path).shape == (9, 32, 32, 3)
    assert np.array_equal(pixels(films[0], tmp_path), pixels(films[2], tmp_path))  # one seed, one film
    assert not np.array_equal(pixels(films[0], tmp_path), pixels(films[1], tmp_path))
    assert service.get(long["id"])["state"] == "cancelled"


def test_the_rules_of_its_family_are_told_before_a_job_is_accepted(serve, foreign_folders):
    service = serve("--no-studio", model=foreign_folders["ltx"])
    for asked, said in (
        ({"num_frames": 13}, "frames must be 1 + 8k, got 13: use 9 or 17"),
        ({"height": 48}, "height must be a multiple of 32, got 48: use 32 or 64"),
    ):
        status, _, body = service.ask("POST", "/v1/videos", {"prompt": "a red ball", **asked})
        assert (status, body["detail"]) == (422, said)


def test_a_pipeline_that_is_damaged_fails_its_jobs_without_telling_its_path(serve, foreign_folders, tmp_path):
    damaged = shutil.copytree(foreign_folders["wan"], tmp_path / "elsewhere")
    (weights,) = (damaged / "transformer").glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:1000])
    service = serve("--no-studio", model=damaged)
    video = service.finished(service.make(num_steps=1, **SIZE)["id"])
    assert video["state"] == "failed"
    assert "does not load" in video["error"]
    assert str(tmp_path) not in video["error"]


def test_where_there_can_be_no_preview_the_worker_asks_once_and_says_why(tmp_path):
    from videosyn.app.serve import worker

    folders = Folders(tmp_path / "data")
    folders.make()
    watch = worker._Watch(JobStore(folders.database), "lease", ["0" * 32], folders)
    watch._show_at, asked = 0.0, []

    def pictures():
        asked.append(1)
        raise UserError("films of a SomePipeline cannot be shown on their way: latents of 4 axes")

    for _ in range(3):
        watch.preview(range(1), pictures)
    assert len(asked) == 1
    assert watch.notes == ["films of a SomePipeline cannot be shown on their way: latents of 4 axes"]
    assert list(Path(folders.root, "previews").iterdir()) == []


def test_a_film_that_is_not_as_asked_says_what_it_is(tmp_path):
    from videosyn.app.serve.options import Limits
    from videosyn.app.serve.worker import Worker, WorkerSetup
    from videosyn.sampling.pipeline import VideoOutput

    folders = Folders(tmp_path / "data")
    folders.make()
    store = JobStore(folders.database)
    request = {"prompt": "a red ball", "seed": 1, "num_steps": 2, "fps": 8.0, **SIZE}
    job = store.add(request, "", 100)[0]
    worker = Worker(WorkerSetup(str(tmp_path / "data"), "lease", "cpu", "fp32", {}, 1, 1, Limits()))
    store.claim("lease", 1)
    worker._finish(job, VideoOutput(np.zeros((1, 5, 32, 32, 3), np.uint8), 16.0, ["a red ball"], [1], ()), 0, 1.0)
    settings = json.loads(read_metadata(folders.film(job.id))["settings"])
    assert settings == {"num_frames": 5, "height": 32, "width": 32, "fps": 16.0, "num_steps": 2}
    found = store.get(job.id)
    assert found is not None
    assert found.film == {"num_frames": 5, "height": 32, "width": 32, "fps": 16.0}


def preview(service, video_id):
    """The picture of a film on its way, None where there is none yet."""
    import io

    status, _, content = service.ask("GET", f"/v1/videos/{video_id}/preview")
    return Image.open(io.BytesIO(content)) if status == 200 else None


def pixels(film, folder):
    from videosyn.core.video_file import read_video

    (folder / "film.mp4").write_bytes(film)
    return read_video(folder / "film.mp4")[0]

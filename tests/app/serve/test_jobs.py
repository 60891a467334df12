"""What becomes of jobs when they are cancelled, when the queue is full, and when processes are killed."""

import os
import random
import shutil
import signal
import sqlite3
import time
from functools import partial

import pytest

PROMPT = "a red ball bounces on the grass"


def test_progress_and_eta_are_told_while_a_film_is_made_and_it_can_be_cancelled(serve, slow_folder):
    service = serve("--no-studio", "--batch", "1", model=slow_folder).ready()
    running, waiting = service.make(num_frames=129, height=64, width=64), service.make()

    def under_way():
        video = service.get(running["id"])
        return video if 0 < video["progress"] < 1 else None

    video = service.wait(under_way)
    assert (video["state"], video["position"]) == ("running", None)
    assert video["eta_s"] > 0
    queued = service.get(waiting["id"])
    assert (queued["state"], queued["position"]) == ("queued", 0)
    service.wait(lambda: service.ask("GET", f"/v1/videos/{running['id']}/preview")[0] == 200)
    status, _, body = service.ask("GET", f"/v1/videos/{running['id']}/content")
    assert (status, body["type"]) == (409, "urn:videosyn:problem:not-finished")
    assert service.ask("DELETE", f"/v1/videos/{running['id']}")[0] == 204
    assert service.get(running["id"])["state"] == "cancelled"
    assert service.finished(waiting["id"])["state"] == "succeeded"  # the worker went on to the next
    assert service.get(running["id"])["state"] == "cancelled"
    assert not (service.log.parent / "data" / "films" / f"{running['id']}.mp4").exists()
    assert service.ask("GET", "/metrics")[2].count(b"videosyn_worker_restarts_total 0.0") == 1  # and never died


def test_beyond_its_length_the_queue_says_when_to_come_back(serve, slow_folder):
    service = serve("--no-studio", "--queue", "2", "--batch", "1", model=slow_folder)
    answers = [service.ask("POST", "/v1/videos", {"prompt": PROMPT, "num_frames": 65}) for _ in range(6)]
    assert {status for status, _, _ in answers} == {202, 429}
    _, headers, body = next(answer for answer in answers if answer[0] == 429)
    assert int(headers["retry-after"]) >= 1
    assert body["type"] == "urn:videosyn:problem:queue-full"
    for status, _, video in answers:
        if status == 202:
            service.ask("DELETE", f"/v1/videos/{video['id']}")


def test_a_worker_that_is_killed_is_replaced_and_its_jobs_finish(serve, slow_folder):
    service = serve("--no-studio", model=slow_folder).ready()
    video = service.make(num_frames=33)
    service.wait(lambda: service.get(video["id"])["progress"] > 0)
    (worker,) = service.worker_pids()
    os.kill(worker, signal.SIGKILL)
    assert service.finished(video["id"])["state"] == "succeeded"
    assert b"videosyn_worker_restarts_total 1.0" in service.ask("GET", "/metrics")[2]


@pytest.mark.slow
def test_killed_at_any_moment_and_started_again_every_accepted_job_finishes_once(serve, slow_folder):
    chance = random.Random(0)
    accepted = []
    for _ in range(3):
        service = serve("--no-studio", "--batch", "2", model=slow_folder)
        accepted += [service.make(seed=seed, num_steps=chance.choice((20, 40)))["id"] for seed in range(4)]
        workers = service.wait(service.worker_pids)
        service.wait(partial(_any_under_way, service, accepted))
        time.sleep(chance.uniform(0, 0.5))
        service.kill()
        service.wait(partial(_all_dead, workers))  # no worker outlives its service
    service = serve("--no-studio", model=slow_folder)
    films = service.log.parent / "data" / "films"
    for video_id in accepted:
        video = service.finished(video_id)
        assert video["state"] == "succeeded", video["error"]
        assert service.ask("GET", video["film"]["content"])[2] == (films / f"{video_id}.mp4").read_bytes()
    listed = [video["id"] for video in service.ask("GET", "/v1/videos?limit=100")[2]["videos"]]
    assert sorted(listed) == sorted(accepted)
    assert sorted(path.stem for path in films.glob("*.mp4")) == sorted(accepted)
    database = sqlite3.connect(films.parent / "jobs.sqlite")
    order = [row[0] for row in database.execute("SELECT id FROM jobs ORDER BY number")]
    assert order == accepted


def test_finished_films_go_when_they_take_too_much_room(serve):
    service = serve("--no-studio", "--keep-gb", "0.000001")
    video = service.finished(service.make()["id"])
    if video["state"] == "succeeded":
        service.stop()  # housekeeping is done when a service starts
        service = serve("--no-studio", "--keep-gb", "0.000001")
        service.wait(lambda: service.get(video["id"])["state"] == "expired")
    status, _, body = service.ask("GET", f"/v1/videos/{video['id']}/content")
    assert (status, body["type"]) == (410, "urn:videosyn:problem:expired")
    assert not list((service.log.parent / "data" / "films").iterdir())


def test_a_second_service_does_not_share_the_folder(serve, capfd):
    service = serve("--no-studio")
    with pytest.raises(pytest.fail.Exception, match="another service uses"):
        serve("--no-studio")
    assert service.ask("GET", "/healthz")[0] == 200


def test_a_model_that_is_not_served_any_more_fails_its_jobs_and_no_others(serve, slow_folder, tiny_folder):
    service = serve("--no-studio", model=slow_folder, more_models=[f"other={tiny_folder}"])
    old = service.make(model="other", num_frames=129)
    service.kill()
    service = serve("--no-studio", model=slow_folder)
    video = service.finished(old["id"])
    assert (video["state"], video["error"]) == ("failed", "the model 'other' is not served any more")
    assert service.finished(service.make(num_steps=1)["id"])["state"] == "succeeded"


def test_a_model_whose_weights_are_damaged_fails_its_jobs_without_telling_its_path(serve, tiny_folder, tmp_path):
    damaged = tmp_path / "elsewhere"
    shutil.copytree(tiny_folder, damaged)
    (weights,) = (damaged / "transformer").glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:1000])
    service = serve("--no-studio", model=damaged, more_models=[f"sound={tiny_folder}"])
    video = service.finished(service.make()["id"])
    assert video["state"] == "failed"
    assert str(tmp_path) not in video["error"]
    assert "transformer" in video["error"]
    assert service.finished(service.make(model="sound")["id"])["state"] == "succeeded"


def _any_under_way(service, ids):
    return any(service.get(each)["progress"] > 0 for each in ids)


def _all_dead(pids):
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat") as stat:
                if stat.read().rpartition(")")[2].split()[0] != "Z":
                    return False
        except FileNotFoundError:
            pass
    return True

"""Several workers on one queue: each job is made once, whichever of them is killed, and all end with the service."""

import os
import signal
import sqlite3
from collections import Counter

import pytest

pytestmark = pytest.mark.slow
TWO = ("cpu", "cpu")  # as cuda:0 cuda:1: a worker process each


def rows(service, columns, where="1"):
    """id -> those columns, of the jobs for which that is true."""
    database = sqlite3.connect(service.log.parent / "data" / "jobs.sqlite")
    return {row[0]: row[1:] for row in database.execute(f"SELECT id, {columns} FROM jobs WHERE {where}")}


def both_at_work(service):
    """id -> (lease,) of the running jobs, once two workers have some."""
    running = rows(service, "lease", "state = 'running'")
    return running if len(set(running.values())) == 2 else None


def films(service):
    return Counter(path.stem for path in (service.log.parent / "data" / "films").glob("*.mp4"))


def alive(pids):
    return [pid for pid in pids if os.path.exists(f"/proc/{pid}")]


def test_two_workers_share_a_queue_and_one_finishes_what_a_killed_one_began(serve, slow_folder):
    service = serve("--no-studio", "--batch", "1", model=slow_folder, devices=TWO)
    service.wait(lambda: service.ask("GET", "/healthz")[2]["workers"] == {"cpu/0": "ready", "cpu/1": "ready"})
    workers = service.worker_pids()
    assert len(workers) == 2
    accepted = [service.make(seed=seed, num_frames=33)["id"] for seed in range(6)]
    under_way = service.wait(lambda: both_at_work(service))
    os.kill(workers[0], signal.SIGKILL)
    videos = [service.finished(video_id) for video_id in accepted]
    assert [video["state"] for video in videos] == ["succeeded"] * 6
    assert films(service) == Counter(accepted)
    made = rows(service, "lease, attempts")
    assert sorted(attempts for _, attempts in made.values()) == [1] * 5 + [2]  # what was lost was begun once more
    lost = next(video_id for video_id, (_, attempts) in made.items() if attempts == 2)
    assert (made[lost][0],) != under_way[lost]  # by another worker
    assert b"videosyn_worker_restarts_total 1.0" in service.ask("GET", "/metrics")[2]


def test_a_service_that_ends_ends_all_its_workers_and_their_jobs_wait_for_the_next_start(serve, slow_folder):
    service = serve("--no-studio", "--batch", "2", model=slow_folder, devices=TWO)
    accepted = [service.make(seed=seed, num_frames=65)["id"] for seed in range(4)]
    service.wait(lambda: both_at_work(service))  # four of one shape: two for each, none for one alone
    workers = service.worker_pids()
    service.stop()
    assert service.process.returncode == -signal.SIGTERM  # by its own end, after the workers', not by SIGKILL
    assert alive(workers) == []
    waiting = rows(service, "state, attempts")
    assert {state for state, _ in waiting.values()} <= {"queued", "succeeded"}
    assert {attempts for state, attempts in waiting.values() if state == "queued"} <= {0}
    service = serve("--no-studio", model=slow_folder, devices=TWO)
    assert [service.finished(video_id)["state"] for video_id in accepted] == ["succeeded"] * 4
    assert films(service) == Counter(accepted)

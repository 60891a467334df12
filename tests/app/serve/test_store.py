import json
import random
import threading

import pytest

from videosyn.app.serve.store import MOST_ATTEMPTS, JobStore, KeyReused, QueueFull, Upload

REQUEST = {"prompt": "a red ball", "seed": 0}
FILM = {"num_frames": 5, "height": 32, "width": 32, "fps": 8.0}


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(tmp_path, clock):
    store = JobStore(tmp_path / "jobs.sqlite", clock=clock)
    yield store
    store.close()


def add(store, shape="", **more):
    return store.add(REQUEST, shape, 100, **more)[0]


def finish(store, job, num_bytes=10):
    lease = f"lease of {job.id}"
    assert [each.id for each in store.claim(lease, 1)] == [job.id]
    assert store.succeed(lease, job.id, FILM, num_bytes, 2.0)


def test_jobs_are_claimed_in_the_order_in_which_they_came(store):
    jobs = [add(store) for _ in range(3)]
    assert [store.claim("a", 4)[0].id for _ in jobs] == [job.id for job in jobs]
    assert store.claim("a", 4) == []


def test_jobs_of_one_shape_are_claimed_together_and_no_others_with_them(store):
    first, other, second, third, fourth = (add(store, shape) for shape in ("s", "t", "s", "s", "s"))
    assert [job.id for job in store.claim("a", 3)] == [first.id, second.id, third.id]
    assert [job.id for job in store.claim("a", 3)] == [other.id]
    assert [job.id for job in store.claim("a", 3)] == [fourth.id]


def test_workers_that_share_a_queue_leave_each_other_their_share(store):
    accepted = [add(store, "s").id for _ in range(5)]
    taken = [[job.id for job in store.claim(lease, 4, sharers=2)] for lease in ("one", "two", "one", "two")]
    assert [len(ids) for ids in taken] == [3, 1, 1, 0]
    assert [each for ids in taken for each in ids] == accepted


def test_the_queue_is_bounded_and_running_jobs_do_not_count(store):
    for _ in range(2):
        store.add(REQUEST, "", 2)
    with pytest.raises(QueueFull):
        store.add(REQUEST, "", 2)
    store.claim("a", 1)
    store.add(REQUEST, "", 2)
    assert store.counts() == {"queued": 2, "running": 1}


def test_the_same_key_gives_the_same_job_and_another_request_with_it_is_refused(store):
    job, is_new = store.add(REQUEST, "", 1, key="k", asked="words")
    again, is_new_again = store.add({**REQUEST, "seed": 5}, "", 1, key="k", asked="words")  # whose seed was drawn anew
    assert (is_new, is_new_again, again.id) == (True, False, job.id)
    with pytest.raises(KeyReused):
        store.add(REQUEST, "", 1, key="k", asked="other words")


def test_a_worker_that_was_given_up_changes_nothing(store):
    job = add(store)
    store.claim("lost", 1)
    assert store.give_back("lost") == 1
    store.claim("next", 1)
    placed = []
    store.progress("lost", [job.id], 1, 2)
    assert not store.succeed("lost", job.id, FILM, 10, 1.0, place=lambda: placed.append(job.id))
    assert not store.fail("lost", job.id, "no")
    assert (placed, store.get(job.id).state, store.get(job.id).steps_done) == ([], "running", 0)
    assert store.succeed("next", job.id, FILM, 10, 1.0, place=lambda: placed.append(job.id))
    assert placed == [job.id]
    assert not store.succeed("next", job.id, FILM, 10, 1.0, place=lambda: placed.append(job.id))
    assert placed == [job.id]


def test_a_film_that_cannot_be_placed_leaves_its_job_running(store):
    job = add(store)
    store.claim("a", 1)

    def fail():
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        store.succeed("a", job.id, FILM, 10, 1.0, place=fail)
    assert store.get(job.id).state == "running"


def test_a_job_that_loses_its_worker_waits_in_its_old_place_and_fails_after_some_times(store):
    job, later = add(store), add(store)
    for _ in range(MOST_ATTEMPTS - 1):
        assert [each.id for each in store.claim("a", 1)] == [job.id]
        assert store.give_back("a") == 1
        assert store.get(job.id).state == "queued"
    store.claim("a", 1)
    assert store.give_back("a") == 0
    assert store.get(job.id).error == f"its worker process ended {MOST_ATTEMPTS} times"
    assert [each.id for each in store.claim("a", 1)] == [later.id]


def test_jobs_that_lost_a_worker_together_are_made_alone(store):
    jobs = [add(store, "s") for _ in range(3)]
    assert len(store.claim("a", 4)) == 3
    assert store.give_back("a") == 3
    later = [add(store, "s") for _ in range(2)]
    claimed = [[each.id for each in store.claim("b", 4)] for _ in range(4)]
    assert claimed == [[job.id] for job in jobs] + [[job.id for job in later]]


def test_jobs_are_not_blamed_for_the_end_of_the_service(store):
    job = add(store)
    for _ in range(2 * MOST_ATTEMPTS):
        store.claim("a", 1)
        store.forgive()
        store.give_back()
    assert store.get(job.id).state == "queued"


def test_cancelling_takes_a_job_from_its_worker_at_once(store):
    queued, running = add(store), add(store)
    assert store.cancel(queued.id)
    store.claim("a", 1)
    assert store.wanted("a", [running.id]) == {running.id}
    assert store.cancel(running.id)
    assert store.wanted("a", [running.id]) == set()
    assert not store.cancel(running.id)
    assert store.claim("a", 1) == []


def test_only_finished_jobs_are_forgotten(store):
    job = add(store)
    assert not store.remove(job.id)
    finish(store, job)
    assert store.remove(job.id)
    assert store.get(job.id) is None


def test_films_expire_by_age_and_then_by_room_the_oldest_first(store, clock):
    jobs = [add(store) for _ in range(4)]
    for job in jobs:
        clock.now += 10
        finish(store, job)
    assert store.expire(keep_s=25, keep_bytes=1000) == [jobs[0].id]
    assert sorted(store.expire(keep_s=25, keep_bytes=15)) == sorted([jobs[1].id, jobs[2].id])
    assert [store.get(job.id).state for job in jobs] == ["expired"] * 3 + ["succeeded"]
    clock.now += 100
    store.forget(keep_s=50)
    assert [store.get(job.id) is None for job in jobs] == [True] * 3 + [False]


def test_what_waiting_jobs_go_on_from_is_kept(store, clock):
    film = add(store)
    finish(store, film)
    store.add_upload(Upload("u" * 32, "picture", 8, 8, 1, 0.0, 100, clock.now))
    add(store, sources=[film.id, "u" * 32])
    clock.now += 1000
    assert store.expire(1, 1) == store.expire_uploads(1) == []
    store.cancel(store.latest(1)[0].id)
    assert store.expire(1, 1) == [film.id]
    assert store.expire_uploads(1) == ["u" * 32]
    assert store.upload("u" * 32) is None


def test_what_is_told_of_the_queue(store):
    first, second, third = (add(store) for _ in range(3))
    assert store.mean_busy_s() is None
    finish(store, first)
    assert store.mean_busy_s() == 2.0
    assert [store.position(job) for job in (second, third)] == [0, 1]
    assert [job.id for job in store.latest(2)] == [third.id, second.id]
    assert [job.id for job in store.latest(2, before=second.number)] == [first.id]
    assert [job.id for job in store.latest(5, states=("succeeded",))] == [first.id]


def test_many_claiming_at_once_never_get_the_same_job(tmp_path):
    path = tmp_path / "jobs.sqlite"
    store = JobStore(path, durable=False)
    accepted = {add(store, random.choice("ab")).id for _ in range(60)}
    claimed, lock = [], threading.Lock()

    def work(name):
        own = JobStore(path, durable=False)
        while jobs := own.claim(name, 3):
            with lock:
                claimed.extend(job.id for job in jobs)
        own.close()

    threads = [threading.Thread(target=work, args=(f"worker {number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == sorted(accepted)
    store.close()


def test_requests_come_back_as_they_went_in(store):
    request = {"prompt": "ein roter Ball \u0000 \U0001f534", "seed": 2**63 - 1, "fps": 8.5, "image": None}
    job, _ = store.add(request, "", 1)
    assert store.get(job.id).request == json.loads(json.dumps(request)) == request

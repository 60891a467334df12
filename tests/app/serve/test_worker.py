"""What a worker makes of the jobs that it claims together: what is said of one, or goes wrong, stays its own."""

import pytest

from videosyn.app.serve.folders import Folders
from videosyn.app.serve.options import Limits
from videosyn.app.serve.store import JobStore
from videosyn.app.serve.worker import Worker, WorkerSetup
from videosyn.core.errors import UserError

PROMPT = "a red ball bounces"
LONG = "ball " * 63 + "red cube"
REQUEST = {
    "model": "tiny",
    "negative_prompt": None,
    "num_frames": 5,
    "height": 32,
    "width": 32,
    "num_steps": 1,
    "guidance": 1.0,
    "fps": 8.0,
    "sampler": "euler",
    "image": None,
    "extend": None,
    "last_image": None,
}


@pytest.fixture
def worker(tiny_pipeline, tmp_path):
    """A worker with the tiny model open."""
    folders = Folders(tmp_path / "data")
    folders.make()
    made = Worker(WorkerSetup(str(folders.root), "lease", "cpu", "fp32", {"tiny": ""}, 4, 1, Limits()))
    made._open = ("tiny", tiny_pipeline)
    return made


@pytest.fixture
def finished(worker, tmp_path):
    """finished(prompt, ...) -> the jobs of these prompts, made in one turn."""
    store = JobStore(Folders(tmp_path / "data").database)

    def make(*prompts, **settings):
        jobs = [
            store.add({**REQUEST, **settings, "prompt": prompt, "seed": seed}, "alike", 100)[0]
            for seed, prompt in enumerate(prompts)
        ]
        assert worker.work()
        return [store.get(job.id) for job in jobs]

    return make


def test_notes_on_one_film_do_not_quote_its_prompt_to_others_of_its_batch(finished):
    first, long, last = finished(PROMPT, LONG, PROMPT)
    assert [job.state for job in (first, long, last)] == ["succeeded"] * 3
    assert first.notes == last.notes == ()
    assert long.notes == ("prompt has 66 tokens, the model reads 64: 'red cube' is ignored",)


def test_a_note_on_what_all_share_is_told_to_all(finished):
    first, second = finished(PROMPT, LONG, negative_prompt=LONG)
    assert first.notes == second.notes == ("prompt has 66 tokens, the model reads 64: 'red cube' is ignored",)


def test_words_that_the_model_never_learned_are_a_note_on_the_film_that_has_them(finished):
    known, unknown = finished(PROMPT, "a zebra bounces")
    assert (known.notes, unknown.notes) == ((), ("words this model never learned: zebra",))
    (negative,) = finished(PROMPT, negative_prompt="a blue moon")
    assert negative.notes == ("words this model never learned: moon",)


def test_films_that_do_not_fit_together_are_made_one_by_one(worker, finished, monkeypatch):
    films, sizes = worker._films, []

    def fail_together(jobs):
        sizes.append(len(jobs))
        if len(jobs) > 1:
            raise UserError("out of memory")
        if jobs[0].request["prompt"] == "too much":
            raise RuntimeError("a fault of its own")
        return films(jobs)

    monkeypatch.setattr(worker, "_films", fail_together)
    jobs = finished(PROMPT, "too much", PROMPT)
    assert sizes == [3, 1, 1, 1]
    assert [job.state for job in jobs] == ["succeeded", "failed", "succeeded"]
    assert jobs[1].error == "the model failed (RuntimeError): the service's log says more"


def test_a_film_that_cannot_be_written_fails_alone(worker, finished, monkeypatch):
    finish = worker._finish

    def fail_one(job, *rest):
        if job.request["prompt"] == LONG:
            raise OSError("no room")
        finish(job, *rest)

    monkeypatch.setattr(worker, "_finish", fail_one)
    assert [job.state for job in finished(LONG, PROMPT)] == ["failed", "succeeded"]


def test_a_model_that_does_not_open_fails_its_jobs_at_once(worker, finished):
    worker._open = None
    jobs = finished(PROMPT, PROMPT)
    assert [job.state for job in jobs] == ["failed", "failed"]

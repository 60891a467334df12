"""The queue engine on a real RabbitMQ and PostgreSQL: the local engine's result, whatever dies or gets lost."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from types import SimpleNamespace

import pika
import pika.exceptions
import psycopg
import pytest
import small_stages
from small_stages import FINISH, PIPELINE, write_sources
from sqlalchemy.exc import OperationalError

from videosyn.core.errors import UserError
from videosyn.curation import queue_engine
from videosyn.curation.broker import HintBroker, Hints, check_broker, queue_name
from videosyn.curation.config import CurationConfig
from videosyn.curation.dead_letters import requeue
from videosyn.curation.ledger import Ledger
from videosyn.curation.local_engine import run_local
from videosyn.curation.queue_engine import _watch, run_queue
from videosyn.curation.results import Summary
from videosyn.curation.slots import SlotConfig
from videosyn.curation.stages import Resources
from videosyn.curation.tasks import Plan, StageInfo, Task
from videosyn.curation.worker import _slots, _Work, run_worker

SOURCES = [
    {"spans": 3, "clips": 4, "work_s": 0.01},
    {"spans": 2, "clips": 5, "work_s": 0.01},
    {"spans": 1, "clips": 2, "poison": {"motion": "once"}},
    {"spans": 2, "clips": 2, "poison": {"shots": "raise"}},
    "no video",
]
LEASE_S = 2.0


@pytest.fixture
def run(start_run):
    return start_run(SOURCES)


@pytest.fixture
def start_run(tmp_path, broker, postgresql):
    """Starts runs of one dataset; their queues are gone after the test, even where they do not end."""
    yield lambda sources: _Run(write_sources(tmp_path / "sources", sources), tmp_path / "out", broker, postgresql)
    hints = Hints(broker, _dataset_id(postgresql))
    hints.remove_unread([step.name for step in PIPELINE])
    hints.close()


class _Run:
    """The watching half of a run, in a thread; `summary` gives what it returned, or raises its error."""

    def __init__(self, sources: list[str], dataset: Path, broker: str, ledger: str) -> None:
        self.sources, self.dataset, self.broker, self.ledger = sources, dataset, broker, ledger
        self.notes: list[str] = []
        self._outcome: list[Summary | BaseException] = []
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        _wait_until(lambda: self._outcome or _dataset_id(ledger))

    def _watch(self) -> None:
        try:
            self._outcome.append(
                run_queue(
                    CurationConfig(),
                    self.sources,
                    self.dataset,
                    self.broker,
                    self.ledger,
                    progress=lambda progress: self.notes.append(progress.note),
                    pipeline=PIPELINE,
                    at_end=FINISH,
                )
            )
        except BaseException as error:
            self._outcome.append(error)

    def work(self, stages: str = "all", say: Callable[[str], None] = lambda line: None) -> threading.Thread:
        """A worker in a thread; it ends with the dataset."""
        options = {"say": say, "pipeline": PIPELINE, "lease_s": LEASE_S, "backoff_s": 0.01}
        arguments = (self.broker, self.ledger, stages.split(","), {})
        thread = threading.Thread(target=run_worker, args=arguments, kwargs=options, daemon=True)
        thread.start()
        return thread

    def start_worker(self) -> subprocess.Popen:
        """A worker in a process of its own, to be killed."""
        script = (
            "import sys; sys.path.insert(0, sys.argv[1])\n"
            "import small_stages\n"
            "from videosyn.curation.worker import _Work, run_worker\n"
            f"run_worker(sys.argv[2], sys.argv[3], pipeline=small_stages.PIPELINE, lease_s={LEASE_S}, backoff_s=0.01)\n"
        )
        words = [sys.executable, "-c", script, str(Path(small_stages.__file__).parent), self.broker, self.ledger]
        return subprocess.Popen(words, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})

    def summary(self) -> Summary:
        self._thread.join(timeout=120)
        assert self._outcome, "the run does not end"
        if isinstance(self._outcome[0], BaseException):
            raise self._outcome[0]
        return self._outcome[0]

    def num_done(self) -> int:
        with psycopg.connect(self.ledger) as connection:
            return connection.execute("SELECT count(*) FROM tasks WHERE state = 'done'").fetchone()[0]

    def assert_as_local(self, tmp_path: Path) -> None:
        """Clips, rows and files are those of the local engine over the same sources."""
        run_local(CurationConfig(), self.sources, tmp_path / "local", 2, None, PIPELINE, FINISH, 0.01)
        assert (self.dataset / "result.txt").read_text() == (tmp_path / "local/result.txt").read_text()
        assert _files(self.dataset) == _files(tmp_path / "local")


def _files(dataset: Path) -> list[str]:
    return sorted(path.name for path in (dataset / ".curation" / "clips").iterdir())


def _dataset_id(ledger: str) -> str:
    try:
        with psycopg.connect(ledger) as connection:
            row = connection.execute("SELECT id FROM dataset").fetchone()
    except psycopg.errors.UndefinedTable:
        return ""
    return row[0] if row else ""


def _queues(run: _Run) -> list[str]:
    """Those of the run's stages that the broker has, with what hangs on them."""
    names = [queue_name(_dataset_id(run.ledger), step.name) for step in PIPELINE]
    return [name + end for name in names for end in ("", ".DQ", ".XQ") if _exists(name + end, run.broker)]


def _exists(queue: str, broker: str) -> bool:
    with pika.BlockingConnection(pika.URLParameters(broker)) as connection:
        try:
            connection.channel().queue_declare(queue, passive=True)
        except pika.exceptions.ChannelClosedByBroker:
            return False
        return True


def _wait_until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def test_two_workers_with_different_stages_give_the_local_engines_result(run, tmp_path):
    _wait_until(lambda: any("videosyn worker --stages all --broker amqp://videosyn:***@" in note for note in run.notes))
    workers = [run.work("probe,shots,clips,source_dedup"), run.work("aesthetics,motion,dedup,captions,write")]
    _wait_until(lambda: _queues(run))
    summary = run.summary()
    for worker in workers:
        worker.join(timeout=30)
    assert not _queues(run)
    assert {Path(aside.path).name for aside in summary.set_aside} == {"03.json", "04.json"}
    assert run.notes[-1] == ""
    run.assert_as_local(tmp_path)


@pytest.mark.slow
def test_workers_killed_at_random_change_nothing(run, tmp_path):
    random, kills = Random(2), 0
    workers = [run.start_worker() for _ in range(3)]
    while kills < 3:
        done = run.num_done() + random.randint(2, 15)
        _wait_until(lambda done=done: run.num_done() >= done or any(worker.poll() is not None for worker in workers))
        if any(worker.poll() is not None for worker in workers):
            break
        number = random.randrange(3)
        workers[number].kill()
        workers[number].wait()
        kills += 1
        workers[number] = run.start_worker()
    assert kills >= 2
    run.summary()
    for worker in workers:
        assert worker.wait(timeout=30) == 0
    run.assert_as_local(tmp_path)


@pytest.mark.slow
def test_lost_doubled_and_foreign_messages_change_nothing(run, tmp_path):
    name = _dataset_id(run.ledger)
    channel = HintBroker(run.broker)
    hints = Hints(run.broker, name)
    worker = run.work()
    random = Random(3)
    for _ in range(12):
        for step in PIPELINE:
            try:
                channel.channel.queue_purge(queue_name(name, step.name))
            except Exception:  # not declared yet
                del channel.connection
        hints.send([Task(step.name, f"no such unit {random.random()}") for step in PIPELINE for _ in range(2)])
        hints.send([Task("aesthetics", "1223b12a95dc7854")] * 3)
        with psycopg.connect(run.ledger) as connection:  # nor do lost connections to the database
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
                "AND application_name = current_setting('application_name')"
            )
        time.sleep(0.05)
    channel.close()
    hints.close()
    run.summary()
    worker.join(timeout=30)
    run.assert_as_local(tmp_path)


def test_a_worker_told_to_stop_gives_back_what_it_held_without_an_attempt(start_run, postgresql):
    run = start_run([{"work_s": 20.0}])
    ledger = Ledger(postgresql)
    worker = run.start_worker()
    _wait_until(ledger.num_held)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=15) == 0
    assert ledger.num_held() == 0
    with psycopg.connect(run.ledger) as connection:
        assert connection.execute("SELECT sum(attempts) FROM tasks").fetchone() == (0,)
    ledger.database.close()


@pytest.mark.slow
def test_dead_letters_queued_again_are_taken_up(start_run, run, tmp_path, monkeypatch):
    monkeypatch.setenv("SMALL_STAGE_ANTIDOTE", str(tmp_path / "antidote"))
    worker = run.work()
    run.summary()
    worker.join(timeout=30)
    ledger = Ledger(run.ledger)
    (shots,) = [dead.path for dead in ledger.dead() if dead.stage == "shots"]
    (tmp_path / "antidote").touch()
    assert requeue(ledger, [shots]) in (1, 2)  # its second span may have been done before the first died
    ledger.database.close()
    again = start_run([])
    again.work()
    assert [aside.stage for aside in again.summary().set_aside] == ["probe"]
    again.sources = run.sources
    again.assert_as_local(tmp_path)


class _AwayAtFirst:
    """A ledger whose database is away for the first question."""

    def __init__(self) -> None:
        self.num_asked = 0

    def is_finished(self) -> bool:
        self.num_asked += 1
        if self.num_asked == 1:
            raise OperationalError("SELECT", {}, Exception("connection refused"))
        return True


def test_a_worker_waits_for_a_ledger_that_is_away(caplog):
    book = _AwayAtFirst()
    work = _Work(book, None, None, SlotConfig(lease_s=0.01))
    work._sweep(["shots"])
    assert book.num_asked == 2
    assert caplog.messages == ["the ledger is away: connection refused"]


def test_the_heartbeat_keeps_no_lease_of_a_slot_that_is_not_at_work():
    extended = []
    book = SimpleNamespace(extend=lambda owners, lease_s: (extended.append(owners), work._over.set()))
    work = _Work(book, None, None, SlotConfig(lease_s=0.01))
    slots = [SimpleNamespace(owner="a", at_work=True), SimpleNamespace(owner="b", at_work=False)]
    work._slots = slots
    work._beat()
    assert extended == [["a"]]


def test_a_run_goes_on_with_its_own_work_folder_only(tmp_path, monkeypatch):
    def stop(*arguments) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(queue_engine, "check_broker", lambda url: None)
    monkeypatch.setattr(queue_engine, "_watch", stop)
    sources = write_sources(tmp_path / "sources", SOURCES[:1])

    def work_of(ledger: str, dataset: str, work: str = "") -> str:
        book = Ledger(str(tmp_path / ledger))
        monkeypatch.setattr(queue_engine, "Ledger", lambda url: book)
        with pytest.raises(KeyboardInterrupt):
            run_queue(
                CurationConfig(), sources, tmp_path / dataset, "amqp://h", "postgresql://h/d", work, pipeline=PIPELINE
            )
        return book.plan().work

    assert work_of("a", "out") == work_of("a", "out") == str(tmp_path / "out/.curation")
    for dataset, work in (("out", str(tmp_path / "work")), ("other", "")):
        with pytest.raises(UserError, match=r"left their files in .*/out/.curation, not in .*: go on with the same"):
            work_of("a", dataset, work)
    (tmp_path / "out").rename(tmp_path / "moved")
    assert work_of("a", "moved") == str(tmp_path / "moved/.curation")
    assert work_of("b", "far", "memory://bucket/") == work_of("b", "far", "memory://bucket") == "memory://bucket"
    with pytest.raises(UserError, match=r"left their files in memory://bucket, not in .*/far/.curation"):
        work_of("b", "far")


def test_a_curation_whose_ledger_stays_away_says_how_to_go_on():
    hints = Hints("amqp://nobody:none@127.0.0.1:1", "away")
    with pytest.raises(UserError, match=r"^the ledger is away \(connection refused\): .* the same command goes on$"):
        _watch(_AwayAtFirst(), None, hints, None, "")


def test_a_broker_too_busy_to_greet_is_a_broker_that_is_away():
    """It takes the connection and says nothing, as RabbitMQ does on a starved machine."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"amqp://u:secret@127.0.0.1:{silent.getsockname()[1]}/?stack_timeout=0.2&retry_delay=0"
        hints = Hints(url, "busy")
        hints.send([Task("shots", "a")])  # waits for the next sweep, raises nothing
        hints.top_up({"shots": 1})
        hints.close()
        with pytest.raises(UserError, match=r"^no RabbitMQ answers at amqp://u:\*\*\*@127.0.0.1:"):
            check_broker(url)


def test_what_cannot_work_is_one_line(start_run, tmp_path, broker, postgresql):
    sources = write_sources(tmp_path / "sources", SOURCES[:1])

    def curate(broker: str = broker, ledger: str = postgresql) -> None:
        run_queue(CurationConfig(), sources, tmp_path / "out", broker, ledger, pipeline=PIPELINE, at_end=FINISH)

    with pytest.raises(UserError, match=r"^no RabbitMQ answers at amqp://u:\*\*\*@127.0.0.1:1 "):
        curate(broker="amqp://u:secret@127.0.0.1:1")
    with pytest.raises(UserError, match=r"^a broker is an amqp:// URL, got http://x$"):
        curate(broker="http://x")
    with pytest.raises(UserError, match=r"^workers on many machines share a PostgreSQL ledger, got here.sqlite"):
        curate(ledger="here.sqlite")
    run = start_run(SOURCES[:1])
    with pytest.raises(UserError, match=r"^no stage 'shot': choose among probe, shots, "):
        run_worker(broker, postgresql, ["shot"], pipeline=PIPELINE)
    with pytest.raises(UserError, match=r"^a stage's concurrency is at least 1, got shots=0"):
        run_worker(broker, postgresql, ["shots"], {"shots": 0}, pipeline=PIPELINE)
    with pytest.raises(UserError, match=r"^concurrency motion=2 is of a stage that is not among --stages shots: "):
        run_worker(broker, postgresql, ["shots"], {"motion": 2}, pipeline=PIPELINE)
    with pytest.raises(UserError, match=r"^stage write is version none here and 1 in the run"):
        run_worker(broker, postgresql, pipeline=PIPELINE[:-1])
    with pytest.raises(UserError, match="is for a run of the queue engine"):
        run_local(CurationConfig(), sources, run.dataset, 1, pipeline=PIPELINE, at_end=FINISH)


def test_a_worker_asks_for_what_its_own_stages_need(run, monkeypatch):
    asked = []

    def lacking(config, stages) -> None:
        asked.append(stages)
        raise UserError("captions need a package")

    monkeypatch.setattr("videosyn.curation.worker.check_machine", lacking)
    with pytest.raises(UserError, match="captions need a package"):
        run_worker(run.broker, run.ledger, ["captions"], pipeline=PIPELINE)
    assert asked == [("captions",)]


def test_all_is_the_concurrency_of_every_stage_that_has_none_of_its_own():
    infos = tuple(StageInfo(step.name, step.over, "", "1", Resources()) for step in PIPELINE)
    plan = Plan(infos, CurationConfig(), "")
    assert _slots(plan, ["shots", "motion", "write"], {"all": 3, "motion": 1}) == {"shots": 3, "motion": 1, "write": 3}


def test_a_worker_whose_weights_are_missing_says_so_and_ends(run, monkeypatch):
    monkeypatch.setenv("SMALL_STAGE_WITHOUT_WEIGHTS", "probe")
    with pytest.raises(UserError, match=r"^stage probe cannot start: its weights are missing"):
        run_worker(run.broker, run.ledger, ["probe"], pipeline=PIPELINE, lease_s=LEASE_S, say=lambda line: None)

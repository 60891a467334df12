"""The ledger, on SQLite and, where it runs, on PostgreSQL: leases, attempts, barriers, one transaction a result."""

import threading
from dataclasses import replace

import pytest

from videosyn.core.errors import UserError
from videosyn.curation.config import AestheticsConfig, CurationConfig, TextConfig, WriteConfig
from videosyn.curation.ledger import MAX_ATTEMPTS, Ledger
from videosyn.curation.records import Clip, Source, clip_id
from videosyn.curation.stages import Resources, rejected
from videosyn.curation.tasks import Outcome, Plan, StageInfo

STAGES = "probe:path shots:span clips:source look:clip dedup:dataset write:clip"


@pytest.fixture
def plan(tmp_path) -> Plan:
    rows = [words.split(":") for words in STAGES.split()]
    infos = tuple(StageInfo(name, over, "", "1", Resources()) for name, over in rows)
    return Plan(infos, CurationConfig(), str(tmp_path / "work"))


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request, tmp_path):
    where = str(tmp_path / "ledger.sqlite")
    if request.param == "postgresql":
        where = request.getfixturevalue("postgresql")
    ledger = Ledger(where)
    yield ledger
    ledger.database.close()


def _do(ledger: Ledger, plan: Plan, stage: str, value, limit: int = 100):
    """Claims everything of a stage and hands in `value(claim)` for each."""
    claims = ledger.claim(plan, stage, "me", limit)
    outcomes = [Outcome(claim.task, value(claim), 0.5) for claim in claims]
    return ledger.complete(plan, "me", outcomes)


def _source(path: str) -> Source:
    return Source(path[-1] * 16, path, 1)


def _clips(claim, count: int = 3) -> list[Clip]:
    source = claim.given.id
    return [Clip(clip_id(source, i, i + 1), source, i, i + 1, i / 2, i / 2 + 0.5) for i in range(count)]


def _until_barrier(ledger: Ledger, plan: Plan, paths: list[str]) -> None:
    ledger.begin(plan, paths)
    _do(ledger, plan, "probe", lambda claim: (_source(claim.given), 2))
    _do(ledger, plan, "shots", lambda claim: None)
    _do(ledger, plan, "clips", _clips)
    _do(ledger, plan, "look", lambda claim: claim.given)


def test_a_whole_dataset_flows_from_paths_to_written_clips(ledger, plan):
    _until_barrier(ledger, plan, ["/a", "/b"])
    assert ledger.open_barriers(plan)
    _do(
        ledger,
        plan,
        "dedup",
        lambda claim: [rejected(c, "dedup", "x") if c.source[0] == "b" else c for c in claim.given],
    )
    assert not ledger.is_finished()
    assert len(_do(ledger, plan, "write", lambda claim: replace(claim.given, caption="w"))) == 0
    assert ledger.is_finished()
    result = ledger.result()
    assert [source.path for source in result.sources] == ["/a", "/b"]
    assert [(clip.caption, clip.rejected_by) for clip in result.clips] == [("w", "")] * 3 + [("", "dedup")] * 3
    assert [(timing.stage, timing.units) for timing in result.timings] == [
        ("probe", 2), ("shots", 4), ("clips", 2), ("look", 6), ("dedup", 1), ("write", 3),
    ]  # fmt: skip
    assert result.timings[0].seconds == 1.0


def test_no_two_of_many_threads_claim_the_same_task(ledger, plan):
    ledger.begin(plan, [f"/{i}" for i in range(60)])
    claimed: list[str] = []

    def take(owner: str) -> None:
        while claims := ledger.claim(plan, "probe", owner, limit=4):
            claimed.extend(claim.task.unit for claim in claims)

    threads = [threading.Thread(target=take, args=(str(i),)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == sorted(f"/{i}" for i in range(60))


def test_a_lease_that_has_ended_is_anothers_and_the_first_owners_outcome_is_not_stored(ledger, plan):
    ledger.begin(plan, ["/a"])
    (first,) = ledger.claim(plan, "probe", "slow", lease_s=0.0)
    (second,) = ledger.claim(plan, "probe", "other")
    assert second.task == first.task
    assert ledger.complete(plan, "slow", [Outcome(first.task, (_source("/x"), 9))]) == []
    assert ledger.complete(plan, "slow", [Outcome(first.task, error="too late to count")]) == []
    assert ledger.sources() == ()
    assert len(ledger.complete(plan, "other", [Outcome(second.task, (_source("/a"), 2))])) == 2


def test_a_heartbeat_keeps_a_lease(ledger, plan):
    ledger.begin(plan, ["/a"])
    ledger.claim(plan, "probe", "me", lease_s=0.0)
    ledger.extend(["me"], lease_s=30.0)
    assert ledger.claim(plan, "probe", "other") == []
    assert ledger.num_held() == 1


def test_an_outcome_handed_in_twice_changes_nothing(ledger, plan):
    ledger.begin(plan, ["/a"])
    (claim,) = ledger.claim(plan, "probe", "me")
    outcome = Outcome(claim.task, (_source("/a"), 2))
    assert len(ledger.complete(plan, "me", [outcome])) == 2
    before = ledger.progress()
    assert ledger.complete(plan, "me", [outcome]) == []
    assert ledger.progress() == before


def test_spans_handed_in_at_the_same_moment_join_once(ledger, plan):
    ledger.begin(plan, ["/a"])
    _do(ledger, plan, "probe", lambda claim: (_source(claim.given), 8))
    claims = [ledger.claim(plan, "shots", f"{i}")[0] for i in range(8)]
    added: list = []
    ready = threading.Barrier(8)

    def hand_in(owner: str, task) -> None:
        ready.wait()
        added.extend(ledger.complete(plan, owner, [Outcome(task)]))

    threads = [threading.Thread(target=hand_in, args=(str(i), claim.task)) for i, claim in enumerate(claims)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [task.stage for task in added] == ["clips"]


def test_errors_count_and_releases_do_not(ledger, plan):
    ledger.begin(plan, ["/a", "/b"])
    for attempt in range(MAX_ATTEMPTS):
        (claim,) = [claim for claim in ledger.claim(plan, "probe", "me", 2) if claim.task.unit == "/a"]
        assert claim.attempts == attempt
        ledger.release("me")
        ledger.claim(plan, "probe", "me", 2)
        ledger.complete(plan, "me", [Outcome(claim.task, error="no video")], backoff_s=0.0)
        ledger.release("me")
    (dead,) = ledger.dead()
    assert (dead.path, dead.stage, dead.reason, dead.attempts) == ("/a", "probe", "no video", MAX_ATTEMPTS)
    assert [claim.task.unit for claim in ledger.claim(plan, "probe", "me", 2)] == ["/b"]


def test_a_failed_task_waits_before_its_next_attempt(ledger, plan):
    ledger.begin(plan, ["/a"])
    (claim,) = ledger.claim(plan, "probe", "me")
    ledger.complete(plan, "me", [Outcome(claim.task, error="x")], backoff_s=30.0)
    assert ledger.claim(plan, "probe", "me") == []
    assert not ledger.is_finished()


def test_a_barrier_opens_only_when_every_earlier_task_has_ended(ledger, plan):
    _until_barrier(ledger, plan, ["/a"])
    ledger.begin(plan, [])
    assert [task.stage for task in ledger.open_barriers(plan)] == ["dedup"]
    assert ledger.open_barriers(plan) == []


def test_a_barrier_stays_closed_while_a_clip_is_on_its_way(ledger, plan):
    ledger.begin(plan, ["/a"])
    for stage, value in (("probe", lambda c: (_source(c.given), 1)), ("shots", lambda c: None), ("clips", _clips)):
        assert ledger.open_barriers(plan) == []
        _do(ledger, plan, stage, value)
    _do(ledger, plan, "look", lambda claim: claim.given, limit=2)
    assert ledger.open_barriers(plan) == []


def test_of_two_paths_with_the_same_content_the_first_in_order_counts(ledger, plan):
    ledger.begin(plan, ["/z/a", "/b/a"])
    _do(ledger, plan, "probe", lambda claim: (_source(claim.given), 1))
    assert [source.path for source in ledger.sources()] == ["/b/a"]
    assert [(each.path, each.reason) for each in ledger.set_aside()] == [("/z/a", "same content as /b/a")]
    (claim,) = ledger.claim(plan, "shots", "me", 5)
    assert claim.given.path == "/b/a"


def test_of_a_sources_dead_spans_the_first_is_told_whichever_died_first(ledger, plan):
    ledger.begin(plan, ["/a"])
    _do(ledger, plan, "probe", lambda claim: (_source(claim.given), 4))
    for span in (2, 1):
        for _ in range(MAX_ATTEMPTS):
            claims = {claim.task.unit[-1]: claim for claim in ledger.claim(plan, "shots", "me", 9)}
            ledger.complete(plan, "me", [Outcome(claims[str(span)].task, error=f"span {span}")], backoff_s=0.0)
            ledger.release("me")
    _do(ledger, plan, "shots", lambda claim: None)
    assert [dead.reason for dead in ledger.dead()] == ["span 1"]
    assert ledger.open_stages() == {}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda plan: replace(plan, config=CurationConfig(text=TextConfig(max_area_px=7))),
            "text.max_area_px is 20000",
        ),
        (lambda plan: replace(plan, stages=plan.stages[:-1]), "stage write has version 1, now it is none"),
        (
            lambda plan: replace(plan, stages=(replace(plan.stages[0], version="2"), *plan.stages[1:])),
            "stage probe has version 1, now it is 2",
        ),
    ],
)
def test_another_dataset_is_refused_and_the_difference_named(ledger, plan, change, words):
    ledger.begin(plan, ["/a"])
    with pytest.raises(UserError, match=words):
        ledger.begin(change(plan), ["/a"])


def test_other_sources_are_refused_and_named(ledger, plan):
    ledger.begin(plan, ["/a", "/b"])
    with pytest.raises(UserError, match="/c is not among its sources"):
        ledger.begin(plan, ["/a", "/b", "/c"])
    with pytest.raises(UserError, match="its source /b is not given"):
        ledger.begin(plan, ["/a"])
    ledger.begin(replace(plan, config=CurationConfig(device="cpu")), ["/b", "/a"])


def test_a_database_of_another_dataset_says_how_to_make_one(plan, postgresql):
    ledger = Ledger(postgresql)
    ledger.begin(plan, ["/a"])
    with pytest.raises(UserError, match=r"/b is not .*; go back to that, or choose .*, which `createdb NAME` makes$"):
        ledger.begin(plan, ["/a", "/b"])
    ledger.database.close()


def test_shards_may_be_asked_for_later_and_not_be_given_up(ledger, plan):
    shards = replace(plan, config=CurationConfig(write=WriteConfig(shards=True)))
    ledger.begin(plan, ["/a"])
    ledger.begin(shards, ["/a"])
    assert ledger.result().config.write.shards
    with pytest.raises(UserError, match=r"its write\.shards is True, now it is False"):
        ledger.begin(plan, ["/a"])


def test_a_full_disk_is_one_line_at_once(tmp_path, plan):
    ledger = Ledger(str(tmp_path / "ledger.sqlite"))
    with ledger.database.transaction() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(UserError, match=r"ledger\.sqlite: database or disk is full; make room, and the same command"):
        ledger.begin(plan, [f"/{'long' * 100}/{number}" for number in range(999)])
    ledger.database.close()


def test_a_new_dataset_needs_sources(ledger, plan):
    with pytest.raises(UserError, match="no source given"):
        ledger.begin(plan, [])


def test_a_name_that_no_table_can_hold_is_one_line(ledger, plan):
    with pytest.raises(UserError, match=r"^a source's name must be UTF-8, got '/a.*: rename it$"):
        ledger.begin(plan, ["/b", "/a\udcff.mp4"])
    odd = ["/at 3.14\u202fPM.mov", "/two\nlines.mp4", "/ü🎬.mp4"]
    ledger.begin(plan, odd)
    assert ledger.paths() == tuple(sorted(odd))


def test_the_stored_plan_is_the_plan_without_code(ledger, plan):
    config = CurationConfig(aesthetics=AestheticsConfig(min_score=5.0))
    plan = replace(plan, config=config, stages=(replace(plan.stages[0], code="os:system"), *plan.stages[1:]))
    ledger.begin(plan, ["/a"])
    stored = ledger.plan()
    assert stored is not None
    assert stored.config == config
    assert stored.names() == plan.names()
    assert {stage.code for stage in stored.stages} == {""}


def test_a_place_that_is_no_ledger_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"postgresql:// URL, got mysql://u:\*\*\*@h/d"):
        Ledger("mysql://u:secret@h/d")
    with pytest.raises(UserError, match=r"cannot open the ledger postgresql://u:\*\*\*@127.0.0.1:1/d"):
        Ledger("postgresql://u:secret@127.0.0.1:1/d")
    (tmp_path / "text").write_text("no database, but long enough to be taken for one" * 20)
    with pytest.raises(UserError, match="cannot open the ledger"):
        Ledger(str(tmp_path / "text"))

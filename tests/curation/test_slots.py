"""How a slot shares out its claims: many small units at once, few large ones; and what a machine carries."""

import pytest
from small_stages import PIPELINE, write_sources

from videosyn.core.errors import UserError
from videosyn.curation.config import CurationConfig
from videosyn.curation.finish import describe
from videosyn.curation.ledger import Ledger
from videosyn.curation.pipeline import Step
from videosyn.curation.slots import MAX_BATCH, Slot, SlotConfig, most_at_once, slots_of_stages
from videosyn.curation.stages import Resources
from videosyn.curation.tasks import check_order


@pytest.fixture
def begin(tmp_path):
    """Makes a ledger over these sources, and a slot with the sizes of its claims."""
    made = []

    def make(specs: list[dict]) -> tuple[Slot, list[int]]:
        plan = describe(PIPELINE, CurationConfig(), str(tmp_path / "work"))
        ledger = Ledger(str(tmp_path / "ledger.sqlite"))
        ledger.begin(plan, write_sources(tmp_path / "sources", specs))
        slot, sizes = Slot(ledger, plan, "me", SlotConfig(lease_s=1e9)), []
        claim = ledger.claim

        def counted(*arguments, **options):
            claims = claim(*arguments, **options)
            sizes.append(len(claims))
            return claims

        ledger.claim = counted
        made.append((ledger, slot))
        return slot, sizes

    yield make
    for ledger, slot in made:
        slot.close()
        ledger.database.close()


def _until_idle(slot: Slot, *stages: str) -> None:
    while slot.work(stages) is not None:
        pass


def test_small_units_are_claimed_many_at_once(begin):
    slot, sizes = begin([{"spans": 20, "clips": 10}])
    _until_idle(slot, "probe", "shots", "clips", "source_dedup")
    sizes.clear()
    _until_idle(slot, "aesthetics")
    assert sum(sizes) > 100
    assert len(sizes) <= sum(sizes) / 5
    assert max(sizes) <= MAX_BATCH


def test_large_units_are_claimed_one_by_one(begin):
    slot, sizes = begin([{"spans": 4, "work_s": 0.3}])
    _until_idle(slot, "probe", "shots")
    assert set(sizes) <= {0, 1}


def test_units_that_grow_large_go_back_to_the_others(begin):
    slot, sizes = begin([{}] * 12 + [{"work_s": 0.8}] * 30)
    for _ in range(3):
        slot.work(["probe"])
    largest = max(sizes)
    before = sum(slot._ledger.open_stages().values())
    slot.work(["probe"])
    assert largest >= 2
    assert before - sum(slot._ledger.open_stages().values()) <= 2
    assert slot._ledger.num_held() == 0


def test_what_cannot_be_handed_in_goes_back(begin):
    slot, _ = begin([{}, {}])
    slot._ledger.complete = lambda *arguments: 1 / 0
    with pytest.raises(ZeroDivisionError):
        slot.work(["probe"])
    assert not slot.at_work
    assert slot._ledger.num_held() == 0


@pytest.mark.parametrize(
    ("resources", "number"),
    [
        (Resources(cpus=1.0, memory_bytes=1), 8),
        (Resources(cpus=4.0, memory_bytes=1), 2),
        (Resources(cpus=16.0, memory_bytes=1), 1),
        (Resources(cpus=1.0, memory_bytes=3_000), 3),
        (Resources(cpus=1.0, memory_bytes=30_000), 1),
        (Resources(cpus=1.0, memory_bytes=1, gpu=True), 1),
    ],
)
def test_a_machine_carries_what_its_cores_memory_and_gpu_allow(resources, number):
    assert most_at_once(resources, cpus=8, memory_bytes=10_000) == number


def test_every_stage_has_a_slot(tmp_path):
    plan = describe(PIPELINE, CurationConfig(), str(tmp_path))
    assert set(slots_of_stages(plan, slots=4, cpus=4).values()) == {4}


@pytest.mark.parametrize(
    ("kinds", "words"),
    [
        ("span source", "begins with a path, a span and a source stage, got span, source"),
        ("path span source clip source", "stage s4 over a source cannot follow s3 over a clip"),
        ("path span source span", "stage s3 over a span cannot follow s2 over a source"),
    ],
)
def test_a_pipeline_in_an_impossible_order_is_refused(kinds, words):
    steps = [Step(f"s{place}", over, "") for place, over in enumerate(kinds.split())]
    with pytest.raises(UserError, match=words):
        check_order(steps)

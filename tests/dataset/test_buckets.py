from __future__ import annotations

import pytest

from videosyn.core.errors import UserError
from videosyn.dataset.buckets import CYCLE, Bucket, bucket_of_step, counts_by_share, parse_bucket, parse_buckets


def test_a_bucket_is_read_as_it_is_written():
    assert parse_bucket("17x96x112:62") == Bucket(17, 96, 112, 62)
    assert parse_bucket("1x96x96") == Bucket(1, 96, 96, 1)


@pytest.mark.parametrize("text", ["17x96", "ax96x96", "17x96x96:-1", "16x96x96:1", "17x0x96"])
def test_a_wrong_bucket_is_refused_in_one_line(text: str):
    with pytest.raises(UserError) as caught:
        parse_bucket(text)
    assert "\n" not in str(caught.value)


def test_a_shape_given_twice_and_shares_of_nothing_are_refused():
    with pytest.raises(UserError, match="twice"):
        parse_buckets(["17x96x96:1", "17x96x96:2"])
    with pytest.raises(UserError, match="share above 0"):
        parse_buckets(["17x96x96:0"])


def test_counts_follow_shares_and_add_up():
    assert counts_by_share([62, 12, 12, 6, 8], 100) == [62, 12, 12, 6, 8]
    assert counts_by_share([1, 1, 1], 100) == [34, 33, 33]
    assert sum(counts_by_share([0.3, 0.21, 0.49], 17)) == 17


def test_every_cycle_gives_each_bucket_its_share_in_an_order_of_its_own():
    shares = (62.0, 30.0, 8.0)
    cycles = [[bucket_of_step(shares, 5, cycle * CYCLE + place)[0] for place in range(CYCLE)] for cycle in range(2)]
    assert [[cycle.count(index) for index in range(3)] for cycle in cycles] == [[62, 30, 8]] * 2
    assert cycles[0] != cycles[1]


def test_the_count_of_earlier_steps_is_what_counting_gives():
    shares = (3.0, 1.0)
    seen = [0, 0]
    for step in range(2 * CYCLE + 7):
        bucket, before = bucket_of_step(shares, 1, step)
        assert before == seen[bucket]
        seen[bucket] += 1

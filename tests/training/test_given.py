"""Which frames of a training clip are given."""

import torch

from videosyn.training.given import PATTERNS, draw_given


def drawn(share: float, num_frames: int = 5, times: int = 400, batch: int = 8) -> list[torch.Tensor | None]:
    generator = torch.Generator().manual_seed(0)
    return [draw_given(batch, num_frames, share, generator) for _ in range(times)]


def test_the_share_of_batches_with_given_frames_is_as_asked():
    assert all(each is None for each in drawn(0.0))
    assert all(each is not None for each in drawn(1.0))
    assert 0.18 < sum(each is not None for each in drawn(0.25)) / 400 < 0.32
    assert all(each is None for each in drawn(1.0, num_frames=1))


def test_every_pattern_comes_in_its_share_and_leaves_something_to_make():
    rows = torch.cat([each for each in drawn(1.0) if each is not None])  # (3200, 5)
    assert rows.any(1).all()
    assert not rows.all(1).any()
    last_only, ends = rows[:, -1] & ~rows[:, 0], rows[:, -1] & rows[:, 0]
    assert abs(last_only.float().mean() - PATTERNS["last"]) < 0.03
    assert abs(ends.float().mean() - PATTERNS["ends"]) < 0.03
    lengths = rows[~rows[:, -1]].sum(1)
    assert set(lengths.tolist()) == {1, 2, 3, 4}
    beginning = torch.arange(5) < lengths[:, None]
    assert torch.equal(rows[~rows[:, -1]], beginning)  # given frames are the first ones, without a gap


def test_of_two_frames_at_most_one_is_given():
    rows = torch.cat([each for each in drawn(1.0, num_frames=2) if each is not None])
    assert (rows.sum(1) <= 1).all()

from __future__ import annotations

import pytest

from videosyn.training.schedule import Budget, lr_scale


def scale(step: int, progress: float) -> float:
    return lr_scale(step, progress, warmup_steps=10, decay_fraction=0.5, final_scale=0.02)


def test_learning_rate_rises_stays_and_falls_to_its_end():
    assert scale(0, 0.0) == pytest.approx(1 / 11)
    assert scale(10, 0.01) == scale(500, 0.5) == 1.0
    assert scale(750, 0.75) == pytest.approx(0.51)
    assert scale(1000, 1.0) == pytest.approx(0.02)


def test_the_nearer_limit_counts():
    now = [0.0]
    budget = Budget(max_minutes=1, max_steps=100, clock=lambda: now[0])
    now[0] = 30.0
    assert budget.progress(10) == pytest.approx(0.5)
    assert budget.progress(80) == pytest.approx(0.8)
    now[0] = 61.0
    assert budget.spent(80)


def test_a_budget_goes_on_counting_where_it_stopped():
    budget = Budget(max_minutes=2, max_steps=0, elapsed_s=90.0, clock=lambda: 7.0)
    assert budget.progress(0) == pytest.approx(0.75)

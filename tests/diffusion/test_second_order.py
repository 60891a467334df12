"""Against a flow whose end is known."""

import math

import pytest
import torch

from videosyn.diffusion.euler import euler
from videosyn.diffusion.flow import FlowMatching
from videosyn.diffusion.second_order import ab2, heun

START = torch.full((1, 1, 2, 1, 1), 2.0, dtype=torch.float64)


def growing(latents, timestep):
    """dx/dt = x: from x(1) = 2 to x(0) = 2 / e."""
    return latents


def error(solver, num_steps: int) -> float:
    times = FlowMatching().sampling_times(num_steps, 1024).double()  # uneven
    return abs(float(solver(growing, START, times)[0, 0, 0, 0, 0]) - 2 / math.e)


@pytest.mark.parametrize("solver", [heun, ab2])
def test_half_the_step_is_a_quarter_of_the_error(solver):
    assert 3.2 < error(solver, 32) / error(solver, 64) < 4.8
    assert 1.8 < error(euler, 32) / error(euler, 64) < 2.2
    assert error(solver, 32) < error(euler, 32) / 10


@pytest.mark.parametrize("solver", [heun, ab2])
def test_a_straight_flow_is_followed_exactly_and_steps_are_counted(solver):
    clean, noise = torch.randn(2, 1, 4, 3, 2, 2)
    told, done = [], []

    def velocity(noisy, timestep):
        told.append(float(timestep[0]))
        return noise - clean

    out = solver(velocity, noise, FlowMatching().sampling_times(5, 256), on_step=done.append)
    torch.testing.assert_close(out, clean, rtol=1e-4, atol=1e-5)
    assert done == [1, 2, 3, 4, 5]
    assert len(told) == (9 if solver is heun else 5)
    assert min(told) > 0


@pytest.mark.parametrize("solver", [heun, ab2])
def test_given_frames_stay_and_are_told_as_time_zero(solver):
    given = torch.tensor([[True, False, False]] * 2)
    start = torch.randn(2, 3, 3, 2, 2)

    def velocity(noisy, timestep):
        assert ((timestep == 0) == given).all()
        return torch.ones_like(noisy)

    out = solver(velocity, start, FlowMatching().sampling_times(4, 256), given)
    assert torch.equal(out[:, :, 0], start[:, :, 0])
    torch.testing.assert_close(out[:, :, 1:], start[:, :, 1:] - 1)

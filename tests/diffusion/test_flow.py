import pytest
import torch

from videosyn.core.errors import UserError
from videosyn.diffusion.euler import euler
from videosyn.diffusion.flow import FlowMatching

FLOW = FlowMatching()


@pytest.fixture
def pair():
    torch.manual_seed(0)
    return torch.randn(2, 3, 5, 4, 4), torch.randn(2, 3, 5, 4, 4)


def test_the_line_runs_from_latents_to_noise(pair):
    latents, noise = pair
    torch.testing.assert_close(FLOW.corrupt(latents, noise, torch.zeros(2)), latents)
    torch.testing.assert_close(FLOW.corrupt(latents, noise, torch.ones(2)), noise)
    times = torch.tensor([0.25, 0.75])
    noisy = FLOW.corrupt(latents, noise, times)
    torch.testing.assert_close(noisy[0], 0.75 * latents[0] + 0.25 * noise[0])
    torch.testing.assert_close(noisy[1], 0.25 * latents[1] + 0.75 * noise[1])


def test_the_target_is_the_lines_velocity(pair):
    latents, noise = pair
    times = torch.tensor([0.3, 0.6], dtype=torch.float64)
    latents, noise = latents.double(), noise.double()
    step = FLOW.corrupt(latents, noise, times + 1e-3) - FLOW.corrupt(latents, noise, times)
    torch.testing.assert_close(step / 1e-3, FLOW.target(latents, noise, times))


@pytest.mark.parametrize("num_steps", [1, 2, 7])
def test_euler_with_the_true_velocity_recovers_the_latents(pair, num_steps):
    latents, noise = pair
    times = FLOW.sampling_times(num_steps, 320)
    out = euler(lambda x, t: FLOW.target(latents, noise, t), noise, times)
    torch.testing.assert_close(out, latents, rtol=1e-4, atol=1e-5)


def test_euler_tells_the_model_the_time_of_the_latents_it_shows(pair):
    latents, noise = pair
    times = FLOW.sampling_times(5, 180)
    told, done = [], []

    def velocity(noisy, timestep):
        torch.testing.assert_close(noisy, FLOW.corrupt(latents, noise, timestep / 1000), rtol=1e-4, atol=1e-4)
        told.append(timestep)
        return noise - latents

    euler(velocity, noise, times, on_step=done.append)
    torch.testing.assert_close(torch.stack(told), FLOW.timestep(times[:-1, None].expand(-1, 2)))
    assert done == [1, 2, 3, 4, 5]


def test_given_frames_have_time_zero_in_training_and_stay_in_sampling(pair):
    latents, noise = pair
    given = torch.tensor([[True] + [False] * 4, [True, True, False, False, True]])
    times = torch.tensor([0.4, 0.9])[:, None].masked_fill(given, 0)
    noisy = FLOW.corrupt(latents, noise, times)
    chosen = given[:, None, :, None, None].expand_as(latents)
    assert torch.equal(noisy[chosen], latents[chosen])
    assert (noisy[~chosen] != latents[~chosen]).all()

    def velocity(noisy, timestep):
        assert ((timestep == 0) == given).all()
        return noise - latents

    start = torch.where(chosen, latents, noise)
    out = euler(velocity, start, FLOW.sampling_times(4, 180), given)
    assert torch.equal(out[chosen], latents[chosen])
    torch.testing.assert_close(out, latents, rtol=1e-4, atol=1e-5)


def test_more_tokens_mean_more_noise_in_training_and_sampling_alike():
    def drawn(num_tokens):
        return FLOW.draw_times(4000, num_tokens, torch.Generator().manual_seed(0), torch.device("cpu"))

    few, many = drawn(64), drawn(4096)
    assert few.mean() < 0.5 < many.mean()
    assert ((few > 0) & (few < 1) & (many > 0) & (many < 1)).all()
    torch.testing.assert_close(FLOW.shift(drawn(256), 4096), many, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(many.median(), FLOW.sampling_times(2, 4096)[1], rtol=0, atol=0.02)
    assert (drawn(256).median() - 0.5).abs() < 0.02


def test_sampling_times_fall_from_one_to_zero():
    for num_tokens in (36, 256, 30_000):
        times = FLOW.sampling_times(10, num_tokens)
        assert times[0] == 1
        assert times[-1] == 0
        assert (times.diff() < 0).all()


def test_draws_repeat_by_seed():
    draws = [FLOW.draw_times(8, 180, torch.Generator().manual_seed(3), torch.device("cpu")) for _ in range(2)]
    assert torch.equal(*draws)


@pytest.mark.parametrize("wrong", [{"base_tokens": 0}, {"logit_std": 0.0}])
def test_a_wrong_config_is_refused(wrong):
    with pytest.raises(UserError):
        FlowMatching(**wrong)


def test_no_steps_are_refused():
    with pytest.raises(UserError, match="steps"):
        FLOW.sampling_times(0, 180)

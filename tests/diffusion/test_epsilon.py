import pytest
import torch

from videosyn.core.errors import UserError
from videosyn.diffusion.epsilon import SCHEDULERS, EpsilonDDPM, sample_with_scheduler

DDPM = EpsilonDDPM()


@pytest.fixture
def pair():
    torch.manual_seed(0)
    return torch.randn(2, 3, 3, 4, 4), torch.randn(2, 3, 3, 4, 4)


def test_corruption_is_that_of_diffusers_schedule(pair):
    latents, noise = pair
    levels = torch.tensor([0, 999])
    expected = DDPM.scheduler("ddpm").add_noise(latents, noise, levels)
    times = (levels + 0.5) / 1000
    torch.testing.assert_close(DDPM.corrupt(latents, noise, times), expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(DDPM.timestep(times), levels.float())
    assert torch.equal(DDPM.target(latents, noise, times), noise)


def test_the_last_level_is_nearly_noise_and_time_zero_is_clean():
    shares = DDPM.signal_share(torch.tensor([0.0, 0.0005, 0.9995]))
    assert shares[0] == 1
    assert shares[1] == pytest.approx(1 - 1e-4)
    assert shares[2] == pytest.approx(4.04e-5, rel=0.01)


def test_times_are_levels_drawn_uniformly():
    times = DDPM.draw_times(5000, 180, torch.Generator().manual_seed(0), torch.device("cpu"))
    assert times.mean() == pytest.approx(0.5, abs=0.02)
    assert times.min() > 0
    assert times.max() < 1
    levels = DDPM.timestep(times)
    assert torch.equal(levels, levels.round())
    assert levels.max() <= 999


def test_given_frames_stay_clean_in_training(pair):
    latents, noise = pair
    times = torch.tensor([[0.0, 0.5, 0.5], [0.5, 0.0, 0.9]])
    noisy = DDPM.corrupt(latents, noise, times)
    assert torch.equal(noisy[0, :, 0], latents[0, :, 0])
    assert torch.equal(noisy[1, :, 1], latents[1, :, 1])
    assert not torch.isclose(noisy[0, :, 1], latents[0, :, 1]).all()


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_sampler_finds_the_only_latents_there_are(pair, name):
    latents, noise = pair

    def predict(noisy, timestep):
        share = DDPM.signal_share((timestep + 0.5) / 1000).view(-1, 1, 1, 1, 1)
        return (noisy - share.sqrt() * latents) / (1 - share).sqrt()

    generator = torch.Generator().manual_seed(0)
    out = sample_with_scheduler(DDPM.scheduler(name), predict, noise, 20, generator=generator)
    torch.testing.assert_close(out, latents, rtol=0, atol=0.05)


def test_given_frames_stay_in_sampling_and_are_told_as_time_zero(pair):
    latents, _ = pair
    given = torch.tensor([[True, False, False]] * 2)

    def predict(noisy, timestep):
        assert ((timestep == 0) | ~given).all()
        assert torch.equal(noisy[:, :, 0], latents[:, :, 0])
        return torch.zeros_like(noisy)

    out = sample_with_scheduler(DDPM.scheduler("ddim"), predict, latents, 3, given)
    assert torch.equal(out[:, :, 0], latents[:, :, 0])
    assert not torch.equal(out[:, :, 1], latents[:, :, 1])


def test_wrong_names_and_betas_are_refused():
    with pytest.raises(UserError, match="sampler must be one of"):
        DDPM.scheduler("heun")
    with pytest.raises(UserError, match="betas"):
        EpsilonDDPM(beta_start=0.5, beta_end=0.1)


def test_sampling_tells_the_model_the_timesteps_it_was_trained_on(pair):
    objective = EpsilonDDPM(num_levels=100)
    told = []

    def predict(latents, timestep):
        told.append(timestep[0].item())
        return latents

    sample_with_scheduler(objective.scheduler("ddim"), predict, pair[0], num_steps=100)
    trained = {objective.timestep(torch.tensor([(level + 0.5) / 100])).item() for level in range(100)}
    assert set(told) == trained


def test_beside_given_frames_the_others_are_never_told_that_they_are_given():
    """DDPM's last level is 0, which says given."""
    told, given = [], torch.tensor([[True, False, False]])

    def predict(latents, timestep):
        told.append(timestep)
        return torch.zeros_like(latents)

    sample_with_scheduler(EpsilonDDPM().scheduler("ddpm"), predict, torch.randn(1, 2, 3, 4, 4), 4, given)
    assert torch.equal(torch.cat(told) == 0, given.expand(4, -1))

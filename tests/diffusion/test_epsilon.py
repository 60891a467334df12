import pytest
import torch

from videosyn.core.errors import UserError
from videosyn.diffusion.epsilon import DOWN_TO_THE_LAST, SCHEDULERS, EpsilonDDPM, sample_with_scheduler

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


@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_fewest_steps_a_sampler_is_given_begin_at_noise_and_one_fewer_do_not(pair, name):
    def first_level(num_steps):
        told = []

        def predict(noisy, timestep):
            told.append(timestep[0].item())
            return torch.zeros_like(noisy)

        sample_with_scheduler(DDPM.scheduler(name), predict, pair[0], num_steps)
        return told[0]

    least = 2 if name in DOWN_TO_THE_LAST else 1
    DDPM.check_steps(name, least)
    assert first_level(least) >= 500
    if least > 1:
        assert first_level(least - 1) == 0
    with pytest.raises(UserError, match=rf"within {least} and 1000, .*, got {least - 1}: use {least}$"):
        DDPM.check_steps(name, least - 1)


def test_more_steps_than_noise_levels_are_refused():
    DDPM.check_steps("ddpm", 1000)
    with pytest.raises(
        UserError, match=r"^steps of ddpm must lie within 2 and 1000, the noise .*, got 1001: use 1000$"
    ):
        DDPM.check_steps("ddpm", 1001)


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


def learned(noisy, timestep):
    """A model's noise, and where it wants the variance: anywhere from -1, least, to 1, largest."""
    return torch.cat([0.9 * noisy, torch.sin(5 * noisy)], 1)


def test_learned_variances_are_those_of_improved_ddpm(pair):
    """arXiv 2102.09672 eq. 15 and 10 to 12, over 8 of the 1,000 levels, written out."""
    objective = EpsilonDDPM(learned_variance=True)
    start = pair[0][:1]
    out = sample_with_scheduler(
        objective.scheduler("ddpm"), learned, start, 8, generator=[torch.Generator().manual_seed(3)]
    )

    share = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)
    levels = torch.linspace(0, 999, 8).round().long().flip(0)
    assert levels[0] == 999  # Open-Sora's steps begin at the last level and end at the first
    assert levels[-1] == 0
    draws, noisy = torch.Generator().manual_seed(3), start.double()
    for now, after in zip(levels, [*levels[1:], None]):
        kept, before = share[now], torch.tensor(1.0) if after is None else share[after]
        beta = 1 - kept / before
        noise, wish = learned(noisy, None).chunk(2, 1)
        clean = (noisy - (1 - kept).sqrt() * noise) / kept.sqrt()
        mean = (before.sqrt() * beta * clean + (kept / before).sqrt() * (1 - before) * noisy) / (1 - kept)
        if after is not None:
            least, largest = (beta * (1 - before) / (1 - kept)).log(), beta.log()
            spread = ((wish + 1) / 2 * largest + (1 - wish) / 2 * least).exp().sqrt()
            mean = mean + spread * torch.randn(start.shape, generator=draws)
        noisy = mean
    torch.testing.assert_close(out.double(), noisy, rtol=1e-3, atol=1e-4)


def test_learned_variances_are_those_of_diffusers(pair):
    from diffusers import DDPMScheduler

    theirs = DDPMScheduler(beta_end=0.02, variance_type="learned_range", clip_sample=False, timestep_spacing="linspace")
    theirs.set_timesteps(6)
    latents, generator = pair[0], torch.Generator().manual_seed(3)
    for level in theirs.timesteps:
        latents = theirs.step(learned(latents, None), level, latents, generator=generator).prev_sample
    ours = EpsilonDDPM(learned_variance=True).scheduler("ddpm")
    out = sample_with_scheduler(ours, learned, pair[0], 6, generator=torch.Generator().manual_seed(3))
    assert torch.equal(out, latents)
    fixed = EpsilonDDPM().scheduler("ddpm")
    noise = lambda noisy, timestep: learned(noisy, timestep)[:, :3]  # noqa: E731
    plain = sample_with_scheduler(fixed, noise, pair[0], 6, generator=torch.Generator().manual_seed(3))
    assert not torch.allclose(out, plain, atol=0.1)


def test_only_ddpm_asks_for_learned_variances():
    assert EpsilonDDPM(learned_variance=True).learns_variance_of("ddpm")
    assert not EpsilonDDPM(learned_variance=True).learns_variance_of("ddim")
    assert not EpsilonDDPM().learns_variance_of("ddpm")

"""The loss is what it says."""

import torch

from videosyn.vidvae.losses import gradient_l1, reconstruction_loss, vae_loss


def test_a_perfect_reconstruction_costs_only_its_kl():
    video = torch.randn(1, 3, 5, 8, 8)
    assert reconstruction_loss(video, video) == 0
    assert torch.isclose(vae_loss(video, video, torch.tensor(2.0)), torch.tensor(6e-4))


def test_a_flat_error_has_no_gradient_term():
    video = torch.zeros(1, 3, 5, 8, 8)
    assert torch.isclose(reconstruction_loss(video + 0.5, video), torch.tensor(0.5 + 4 * 0.25))


def test_an_edge_in_time_height_or_width_costs_the_same():
    ramps = [torch.linspace(0, 1, 5).view([5 if axis == place else 1 for axis in range(5)]) for place in (2, 3, 4)]
    costs = [gradient_l1(ramp.expand(1, 3, 5, 5, 5)) for ramp in ramps]
    assert all(torch.isclose(cost, torch.tensor(0.25)) for cost in costs)


def test_one_image_has_no_gradient_in_time():
    assert gradient_l1(torch.zeros(1, 3, 1, 8, 8)).isfinite()

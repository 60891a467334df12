"""Fewer products, the same sums."""

import pytest
import torch
import torch.nn.functional as F

from videosyn.vidvae import winograd
from videosyn.vidvae.causal import conv3d


@pytest.fixture
def few_at_once(monkeypatch):
    monkeypatch.setattr(winograd, "NUMBERS_AT_ONCE", 36 * 2 * 64 * 4)  # strips of a few rows of tiles


@pytest.mark.parametrize("size", [(16, 12), (13, 18), (3, 5), (33, 8)])
@pytest.mark.parametrize("taps", [1, 2, 3])
def test_it_equals_conv3d_at_any_size(size, taps, few_at_once):
    torch.manual_seed(0)
    x, weight, bias = torch.randn(2, 64, taps + 2, *size), torch.randn(48, 64, taps, 3, 3) / 64, torch.randn(48)
    for each in (bias, None):
        expected = F.conv3d(x.double(), weight.double(), None if each is None else each.double(), padding=(0, 1, 1))
        found = winograd.conv3d_by_tiles(x, weight, each)
        torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=0)


def test_its_rounding_error_is_a_few_times_that_of_the_plain_sum():
    torch.manual_seed(0)
    x, weight = torch.randn(1, 128, 3, 32, 32), torch.randn(128, 128, 3, 3, 3) / 60
    exact = F.conv3d(x.double(), weight.double(), padding=(0, 1, 1))
    error, plain = (
        (found.double() - exact).square().mean().sqrt()
        for found in (winograd.conv3d_by_tiles(x, weight, None), F.conv3d(x, weight, padding=(0, 1, 1)))
    )
    assert 0 < error < 6 * plain  # 2 to 4.5, by the order in which the CPU at hand adds the plain sum
    assert error < 3e-6 * exact.square().mean().sqrt()


def test_it_is_taken_where_it_pays_and_never_under_gradients(monkeypatch):
    taken = []
    monkeypatch.setattr(winograd, "conv3d_by_tiles", lambda x, weight, bias: taken.append(x.shape))
    large, small = torch.zeros(1, 64, 3, 64, 64), torch.zeros(1, 64, 3, 32, 32)
    weight = torch.zeros(64, 64, 3, 3, 3)
    conv3d(large, weight, None, (1, 1, 1), 1)
    with torch.no_grad():
        conv3d(small, weight, None, (1, 1, 1), 1)
        conv3d(large, weight, None, (1, 2, 2), 1)
        conv3d(large, weight, None, (1, 1, 1), 0)
        conv3d(large.bfloat16(), weight.bfloat16(), None, (1, 1, 1), 1)
        assert taken == []
        conv3d(large, weight, None, (1, 1, 1), 1)
    assert taken == [large.shape]

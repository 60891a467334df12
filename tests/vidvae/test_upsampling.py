"""Repetition and convolution in one step give what the two give one after the other."""

import pytest
import torch
import torch.nn.functional as F

from videosyn.vidvae.causal import CausalState
from videosyn.vidvae.upsampling import UpsamplingConv


def one_after_the_other(conv: UpsamplingConv, x: torch.Tensor) -> torch.Tensor:
    """Nearest neighbours, the first frame once; the first frame before itself, zeros around; then the convolution."""
    if conv.time:
        x = x.repeat_interleave(2, 2)[:, :, 1:]
    x = x.repeat_interleave(2, 3).repeat_interleave(2, 4)
    x = torch.cat([x[:, :, :1], x[:, :, :1], x], 2)
    return F.conv3d(x, conv.weight, conv.bias, padding=(0, 1, 1))


@pytest.fixture(params=[True, False], ids=["in time too", "in space"])
def conv(request) -> UpsamplingConv:
    torch.manual_seed(0)
    return UpsamplingConv(6, 5, time=request.param)


@pytest.mark.parametrize("num_frames", [1, 2, 4])
@pytest.mark.parametrize("gradients", [True, False])
def test_it_equals_repetition_then_convolution(conv, num_frames, gradients):
    x = torch.randn(2, 6, num_frames, 4, 3)
    with torch.set_grad_enabled(gradients):
        torch.testing.assert_close(conv(x), one_after_the_other(conv, x), atol=1e-5, rtol=1e-5)


def test_gradients_equal_those_of_repetition_then_convolution(conv):
    x = torch.randn(1, 6, 3, 4, 3, requires_grad=True)
    found = torch.autograd.grad(conv(x).square().sum(), [x, conv.weight, conv.bias])
    wanted = torch.autograd.grad(one_after_the_other(conv, x).square().sum(), [x, conv.weight, conv.bias])
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_pieces_equal_the_whole(conv):
    x, state = torch.randn(1, 6, 5, 4, 3), CausalState()
    pieces = torch.cat([conv(piece, state) for piece in x.split([1, 1, 3], 2)], 2)
    torch.testing.assert_close(pieces, conv(x), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_new_weights_are_noticed_however_they_are_set(conv):
    x = torch.randn(1, 6, 2, 4, 3)
    conv(x)
    shared = conv.weight.data.clone()
    conv.weight.data = shared.view_as(shared)  # as an optimizer that owns the weights does
    conv(x)
    shared.mul_(2)
    torch.testing.assert_close(conv(x), one_after_the_other(conv, x), atol=1e-5, rtol=1e-5)
    conv.load_state_dict({"weight": torch.randn_like(conv.weight), "bias": conv.bias})
    torch.testing.assert_close(conv(x), one_after_the_other(conv, x), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_model_cast_to_bf16_stays_as_near_to_what_it_was(conv):
    """Sums of taps are rounded to bf16 once more, which is little beside the rounding of weights and results."""
    rough = UpsamplingConv(6, 5, conv.time).bfloat16()
    rough.load_state_dict(conv.state_dict())
    x = torch.randn(1, 6, 5, 16, 16).bfloat16()
    exact = one_after_the_other(conv, x.float())
    error, usual = ((found - exact).square().mean() for found in (rough(x), one_after_the_other(rough, x)))
    assert 0 < error < 2 * usual

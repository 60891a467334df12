"""Causal layers: what they do at the first frame, and the fast fp32 route."""

import pytest
import torch
import torch.nn.functional as F

from videosyn.vidvae.blocks import ChannelNorm, FrameGroupNorm, ShuffleDown, ShuffleUp
from videosyn.vidvae.causal import CausalConv3d, TimePool, as_frames, conv3d_by_taps


@pytest.mark.parametrize("kernel", [(3, 3, 3), (2, 2, 2), (3, 1, 1)])
@pytest.mark.parametrize("stride", [(1, 1, 1), (2, 2, 2), (1, 2, 2)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize("gradients", [True, False])
def test_tap_by_tap_equals_conv3d(kernel, stride, layout, gradients, monkeypatch):
    monkeypatch.setattr("videosyn.vidvae.causal.NUMBERS_AT_ONCE", 400)  # a frame or a few at a time
    x = torch.randn(2, 5, 7, 8, 6).contiguous(memory_format=layout)
    weight, bias = torch.randn(4, 5, *kernel), torch.randn(4)
    expected = F.conv3d(x, weight, bias, stride, (0, 1, 1))
    with torch.set_grad_enabled(gradients):
        torch.testing.assert_close(conv3d_by_taps(x, weight, bias, stride, 1), expected, atol=1e-4, rtol=1e-4)


def test_before_the_first_frame_stands_the_first_frame():
    conv = CausalConv3d(2, 3, (3, 3, 3), padding=1)
    x = torch.randn(1, 2, 4, 5, 5)
    padded = torch.cat([x[:, :, :1], x[:, :, :1], x], 2)
    expected = F.conv3d(padded, conv.weight, conv.bias, padding=(0, 1, 1))
    torch.testing.assert_close(conv(x), expected, atol=1e-5, rtol=1e-5)


def test_pooling_keeps_the_first_frame_and_averages_pairs():
    x = torch.tensor([1.0, 2.0, 4.0, 10.0, 20.0]).view(1, 1, 5, 1, 1)
    assert TimePool()(x).flatten().tolist() == [1, 3, 15]


@pytest.mark.parametrize("num_frames", [1, 3])
def test_frames_of_a_channels_last_video_are_a_channels_last_view(num_frames):
    video = torch.randn(1, 4, num_frames, 5, 6).contiguous(memory_format=torch.channels_last_3d)
    frames = as_frames(video)
    assert frames.data_ptr() == video.data_ptr()
    assert torch.empty_like(frames).is_contiguous(memory_format=torch.channels_last)  # torch recognises it
    assert torch.equal(frames, video[0].transpose(0, 1))


def test_shuffles_begin_as_shortcuts_that_keep_a_still_flat_video():
    x = torch.randn(1, 8, 1, 1, 1).expand(1, 8, 5, 4, 4)
    down = ShuffleDown(8, 16, time=True)(x)
    assert down.shape == (1, 16, 3, 2, 2)
    back = ShuffleUp(16, 8, time=True)(down)
    torch.testing.assert_close(back, x.contiguous(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("norm", [FrameGroupNorm(2, 4), ChannelNorm(4)])
def test_norms_act_on_each_frame_alone(norm):
    x = torch.randn(2, 4, 3, 5, 5)
    alone = torch.cat([norm(frame) for frame in x.split(1, 2)], 2)
    torch.testing.assert_close(norm(x), alone)


def test_channel_norm_acts_on_each_position_alone():
    x = torch.randn(2, 4, 3, 5, 5)
    torch.testing.assert_close(ChannelNorm(4)(x)[..., 2:3, 1:2], ChannelNorm(4)(x[..., 2:3, 1:2]))

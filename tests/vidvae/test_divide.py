"""Divide and merge: segments are videos of their own, and only what they share is merged."""

import pytest
import torch

from videosyn.core.errors import UserError
from videosyn.vidvae.divide import DivideAndMerge, borders, decode_divided, encode_divided


@torch.inference_mode()
@pytest.mark.parametrize(("merge", "weight"), [("mean", 0.5), ("earlier", 0.0), ("later", 1.0), ("fade", 0.5)])
def test_the_papers_example_shares_one_frame_between_segments(vae, make_video, merge, weight):
    rule = DivideAndMerge(segment_frames=9, overlap_frames=1, merge=merge)
    video = make_video(17)
    first, second = (vae.normalise(vae.posterior(part).mode()) for part in (video[:, :, :9], video[:, :, 8:]))
    latents = encode_divided(vae, video, rule)
    assert latents.shape[2] == 5
    torch.testing.assert_close(latents[:, :, :2], first[:, :, :2])
    torch.testing.assert_close(latents[:, :, 3:], second[:, :, 1:])
    torch.testing.assert_close(latents[:, :, 2], torch.lerp(first[:, :, 2], second[:, :, 0], weight))
    parts = [vae.decode(part) for part in (latents[:, :, :3], latents[:, :, 2:])]
    decoded = torch.cat(list(decode_divided(vae, latents, rule)), 2)
    assert decoded.shape == video.shape
    torch.testing.assert_close(decoded[:, :, :8], parts[0][:, :, :8])
    torch.testing.assert_close(decoded[:, :, 9:], parts[1][:, :, 1:])
    torch.testing.assert_close(decoded[:, :, 8], torch.lerp(parts[0][:, :, 8], parts[1][:, :, 0], weight))
    assert borders(17, vae.time_factor, rule) == [8]


@torch.inference_mode()
@pytest.mark.parametrize("num_frames", [9, 13, 17, 21, 29, 33])
@pytest.mark.parametrize("overlap_frames", [1, 5])
def test_any_length_comes_out_whole(vae, make_video, num_frames, overlap_frames):
    rule = DivideAndMerge(segment_frames=13, overlap_frames=overlap_frames, merge="fade")
    video = make_video(num_frames)
    latents = encode_divided(vae, video, rule)
    assert latents.shape == vae.encode(video).shape
    pieces = list(decode_divided(vae, latents, rule))
    assert sum(piece.shape[2] for piece in pieces) == num_frames
    if num_frames <= 13:
        torch.testing.assert_close(pieces[0], vae.decode(vae.encode(video)), atol=1e-4, rtol=0)


def test_a_fade_goes_evenly_from_one_segment_to_the_next():
    weights = DivideAndMerge(segment_frames=13, overlap_frames=5, merge="fade").weights(4)
    assert weights.tolist() == pytest.approx([0.2, 0.4, 0.6, 0.8])


@torch.inference_mode()
def test_the_mode_is_replaced_by_samples_where_a_generator_is_given(vae, make_video):
    rule, video = DivideAndMerge(segment_frames=9), make_video(17)
    one, same, other = (encode_divided(vae, video, rule, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_segments_that_cannot_be_are_refused(vae, make_video):
    with pytest.raises(UserError, match="segments of 9 frames cannot share 9: share at least 1 and fewer"):
        DivideAndMerge(segment_frames=9, overlap_frames=9)
    with pytest.raises(UserError, match="merge must be mean, fade, earlier or later, got 'sum'"):
        DivideAndMerge(merge="sum")  # pyright: ignore[reportArgumentType]
    with pytest.raises(UserError, match=r"frames must be 1 \+ 4k, got 8: use 5 or 9"):
        encode_divided(vae, make_video(17), DivideAndMerge(segment_frames=8))


@pytest.mark.parametrize(("segment", "overlap", "factor", "most"), [(9, 5, 4, 1), (21, 17, 4, 9), (5, 3, 1, 2)])
def test_no_frame_may_lie_in_three_segments(segment, overlap, factor, most):
    with pytest.raises(UserError, match=rf"of {segment} frames .* got {overlap} frames: share {most}$"):
        DivideAndMerge(segment, overlap).latent_frames(factor)
    DivideAndMerge(segment, most).latent_frames(factor)

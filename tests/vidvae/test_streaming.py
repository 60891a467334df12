"""A long video in pieces gives what the whole gives."""

import pytest
import torch

from videosyn.core.errors import UserError
from videosyn.vidvae.causal import CausalState
from videosyn.vidvae.streaming import decode_stream, encode_stream, split_frames


@torch.inference_mode()
@pytest.mark.parametrize("frames_per_piece", [1, 2, 3, 4, 5, 7, 16, 33])
def test_encoding_in_pieces_equals_the_whole(vae, make_video, frames_per_piece):
    video = make_video(33)
    whole = vae.posterior(video).mode()
    streamed = torch.cat(list(encode_stream(vae, split_frames(video, frames_per_piece))), 2)
    torch.testing.assert_close(streamed, whole, atol=1e-4, rtol=0)
    torch.testing.assert_close(vae.encode(video, frames_per_piece=frames_per_piece), whole, atol=1e-4, rtol=0)


@torch.inference_mode()
@pytest.mark.parametrize("frames_per_piece", [1, 2, 3, 8, 9])
def test_decoding_in_pieces_equals_the_whole(vae, make_video, frames_per_piece):
    raw = vae.posterior(make_video(33)).mode()
    whole = vae.decode_raw(raw)
    streamed = torch.cat(list(decode_stream(vae, split_frames(raw, frames_per_piece))), 2)
    torch.testing.assert_close(streamed, whole, atol=1e-4, rtol=0)
    torch.testing.assert_close(vae.decode(raw, frames_per_piece=4 * frames_per_piece), whole, atol=1e-4, rtol=0)


@torch.inference_mode()
def test_samples_in_pieces_are_those_of_the_whole(vae, make_video):
    video = make_video(33, batch=2)
    short, long, whole = (
        vae.encode(video, torch.Generator().manual_seed(3), frames_per_piece=frames) for frames in (4, 16, 33)
    )
    torch.testing.assert_close(short, whole, atol=1e-4, rtol=0)
    torch.testing.assert_close(long, whole, atol=1e-4, rtol=0)
    assert not torch.allclose(whole, vae.encode(video), atol=0.1)


@torch.inference_mode()
def test_uneven_and_empty_pieces_are_the_same_video(vae, make_video):
    video = make_video(17)
    pieces = video.split([2, 0, 6, 1, 8], dim=2)
    streamed = torch.cat(list(encode_stream(vae, pieces)), 2)
    torch.testing.assert_close(streamed, vae.posterior(video).mode(), atol=1e-4, rtol=0)


@torch.inference_mode()
def test_two_streams_on_one_model_do_not_meet(vae, make_video):
    first, second = make_video(17), -make_video(17)
    streams = [encode_stream(vae, split_frames(video, 4)) for video in (first, second)]
    pairs = list(zip(*streams, strict=True))
    for index, video in enumerate((first, second)):
        streamed = torch.cat([pair[index] for pair in pairs], 2)
        torch.testing.assert_close(streamed, vae.posterior(video).mode(), atol=1e-4, rtol=0)


def test_a_stream_of_not_1_plus_4k_frames_is_refused_at_its_end(vae, make_video):
    with pytest.raises(UserError, match="got 16: use 13 or 17"), torch.inference_mode():
        list(encode_stream(vae, split_frames(make_video(17)[:, :, :16], 8)))


@torch.inference_mode()
def test_what_is_carried_does_not_grow_with_length(vae, make_video):
    def bytes_after(num_pieces: int) -> int:
        state = CausalState()
        vae.posterior_piece(make_video(5), state)
        for _ in range(num_pieces):
            vae.posterior_piece(make_video(4), state)
        return sum(kept.untyped_storage().nbytes() for kept in state._kept.values())

    assert 0 < bytes_after(6) == bytes_after(1)

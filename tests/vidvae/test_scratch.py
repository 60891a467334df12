"""Memory kept from layer to layer, and given back when a stream ends."""

import threading

import torch

from videosyn.vidvae.scratch import SCRATCH, Scratch
from videosyn.vidvae.streaming import decode_stream, encode_stream


def test_what_is_asked_again_is_the_same_memory_in_any_type():
    scratch, like = Scratch(), torch.zeros(1)
    first = scratch.take("a", like, (3, 4))
    assert scratch.take("a", like.bfloat16(), (2, 5)).data_ptr() == first.data_ptr()
    assert scratch.take("b", like, (3, 4)).data_ptr() != first.data_ptr()
    assert scratch.take("a", like, (30, 4)).shape == (30, 4)


def test_what_was_made_in_inference_mode_may_be_written_to_outside():
    scratch = Scratch()
    with torch.inference_mode():
        scratch.take("a", torch.zeros(1), (2,))
    scratch.take("a", torch.zeros(1), (2,)).fill_(3)


def test_each_thread_has_its_own():
    scratch, found = Scratch(), []
    mine = scratch.take("a", torch.zeros(1), (4,))
    thread = threading.Thread(target=lambda: found.append(scratch.take("a", torch.zeros(1), (4,))))
    thread.start()
    thread.join()
    assert found[0].data_ptr() != mine.data_ptr()


@torch.no_grad()
def test_a_stream_leaves_nothing_behind(vae, make_video):
    stream = encode_stream(vae, [make_video(1)])
    latents = next(stream)
    assert SCRATCH._pieces  # the generator still stands
    list(stream)
    assert not SCRATCH._pieces
    frames = decode_stream(vae, [latents])
    next(frames)
    frames.close()
    assert not SCRATCH._pieces

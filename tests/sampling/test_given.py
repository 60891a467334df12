"""Films that begin with a picture, go on from a clip, end with a picture."""

import numpy as np
import pytest
import torch

from videosyn.core.errors import UserError
from videosyn.sampling.given import given_frames, to_video
from videosyn.sampling.pipeline import to_frames

PROMPT = "a red ball bounces on the grass"
PICTURES = np.random.default_rng(0).integers(0, 256, (14, 8, 8, 3), dtype=np.uint8).repeat(4, 1).repeat(4, 2)


def through_the_vae(pipeline, frames: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return to_frames(pipeline.vae.decode(pipeline.vae.encode(to_video(frames))))[0]


@pytest.fixture
def told(tiny_pipeline):
    """The (latents, timestep) of every call of the VDiT."""
    calls = []
    handle = tiny_pipeline.vdit.register_forward_pre_hook(lambda model, inputs: calls.append(inputs[:2]))
    yield calls
    handle.remove()


def test_a_film_from_a_picture_begins_with_it_and_goes_on_otherwise(tiny_pipeline, told):
    film = tiny_pipeline(PROMPT, num_frames=9, image=PICTURES[0]).frames[0]
    assert film.shape == (9, 32, 32, 3)
    assert np.abs(film[0].astype(int) - through_the_vae(tiny_pipeline, PICTURES[:1])[0]).max() <= 1
    assert not np.array_equal(film[1:], tiny_pipeline(PROMPT, num_frames=9).frames[0, 1:])
    for latents, timestep in told[:2]:
        assert (timestep[:, 0] == 0).all()  # the picture's frame is clean,
        assert (timestep[:, 1:] > 0).all()  # the others are noise
        assert torch.equal(latents[0, :, 0], told[0][0][0, :, 0])


def test_a_film_that_extends_a_clip_is_the_clip_and_then_new_frames(tiny_pipeline, told):
    clip = PICTURES[:11]
    film = tiny_pipeline(PROMPT, num_frames=17, extend=clip, num_videos=2).frames
    assert film.shape == (2, 11 + 8, 32, 32, 3)  # nine of the clip's frames are the film's first half
    for each in film:
        assert np.array_equal(each[:11], clip)
    assert not np.array_equal(film[0, 11:], film[1, 11:])
    shared = tiny_pipeline.vae.encode(to_video(clip[2:]))
    assert torch.allclose(told[0][0][0, :, :3], shared[0], atol=1e-5)


def test_a_film_that_extends_a_short_clip_uses_what_there_is(tiny_pipeline):
    assert tiny_pipeline(PROMPT, num_frames=9, extend=PICTURES[:3]).frames.shape[1] == 3 + 8


def test_a_last_picture_is_the_last_latent_frame(tiny_pipeline, told):
    film = tiny_pipeline(PROMPT, num_frames=9, image=PICTURES[0], last_image=PICTURES[1]).frames
    assert film.shape[1] == 9
    still = tiny_pipeline.vae.encode(to_video(PICTURES[1:2].repeat(5, 0)))
    latents, timestep = told[0]
    assert torch.allclose(latents[0, :, 2], still[0, :, 1], atol=1e-5)
    assert (timestep > 0).tolist() == [[False, True, False]] * len(timestep)


@pytest.mark.parametrize("sampler", ["dpm++", "unipc"])
def test_other_samplers_keep_what_is_given_too(tiny_pipeline, sampler):
    film = tiny_pipeline(PROMPT, num_frames=9, image=PICTURES[0], sampler=sampler).frames[0]
    assert np.abs(film[0].astype(int) - through_the_vae(tiny_pipeline, PICTURES[:1])[0]).max() <= 1


def test_nothing_given_is_nothing(tiny_pipeline):
    assert given_frames(tiny_pipeline.vae, 9, 32, 32) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image": PICTURES[0], "extend": PICTURES}, "image and extend both say how a film begins: give one of them"),
        ({"image": PICTURES[0][:16]}, "image must have the film's size 32x32, got 16x32: resize it"),
        ({"last_image": PICTURES[0].astype(float)}, r"last_image must be uint8 \(height, width, 3\), got float64"),
        ({"extend": PICTURES[0]}, r"extend must be uint8 \(frames, height, width, 3\), got uint8 \(32, 32, 3\)"),
        ({"image": PICTURES[0], "num_frames": 1}, "nothing is left to make of 1 frames: ask for 5 or more"),
        ({"image": PICTURES[0], "last_image": PICTURES[1], "num_frames": 5}, "nothing is left to make of 5 frames"),
    ],
)
def test_what_cannot_be_given_is_a_user_error(tiny_pipeline, arguments, message):
    with pytest.raises(UserError, match=f"^{message}"):
        tiny_pipeline(PROMPT, **{"num_frames": 9, **arguments})

import pytest

from videosyn.core.errors import UserError
from videosyn.core.shapes import check_left_to_make, check_num_frames, check_size, frames_shared, latent_shape


@pytest.mark.parametrize(
    ("num_frames", "message"),
    [
        (16, "frames must be 1 + 4k, got 16: use 13 or 17"),
        (0, "frames must be 1 + 4k, got 0: use 1"),
        (-3, "frames must be 1 + 4k, got -3: use 1"),
        (2, "frames must be 1 + 4k, got 2: use 1 or 5"),
    ],
)
def test_a_wrong_frame_count_names_the_nearest_right_ones(num_frames, message):
    with pytest.raises(UserError) as caught:
        check_num_frames(num_frames)
    assert str(caught.value) == message


def test_right_frame_counts_pass():
    assert [n for n in range(20) if n % 4 == 1] == [check_num_frames(n) for n in (1, 5, 9, 13, 17)]


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((100, 96), "height must be a multiple of 16, got 100: use 96 or 112"),
        ((96, 8), "width must be a multiple of 16, got 8: use 16"),
        ((0, 96), "height must be a multiple of 16, got 0: use 16"),
    ],
)
def test_a_wrong_size_names_the_side_and_the_nearest_right_ones(size, message):
    with pytest.raises(UserError) as caught:
        check_size(*size, multiple=16)
    assert str(caught.value) == message


def test_latents_are_a_quarter_in_time_plus_the_first_frame_and_an_eighth_in_space():
    assert latent_shape(1, 768, 768) == (1, 96, 96)
    assert latent_shape(17, 512, 256) == (5, 64, 32)
    assert latent_shape(65, 96, 96, time_factor=4, space_factor=16) == (17, 6, 6)


def test_a_film_begins_with_as_many_frames_of_a_clip_as_fit_half_of_it():
    assert [frames_shared(17, clip_frames) for clip_frames in (1, 4, 5, 9, 100)] == [1, 1, 5, 9, 9]


@pytest.mark.parametrize(
    ("num_frames", "has_image", "clip_frames", "has_last", "enough"),
    [
        (1, True, 0, False, 5),
        (1, False, 0, True, 5),
        (5, True, 0, True, 9),
        (1, False, 9, False, 5),
        (9, False, 9, True, 13),
    ],
)
def test_where_nothing_is_left_to_make_it_says_how_many_frames_are_enough(
    num_frames, has_image, clip_frames, has_last, enough
):
    with pytest.raises(UserError) as caught:
        check_left_to_make(num_frames, has_image, clip_frames, has_last)
    assert str(caught.value) == f"nothing is left to make of {num_frames} frames: ask for {enough} or more"
    check_left_to_make(enough, has_image, clip_frames, has_last)

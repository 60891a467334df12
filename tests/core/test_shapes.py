import pytest

from videosyn.core.errors import UserError
from videosyn.core.shapes import check_num_frames, check_size, latent_shape


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

"""Which frame counts and sizes a model accepts, and the latent shape they give. Torch-free.

T frames become t latent frames, T = 1 + 4k -> t = 1 + k: the first frame stands alone, every four after it share one.
"""

from __future__ import annotations

from videosyn.core.errors import UserError


def check_num_frames(num_frames: int, time_factor: int = 4) -> int:
    """Returns `num_frames` if it is 1 + time_factor * k (k >= 0); otherwise a UserError names the nearest counts."""
    if num_frames >= 1 and (num_frames - 1) % time_factor == 0:
        return num_frames
    if time_factor == 1:
        raise UserError(f"frames must be at least 1, got {num_frames}: use 1 or more")
    raise UserError(f"frames must be 1 + {time_factor}k, got {num_frames}: use {_nearest(num_frames, time_factor, 1)}")


def check_size(height: int, width: int, multiple: int) -> tuple[int, int]:
    """Returns (height, width) in pixels if both are positive multiples of `multiple`; otherwise a UserError."""
    for name, value in (("height", height), ("width", width)):
        if value < multiple or value % multiple:
            fix = _nearest(value, multiple, multiple)
            raise UserError(f"{name} must be a multiple of {multiple}, got {value}: use {fix}")
    return height, width


def latent_shape(
    num_frames: int, height: int, width: int, time_factor: int = 4, space_factor: int = 8
) -> tuple[int, int, int]:
    """(T, H, W) in frames and pixels -> (t, h, w) on the latent grid. A UserError where they do not divide."""
    check_num_frames(num_frames, time_factor)
    check_size(height, width, space_factor)
    return 1 + (num_frames - 1) // time_factor, height // space_factor, width // space_factor


def frames_shared(num_frames: int, clip_frames: int, time_factor: int = 4) -> int:
    """How many of a clip's last frames a film that goes on from it begins with: what fits half of it, 1 + 4k."""
    return 1 + (min(clip_frames, (num_frames + 1) // 2) - 1) // time_factor * time_factor


def check_left_to_make(
    num_frames: int, has_image: bool, clip_frames: int, has_last: bool, time_factor: int = 4
) -> None:
    """A UserError where a first picture, or a clip of so many frames (0: none), and a last picture are the film."""

    def left(count: int) -> int:
        begun = frames_shared(count, clip_frames, time_factor) if clip_frames else int(has_image)
        return 1 + (count - 1) // time_factor - (begun + time_factor - 1) // time_factor - has_last

    if left(num_frames) < 1:
        enough = num_frames
        while left(enough) < 1:
            enough += time_factor
        raise UserError(f"nothing is left to make of {num_frames} frames: ask for {enough} or more")


def _nearest(value: int, step: int, first: int) -> str:
    """The members of first, first + step, ... just below and above `value`, as words."""
    if value < first:
        return str(first)
    below = first + (value - first) // step * step
    return f"{below} or {below + step}"

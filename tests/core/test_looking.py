"""A few frames of a file, in one pass."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from videosyn.core.errors import UserError
from videosyn.core.looking import HELD, count_frames, every_frame, films_of, look_at
from videosyn.core.video_file import read_metadata, read_video, write_video


def film(num_frames: int, height: int = 32, width: int = 48) -> np.ndarray:
    """Frame i is grey of level 2 i."""
    levels = 2 * np.arange(num_frames, dtype=np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (num_frames, height, width, 3)).copy()


def numbers(frames: np.ndarray) -> list[int]:
    return [round(frame.mean() / 2) for frame in frames]


@pytest.mark.parametrize("suffix", [".mp4", ".gif", ".webp"])
@pytest.mark.parametrize(("num_frames", "expected"), [(1, [0]), (3, [0, 1, 2]), (17, [0, 5, 11, 16])])
def test_frames_are_spread_from_the_first_to_the_last(tmp_path: Path, suffix, num_frames, expected):
    path = tmp_path / f"film{suffix}"
    write_video(path, film(num_frames), 8)
    look = look_at(path, 4, 100)
    assert np.abs(np.array(numbers(look.frames)) - expected).max() <= 1  # compression moves a level
    assert look.times == pytest.approx([number / max(1, num_frames - 1) for number in expected])
    assert look.num_frames == num_frames == count_frames(path) == len(list(every_frame(path, 100)))


def test_a_long_film_is_looked_at_evenly_in_little_memory(tmp_path: Path):
    path = tmp_path / "film.mp4"
    write_video(path, film(120, 16, 16), 30)
    look = look_at(path, 3, 100)
    assert HELD * 3 < 120  # so it was thinned
    assert look.times[0] == 0
    assert look.times[-1] == 1
    assert look.times[1] == pytest.approx(0.5, abs=1 / (HELD * 3 / 2))
    assert np.abs(np.array(numbers(look.frames)) - np.array(look.times) * 119).max() <= 1


def test_large_frames_are_made_smaller_and_small_ones_left_alone(tmp_path: Path):
    path = tmp_path / "film.mp4"
    write_video(path, film(2, 64, 96), 8)
    assert look_at(path, 2, 48).frames.shape == (2, 32, 48, 3)
    assert look_at(path, 2, 96).frames.shape == (2, 64, 96, 3)


def test_a_picture_is_a_film_of_one(tmp_path: Path):
    Image.fromarray(film(9)[8]).save(tmp_path / "picture.png")
    look = look_at(tmp_path / "picture.png", 4, 100)
    assert (look.frames.shape, look.times, look.num_frames) == ((1, 32, 48, 3), (0.0,), 1)
    assert count_frames(tmp_path / "picture.png") == 1


def test_what_is_no_film_is_a_users_error(tmp_path: Path):
    (tmp_path / "film.mp4").write_text("no film")
    with pytest.raises(UserError, match="cannot read"):
        look_at(tmp_path / "film.mp4", 4, 100)
    with pytest.raises(UserError, match="cannot read"):
        count_frames(tmp_path / "film.mp4")
    (tmp_path / "picture.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match="cannot read"):
        look_at(tmp_path / "picture.png", 4, 100)


def test_a_film_whose_tags_are_no_utf8_is_looked_at(tmp_path: Path):
    path = tmp_path / "film.mp4"
    write_video(path, film(3), 8, {"prompt": "MARK"})
    path.write_bytes(path.read_bytes().replace(b"MARK", b"\xe9\xe9\xff\xfe"))
    assert look_at(path, 4, 100).num_frames == count_frames(path) == len(read_video(path)[0]) == 3
    read_metadata(path)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".gif", ".webp"])
def test_a_damaged_picture_is_a_users_error_wherever_it_is_damaged(tmp_path: Path, suffix):
    path = tmp_path / f"picture{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        for broken in (whole[:place], whole[:place] + b"\xff" * 5 + whole[place + 5 :]):
            path.write_bytes(broken)
            with contextlib.suppress(UserError):
                look_at(path, 4, 100)


def test_a_picture_of_too_many_pixels_is_a_users_error(tmp_path: Path, monkeypatch):
    Image.fromarray(film(1)[0]).save(tmp_path / "picture.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(UserError, match=r"cannot read .*picture.png as a picture: .*decompression bomb"):
        look_at(tmp_path / "picture.png", 4, 100)


def test_a_folders_films_are_found_in_order(tmp_path: Path):
    (tmp_path / "a").mkdir()
    for name in ("b.mp4", "a/c.MP4", "a/d.txt", "e.png"):
        (tmp_path / name).touch()
    assert films_of(tmp_path) == [tmp_path / name for name in ("a/c.MP4", "b.mp4", "e.png")]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no videos"):
        films_of(tmp_path / "empty")

"""Pictures and clips from files, at the film's size."""

from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from videosyn.app import pictures
from videosyn.app.pictures import read_clip, read_picture
from videosyn.core.errors import UserError
from videosyn.core.video_file import read_video, write_video


def test_a_picture_of_another_shape_gives_its_middle_and_says_so(tmp_path):
    wide = np.zeros((40, 120, 3), np.uint8)
    wide[:, 40:80] = (250, 30, 10)
    Image.fromarray(wide).save(tmp_path / "wide.png")
    picture, notes = read_picture(tmp_path / "wide.png", 32, 32)
    assert picture.shape == (32, 32, 3)
    assert np.abs(picture[:, 2:-2].astype(int) - (250, 30, 10)).max() <= 3
    assert notes == [f"{tmp_path / 'wide.png'} is 40x120, another shape than 32x32: its middle is taken"]
    assert read_picture(tmp_path / "wide.png", 20, 60)[1] == []


def test_a_photograph_stands_upright_whatever_its_file_says(tmp_path):
    lying = np.zeros((30, 60, 3), np.uint8)
    lying[:, :30] = 255
    photo = Image.fromarray(lying)
    exif = photo.getexif()
    exif[0x0112] = 6  # to be turned a quarter to the right: its left is up
    photo.save(tmp_path / "photo.jpg", exif=exif)
    picture, _ = read_picture(tmp_path / "photo.jpg", 60, 30)
    assert picture[:25].min() > 200
    assert picture[35:].max() < 50


def test_a_clip_of_another_rate_is_taken_at_the_films(tmp_path):
    frames = (np.arange(24) * 10)[:, None, None, None].repeat(32, 1).repeat(32, 2).repeat(3, 3).astype(np.uint8)
    write_video(tmp_path / "clip.webp", frames, 20.0)
    clip, notes = read_clip(tmp_path / "clip.webp", 32, 32, 10.0)
    assert clip.shape == (12, 32, 32, 3)
    assert np.abs(clip[:, 0, 0, 0].astype(int) - frames[::2, 0, 0, 0]).max() <= 4
    assert notes == [f"{tmp_path / 'clip.webp'} has 20 frames a second: 12 of them are taken, 10 a second"]
    clip, notes = read_clip(tmp_path / "clip.webp", 16, 16, 20.0)
    assert clip.shape == (24, 16, 16, 3)
    assert notes == []


@pytest.mark.parametrize("own_fps", [3.0, 8.0, 8.05, 12.5, 20.0, 24.0])
@pytest.mark.parametrize("num_frames", [1, 3, 24])
def test_a_clips_frames_are_those_nearest_in_time(tmp_path, monkeypatch, own_fps, num_frames):
    frames = np.arange(num_frames, dtype=np.uint8)[:, None, None, None].repeat(16, 1).repeat(16, 2).repeat(3, 3)
    monkeypatch.setattr(pictures, "read_frames", lambda path: ((frame, own_fps) for frame in frames))
    clip, _ = read_clip(tmp_path / "clip.mp4", 16, 16, 8.0)
    rate = 8.0 if own_fps == 8.05 else own_fps
    times = [min(round(index * rate / 8.0), num_frames - 1) for index in range(max(1, round(num_frames * 8.0 / rate)))]
    assert clip[:, 0, 0, 0].tolist() == times


def test_a_clip_that_changes_its_size_is_taken_at_the_films_and_is_no_video_of_one_size(tmp_path):
    write_in_two_sizes(tmp_path / "clip.mkv")
    clip, _ = read_clip(tmp_path / "clip.mkv", 32, 32, 8.0)
    assert clip.shape == (6, 32, 32, 3)
    with pytest.raises(UserError, match=r"clip.mkv changes its size from 64x64 to 48x96 at frame 3: encode it at one"):
        read_video(tmp_path / "clip.mkv")


def write_in_two_sizes(path):
    """Motion JPEG, each frame of which tells its own size."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=8)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuvj420p"
        for index, (height, width) in enumerate([(64, 64)] * 3 + [(48, 96)] * 3):
            encoder = av.CodecContext.create("mjpeg", "w")
            encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuvj420p"
            encoder.time_base = Fraction(1, 8)
            frame = av.VideoFrame.from_ndarray(np.full((height, width, 3), 90, np.uint8), format="rgb24")
            for packet in encoder.encode(frame.reformat(format="yuvj420p")):
                packet.stream, packet.pts, packet.dts = stream, index * 125, index * 125
                packet.time_base = Fraction(1, 1000)
                container.mux(packet)


def test_what_is_no_picture_is_a_user_error(tmp_path):
    (tmp_path / "no.png").write_text("no picture")
    with pytest.raises(UserError, match=r"no.png is no picture that can be read: give a PNG, JPEG or WebP file$"):
        read_picture(tmp_path / "no.png", 32, 32)

"""What strangers send, decoded elsewhere and bounded."""

import asyncio
import io
import os
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from videosyn.app.serve.decoding import Content, Fitting, Still, decode
from videosyn.app.serve.options import Limits
from videosyn.core.errors import UserError
from videosyn.core.video_file import write_video

LIMITS = Limits(upload_seconds=60)


def read(path, limits=LIMITS, fitting=None):
    return asyncio.run(decode(path, limits, fitting))


@pytest.fixture
def film(tmp_path):
    """12 frames at 12 a second that grow brighter, 32 x 48."""
    frames = (np.arange(12) * 20)[:, None, None, None].repeat(32, 1).repeat(48, 2).repeat(3, 3).astype(np.uint8)
    write_video(tmp_path / "film.mp4", frames, 12.0)
    write_video(tmp_path / "film.webp", frames, 12.0)
    write_video(tmp_path / "film.gif", frames, 12.0)
    return tmp_path / "film.mp4"


def huge_png(height, width):
    """A few bytes that claim to be a picture of that size."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


def test_pictures_and_clips_are_known_by_their_content_not_their_name(film, tmp_path):
    Image.new("RGB", (60, 40)).save(tmp_path / "picture.jpg")
    (tmp_path / "picture.jpg").rename(tmp_path / "a")
    film.rename(tmp_path / "b")
    assert read(tmp_path / "a") == Content("picture", 1, 40, 60, 0.0)
    assert read(tmp_path / "b") == Content("clip", 12, 32, 48, 12.0)
    for name in ("film.webp", "film.gif"):
        content = read(tmp_path / name)
        assert (content.kind, content.num_frames, content.height, content.width) == ("clip", 12, 32, 48)
        assert content.fps == pytest.approx(12, rel=0.01)


def test_frames_are_fitted_to_the_films_size_and_rate(film, tmp_path):
    target = tmp_path / "frames.safetensors"
    read(film, fitting=Fitting(str(target), 16, 16, 6.0))
    frames = load_file(target)["frames"]
    assert (frames.shape, frames.dtype) == ((6, 16, 16, 3), np.uint8)
    assert np.abs(frames[:, 8, 8, 0].astype(int) - np.arange(0, 12, 2) * 20).max() <= 6
    read(film, fitting=Fitting(str(target), 16, 16, 24.0))  # each frame twice
    frames = load_file(target)["frames"]
    assert len(frames) == 24
    assert np.abs(frames[::2, 8, 8, 0].astype(int) - np.arange(12) * 20).max() <= 26


def test_a_photograph_stands_upright(tmp_path):
    lying = np.zeros((30, 60, 3), np.uint8)
    lying[:, :30] = 255
    photo = Image.fromarray(lying)
    exif = photo.getexif()
    exif[0x0112] = 6
    photo.save(tmp_path / "photo.jpg", exif=exif)
    target = tmp_path / "frames.safetensors"
    assert read(tmp_path / "photo.jpg", fitting=Fitting(str(target), 60, 30, 8.0)).height == 60
    assert load_file(target)["frames"][0, :25].min() > 200


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path):
    (tmp_path / "bomb").write_bytes(huge_png(30_000, 30_000))
    with pytest.raises(UserError, match="at most 40,000,000 pixels here, got 30000x30000"):
        read(tmp_path / "bomb")


def test_a_decoder_gets_no_more_memory_than_it_may_have(tmp_path):
    (tmp_path / "large").write_bytes(huge_png(6000, 6000))
    with pytest.raises(UserError, match=r"damaged|MB"):
        read(tmp_path / "large", replace(LIMITS, upload_memory_mb=180))
    Image.new("RGB", (6000, 6000)).save(tmp_path / "plain.png")
    with pytest.raises(UserError, match="180 MB"):
        read(tmp_path / "plain.png", replace(LIMITS, upload_memory_mb=180))
    assert read(tmp_path / "plain.png").height == 6000


def test_a_decoder_gets_no_more_time_than_it_may_have(film):
    with pytest.raises(UserError, match=r"takes longer than 0.01 s to decode"):
        read(film, replace(LIMITS, upload_seconds=0.01))


def test_clips_longer_than_may_be_are_refused(film, tmp_path):
    with pytest.raises(UserError, match="a clip must have at most 8 frames here"):
        read(film, replace(LIMITS, frames=1))
    target = tmp_path / "frames.safetensors"
    with pytest.raises(UserError, match="at most 5 frames long at the film's rate"):
        read(film, replace(LIMITS, frames=5), Fitting(str(target), 16, 16, 12.0))
    assert not target.exists()


@pytest.mark.parametrize("content", [b"", b"no picture", os.urandom(3000), b"\x89PNG\r\n\x1a\n", b"GIF89a"])
def test_what_is_no_picture_is_refused_in_one_line(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(UserError) as caught:
        read(tmp_path / "file")
    assert "\n" not in str(caught.value)


def test_a_cut_off_picture_is_refused(tmp_path):
    buffer = io.BytesIO()
    Image.effect_noise((200, 200), 50).save(buffer, "PNG")
    (tmp_path / "cut").write_bytes(buffer.getvalue()[:2000])
    with pytest.raises(UserError, match="the picture is damaged: send another"):
        read(tmp_path / "cut")


@pytest.mark.parametrize("playlist", ["#EXTM3U\n#EXTINF:1,\nfile://{film}\n", "ffconcat version 1.0\nfile '{film}'\n"])
def test_a_playlist_that_names_other_files_is_no_video(film, tmp_path, playlist):
    (tmp_path / "list.m3u8").write_text(playlist.format(film=film))
    with pytest.raises(UserError, match="neither a picture"):
        read(tmp_path / "list.m3u8")


def test_the_decoder_knows_no_secrets(film, monkeypatch, tmp_path):
    seen = tmp_path / "seen"
    monkeypatch.setenv("VIDEOSYN_TOKEN", "a secret that is long enough")
    monkeypatch.setattr(
        "videosyn.app.serve.decoding._START", f"import os; open({str(seen)!r}, 'w').write(repr(dict(os.environ)))"
    )
    with pytest.raises(UserError):
        read(film)
    assert "PATH" in seen.read_text()
    assert "secret" not in seen.read_text()


@pytest.mark.parametrize("error", [MemoryError, ValueError("a rate of 0")])
def test_a_still_that_cannot_be_made_leaves_the_others(film, tmp_path, monkeypatch, error):
    from videosyn.app.serve import decoding

    upright, calls = decoding._upright, []

    def fail_once(frame):
        calls.append(frame)
        if len(calls) == 1:
            raise error
        return upright(frame)

    monkeypatch.setattr(decoding, "_upright", fail_once)
    for name in ("one.jpg", "two.jpg"):
        decoding._write_still(Still(str(film), 0.5, str(tmp_path / name)), 16, LIMITS)
    assert not (tmp_path / "one.jpg").exists()
    assert Image.open(tmp_path / "two.jpg").size == (16, 11)

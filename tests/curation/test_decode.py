"""The one decode gives the right frames at the right times, upright, and says what is damaged."""

import av
import numpy as np
import pytest
from drawn import HEIGHT, WIDTH, panned, texture, turn_film, write_film

from videosyn.core.video_file import read_video
from videosyn.curation.decode import Sampler, SpanReader, full_luma, full_picture
from videosyn.curation.probe import probe
from videosyn.curation.records import Source


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """60 frames, 12 a second, a keyframe every 24, with B-frames."""
    return write_film(tmp_path_factory.mktemp("film") / "film.mp4", panned(1, 60, 1), keyframes=24, preset="fast")


def read(path, start_s=0.0, end_s=float("inf"), margin=0, fps=12.0):
    return list(SpanReader(path, fps, start_s, end_s, margin))


def test_a_span_holds_its_frames_and_a_margin(film):
    frames = read(film, 2.0, 3.0, margin=5)
    assert [round(each.time_s * 12) for each in frames] == list(range(19, 41))
    assert [each.place for each in frames] == [-1] * 5 + [0] * 12 + [1] * 5


@pytest.mark.parametrize("margin", [0, 3])
@pytest.mark.parametrize("container", ["mp4", "mkv", "ts"])  # the last seeks to where no keyframe is
def test_spans_divide_a_film_without_gap_or_double(tmp_path, container, margin):
    film = write_film(tmp_path / f"film.{container}", panned(1, 60, 1), keyframes=30, preset="fast")
    whole = [each.time_s for each in read(film)]
    spans = [(-np.inf, 1.7), (1.7, 1.75), (1.75, 4.0), (4.0, np.inf)]
    parts = [each.time_s for span in spans for each in read(film, *span, margin) if each.place == 0]
    assert len(whole) == 60
    assert parts == whole


def test_a_frame_is_the_same_wherever_decoding_began(film):
    whole = read(film)[42].frame.to_ndarray(format="gray")
    later = read(film, 3.45, 3.6)[0].frame.to_ndarray(format="gray")
    assert np.array_equal(whole, later)


def test_a_margin_at_either_end_of_the_film_is_shorter(film):
    assert [each.place for each in read(film, 0.1, 4.85, margin=5)] == [-1] * 2 + [0] * 57 + [1]


def test_a_span_after_the_end_is_empty(film):
    assert read(film, 100.0, 200.0, margin=3) == []


def test_times_are_those_of_a_variable_frame_rate(tmp_path):
    times_ms = [0, 40, 80, 400, 440, 1000, 1040, 2000]
    path = write_film(tmp_path / "film.mkv", panned(1, 8, 1), fps=25, times_ms=times_ms)
    assert [round(each.time_s * 1000) for each in read(path)] == times_ms
    assert [round(each.time_s * 1000) for each in read(path, 0.5, 1.5, margin=2)] == [400, 440, 1000, 1040, 2000]


def test_joined_transport_streams_are_read_one_after_the_other(tmp_path):
    parts = [write_film(tmp_path / f"{seed}.ts", panned(seed, 48, 1), keyframes=24) for seed in (1, 2)]
    path = tmp_path / "joined.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    reader = SpanReader(path, 12.0, -np.inf, np.inf, 0)
    whole = list(reader)
    assert [round(each.time_s * 12) for each in whole] == list(range(96))
    assert not any(each.damaged for each in whole)
    assert reader.warnings == ["joined: its timestamps start again, so times are counted on"]
    later = read(path, 2.0, 6.0)
    assert [each.time_s for each in later] == [each.time_s for each in whole[24:72]]
    assert np.array_equal(later[-1].frame.to_ndarray(format="gray"), whole[71].frame.to_ndarray(format="gray"))


def test_a_single_wrong_timestamp_moves_no_later_frame(tmp_path):
    later_ms = [5000 + 100 * index for index in range(12)]
    parts = [
        write_film(tmp_path / "a.ts", panned(1, 48, 1)),
        write_film(tmp_path / "wrong.ts", panned(1, 1, 1)),
        write_film(tmp_path / "b.ts", panned(1, 12, 1), times_ms=later_ms),
    ]
    path = tmp_path / "joined.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    assert [round(each.time_s * 1000) for each in read(path)][48:] == [4000, *later_ms]


def test_damage_is_said_and_ends_with_the_next_keyframe(film, tmp_path):
    content = bytearray(film.read_bytes())
    with av.open(str(film)) as container:
        packet = [each for each in container.demux(video=0) if each.size][30]  # in the second group of pictures
        begin = packet.pos
    content[begin + 8 : begin + packet.size] = b"\xff" * (packet.size - 8)
    path = tmp_path / "damaged.mp4"
    path.write_bytes(content)
    reader = SpanReader(path, 12.0, -np.inf, 4.5, 0)
    damaged = {round(each.time_s * 12) for each in reader if each.damaged}
    assert set(range(36, 48)) <= damaged <= set(range(24, 48))
    assert "not all of it decodes" in reader.warnings[0]


def test_a_film_cut_off_in_the_middle_gives_what_there_is(tmp_path):
    path = write_film(tmp_path / "film.mkv", panned(1, 60, 1))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert 10 < len(read(path)) < 50


def sampled(pixels, **kwargs):
    height, width = pixels.shape[:2]
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(**kwargs)
    luma, chroma = Sampler(Source("x", "", 0, width_px=width, height_px=height)).planes(frame)
    return full_luma(luma).astype(int), chroma.astype(int)


@pytest.mark.parametrize("pixel_format", ["yuvj420p", "yuv422p", "yuv444p", "yuv420p10le", "nv12", "rgb24"])
def test_small_planes_do_not_depend_on_how_pixels_are_stored(pixel_format):
    picture = np.repeat(np.repeat(texture(1, 200, 300), 2, 0), 2, 1)
    luma, chroma = sampled(picture, format="yuv420p")
    other_luma, other_chroma = sampled(picture, format=pixel_format)
    assert luma.shape == other_luma.shape == (132, 200)
    assert np.abs(luma - other_luma).mean() < 3
    assert np.abs(chroma - other_chroma).mean() < 3


def test_limited_range_is_expanded():
    luma, _ = sampled(np.uint8(np.linspace(0, 255, 64 * 64).reshape(64, 64, 1).repeat(3, 2)), format="yuv420p")
    assert luma.min() <= 1
    assert luma.max() >= 254


@pytest.mark.parametrize("size", [(720, 1280), (1081, 1919), (17, 33), (480, 854)])
def test_small_pictures_are_at_most_256_pixels_long(size):
    luma, chroma = sampled(texture(1, *size), format="yuv420p")
    assert 16 <= max(luma.shape) <= 256
    assert chroma.shape == (2, luma.shape[0] // 2, luma.shape[1] // 2)


@pytest.mark.parametrize("clockwise_deg", [90, 180, 270])
def test_a_turned_film_is_read_upright(tmp_path, clockwise_deg):
    upright = texture(2)
    stored = np.ascontiguousarray(np.rot90(upright, clockwise_deg // 90))  # players turn it back, clockwise
    path = turn_film(write_film(tmp_path / "film.mp4", np.repeat(stored[None], 4, axis=0)), clockwise_deg)
    source = probe(str(path))
    assert (source.height_px, source.width_px) == (HEIGHT, WIDTH)
    frame = read(path)[0].frame
    luma, _ = Sampler(source).planes(frame)
    grey = upright @ [0.299, 0.587, 0.114]
    assert np.abs(full_luma(luma) - grey).mean() < 12
    assert np.abs(full_picture(frame, source.rotation_deg).astype(int) - upright).mean() < 16


def test_pictures_that_lean_on_a_group_before_the_seek_are_no_damage(tmp_path):
    path = write_film(tmp_path / "film.mkv", panned(1, 96, 1), keyframes=24, preset="medium", flags="-cgop", bf="3")
    reader = SpanReader(path, 12.0, 4.0, 6.0, 2)
    frames = list(reader)
    assert len(frames) == 28
    assert not any(each.damaged for each in frames)
    assert reader.warnings == []


def test_a_film_that_is_read_whole_is_upright_too(tmp_path):
    pixels = panned(1, 4, 1)
    film = turn_film(write_film(tmp_path / "film.mp4", pixels), 90)
    frames, _ = read_video(film)
    expected = np.rot90(pixels, -1, axes=(1, 2))
    assert frames.shape == expected.shape
    assert np.abs(frames.astype(int) - expected).mean() < 12

"""A written clip holds exactly its span's frames at their own times, copied where that is possible."""

from __future__ import annotations

import itertools
from fractions import Fraction

import av
import numpy as np
import pytest

from videosyn.core.errors import UserError
from videosyn.curation.config import CurationConfig, WriteConfig
from videosyn.curation.records import Clip, Source, clip_id
from videosyn.curation.work import Work
from videosyn.curation.write import Write

BITS = 8


def numbered(index, height=48, width=64):
    """A picture that bears its number: eight upright bars, white for 1; the row below the middle is half as bright."""
    bars = np.array([index >> bit & 1 for bit in range(BITS)], np.uint8)
    picture = np.repeat(bars, width // BITS)[None].repeat(height, 0) * 200 + 30
    picture[height // 2 :] //= 2
    return np.repeat(np.pad(picture, ((0, 0), (0, width - picture.shape[1])))[..., None], 3, 2)


def number(picture):
    row = picture[len(picture) // 4, :, 0].astype(int)
    bars = row[: len(row) // BITS * BITS].reshape(BITS, -1).mean(1)
    return sum((bar > 120) << bit for bit, bar in enumerate(bars))


def write_footage(path, num_frames=60, codec="libx264", options=None, size=(48, 64), times=None, tick=Fraction(1, 25)):
    """Numbered frames; x264 with a keyframe every 20 frames and B-frames. `times`: presentation times in ticks."""
    options = {"g": "20", "keyint_min": "20", "sc_threshold": "0", "bf": "2", **(options or {})}
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=25, options=options if codec == "libx264" else {})
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = tick
        for index in range(num_frames):
            frame = av.VideoFrame.from_ndarray(numbered(index, *size), format="rgb24")
            frame.pts, frame.time_base = (index if times is None else times[index]), tick
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def read(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [
            (frame.to_ndarray(format="rgb24"), float(frame.pts * stream.time_base))
            for frame in container.decode(stream)
        ]
    return [number(picture) for picture, _ in frames], [time_s for _, time_s in frames], frames[0][0]


@pytest.fixture
def cut(tmp_path):
    """Writes frames [start, end) of a file; returns the clip and its file."""

    def write(
        path, start, end, config=None, times_s=None, codec="h264", fps=25.0, rotation_deg=0, num_frames=60, size_bytes=0
    ):
        work = Work(str(tmp_path / "work"))
        source = Source(
            "0" * 16,
            str(path),
            size_bytes or path.stat().st_size,
            codec=codec,
            fps=fps,
            rotation_deg=rotation_deg,
            width_px=64,
            height_px=48,
        )
        work.write_source(source)
        times_s = [index / 25 for index in range(num_frames + 1)] if times_s is None else times_s
        clip = Clip(clip_id(source.id, start, end), source.id, start, end, times_s[start], times_s[end])
        stage = Write(CurationConfig(write=config or WriteConfig()))
        stage.setup()
        done = stage.process(clip, work)
        return done, tmp_path / "work" / "clips" / f"{clip.id}.mp4"

    return write


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_between_keyframes_packets_are_copied_as_they_are(cut, tmp_path, suffix):
    path = write_footage(tmp_path / f"a.{suffix}")
    clip, file = cut(path, 20, 40)
    assert clip.labels == {"file_name": f"clips/{clip.id}.mp4", "written": "copy"}
    numbers, times_s, _ = read(file)
    assert numbers == list(range(20, 40))
    assert times_s == pytest.approx([index / 25 for index in range(20)], abs=2e-3)
    assert (clip.scores["width_px"], clip.scores["height_px"], clip.scores["fps"]) == (64, 48, 25)
    assert clip.scores["bytes"] == file.stat().st_size
    assert b"moov" in file.read_bytes()[:200]


def test_the_last_clip_of_a_source_is_copied_too(cut, tmp_path):
    clip, file = cut(write_footage(tmp_path / "a.mp4"), 40, 60)
    assert (clip.labels["written"], read(file)[0]) == ("copy", list(range(40, 60)))


def test_an_end_needs_no_keyframe_where_no_later_packet_is_needed(cut, tmp_path):
    clip, file = cut(write_footage(tmp_path / "a.mp4", options={"bf": "0"}), 20, 33)
    assert (clip.labels["written"], read(file)[0]) == ("copy", list(range(20, 33)))


def test_a_clip_of_joined_transport_streams_is_where_the_scan_saw_it(cut, tmp_path):
    parts = [write_footage(tmp_path / f"{length}.ts", length) for length in (60, 140)]
    path = tmp_path / "joined.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    clip, file = cut(path, 80, 100, num_frames=200)
    assert (clip.labels["written"], read(file)[0]) == ("h264", list(range(20, 40)))


@pytest.mark.parametrize(("start", "end"), [(21, 40), (7, 13), (0, 1), (59, 60)])
def test_elsewhere_the_span_is_encoded_frame_for_frame(cut, tmp_path, start, end):
    clip, file = cut(write_footage(tmp_path / "a.mp4"), start, end, WriteConfig(stream_copy=start == 21))
    numbers, times_s, _ = read(file)
    assert (clip.labels["written"], numbers) == ("h264", list(range(start, end)))
    assert times_s == [index / 25 for index in range(end - start)]


def test_a_keyframe_whose_neighbours_show_earlier_frames_is_no_place_to_copy_from(cut, tmp_path):
    path = write_footage(
        tmp_path / "a.mp4", options={"x264-params": "open-gop=1:bframes=3:b-adapt=0:keyint=20:min-keyint=20"}
    )
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    keyframe = next(packet for packet in packets[1:] if packet.is_keyframe)
    after = packets[packets.index(keyframe) + 1]
    assert after.pts < keyframe.pts, "the file has no open group of pictures"
    start = round(keyframe.pts * keyframe.time_base * 25)
    for span in ((start, 60), (0, start)):
        clip, file = cut(path, *span)
        assert (clip.labels["written"], read(file)[0]) == ("h264", list(range(*span)))


def test_times_between_frames_stay_as_uneven_as_they_were(cut, tmp_path):
    times = list(itertools.accumulate([0, *([30, 70, 20, 500] * 15)][:60]))
    path = write_footage(tmp_path / "a.mkv", times=times, tick=Fraction(1, 1000))
    times_s = [time / 1000 for time in [*times, times[-1] + 30]]
    for start, end, how in ((20, 40, "copy"), (13, 31, "h264")):
        clip, file = cut(path, start, end, times_s=times_s)
        numbers, found_s, _ = read(file)
        assert (clip.labels["written"], numbers) == (how, list(range(start, end)))
        assert found_s == pytest.approx([time - times_s[start] for time in times_s[start:end]], abs=1e-9)


def test_other_codecs_become_h264_and_sound_is_left_out(cut, tmp_path):
    clip, file = cut(write_footage(tmp_path / "a.avi", codec="mpeg4"), 0, 20, codec="mpeg4")
    assert (clip.labels["written"], read(file)[0]) == ("h264", list(range(20)))
    with av.open(str(file)) as container:
        (stream,) = container.streams
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")


@pytest.mark.parametrize(("rotation_deg", "corner"), [(90, (0, -1)), (180, (0, 0)), (270, (0, 0))])
def test_rotated_footage_is_written_upright(cut, tmp_path, rotation_deg, corner):
    """Frame 255 is bright above, dark below: turned by 90 degrees counterclockwise it is bright on the left."""
    path = write_footage(tmp_path / "a.mp4", num_frames=256)
    clip, file = cut(path, 240, 256, rotation_deg=rotation_deg, num_frames=256)
    assert clip.labels["written"] == "h264"
    with av.open(str(file)) as container:
        picture = list(container.decode(video=0))[-1].to_ndarray(format="gray").astype(float)
    expected = np.rot90(numbered(255)[..., 0], rotation_deg // 90).astype(float)
    assert picture.shape == expected.shape
    assert np.abs(picture - expected).mean() < 10
    assert (clip.scores["width_px"], clip.scores["height_px"]) == expected.shape[::-1]


@pytest.mark.parametrize(("size", "written"), [((49, 65), (48, 64)), ((1, 8), (2, 8))])
def test_odd_sizes_lose_their_last_row_and_column(cut, tmp_path, size, written):
    with av.open(str(tmp_path / "a.mkv"), "w") as output:
        stream = output.add_stream("ffv1", rate=25)
        stream.height, stream.width = size
        stream.pix_fmt = "yuv444p"
        for index in range(6):
            frame = av.VideoFrame.from_ndarray(np.full((*size, 3), index * 30, np.uint8), format="rgb24")
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    _, file = cut(tmp_path / "a.mkv", 1, 5, codec="ffv1")
    with av.open(str(file)) as container:
        frames = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
    assert [frame.shape for frame in frames] == [written] * 4
    assert [round(float(frame.mean()) / 30) for frame in frames] == [1, 2, 3, 4]


def test_a_span_that_cannot_be_read_again_is_rejected_and_leaves_no_file(cut, tmp_path):
    path = write_footage(tmp_path / "a.mp4", num_frames=30)
    clip, file = cut(path, 20, 40)
    assert (clip.rejected_by, clip.reason) == ("write", "of its 20 frames 10 could be decoded again")
    assert list(file.parent.iterdir()) == []


def test_the_same_span_gives_the_same_bytes(cut, tmp_path):
    path = write_footage(tmp_path / "a.mp4")
    for span in ((20, 40), (21, 37)):
        first = cut(path, *span)[1].read_bytes()
        assert cut(path, *span)[1].read_bytes() == first


def test_a_source_that_changed_after_its_probe_is_not_cut(cut, tmp_path):
    with pytest.raises(UserError, match=r"a\.mp4 changed since it was first read"):
        cut(write_footage(tmp_path / "a.mp4"), 20, 40, size_bytes=7)
    assert not (tmp_path / "work" / "clips").exists()

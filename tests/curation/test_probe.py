"""What is footage is described, what is none is turned away with one line that says why."""

import hashlib

import numpy as np
import pytest
from drawn import HEIGHT, WIDTH, panned, write_film

from videosyn.core.errors import UserError
from videosyn.curation.config import ShotsConfig
from videosyn.curation.probe import num_spans, probe, span_bounds
from videosyn.curation.records import Source


def empty(folder):
    (folder / "film.mp4").write_bytes(b"")
    return folder / "film.mp4"


def words(folder):
    (folder / "film.mp4").write_text("no film at all\n" * 500)
    return folder / "film.mp4"


def headless(folder):
    path = write_film(folder / "film.mp4", panned(1, 12, 1))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])  # the index stands at the end
    return path


def tiny(folder):
    return write_film(folder / "film.mp4", np.zeros((4, 8, 8, 3), np.uint8), codec="mpeg4")


def sound(folder):
    import av

    with av.open(str(folder / "sound.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
    return folder / "sound.wav"


def playlist(folder):
    """A text that names another film, which is not to be followed."""
    write_film(folder / "part.ts", panned(1, 12, 1))
    (folder / "film.mp4").write_text("ffconcat version 1.0\nfile part.ts\n")
    return folder / "film.mp4"


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (empty, "is empty"),
        (words, "no video that can be read"),
        (headless, "no video that can be read"),
        (tiny, "at least 16 pixels"),
        (sound, "no video stream"),
        (playlist, "is a list of other files"),
        (lambda folder: folder / "film.mp4", "does not exist"),
    ],
    ids=["empty", "words", "headless", "tiny", "sound", "playlist", "missing"],
)
def test_what_is_no_footage_is_turned_away_with_a_line_that_says_why(make, why, tmp_path):
    with pytest.raises(UserError, match=why) as caught:
        probe(str(make(tmp_path)))
    assert "\n" not in str(caught.value)


def test_a_source_is_known_by_its_content(tmp_path):
    path = write_film(tmp_path / "film.mp4", panned(1, 30, 1))
    source = probe(str(path))
    assert source.id == hashlib.blake2b(path.read_bytes()).hexdigest()[:16]
    assert (source.codec, source.width_px, source.height_px, source.rotation_deg) == ("h264", WIDTH, HEIGHT, 0)
    assert (source.num_frames, source.fps, source.size_bytes) == (30, 12.0, path.stat().st_size)
    assert source.duration_s == pytest.approx(2.5)


def test_a_container_without_a_duration_has_its_packets_counted(tmp_path):
    path = write_film(tmp_path / "film.mkv", panned(1, 30, 1), container_options={"live": "1"})
    source = probe(str(path))
    assert source.num_frames == 0
    assert source.duration_s == pytest.approx(2.5, abs=0.1)


def test_a_container_that_claims_years_is_not_believed(tmp_path):
    path = write_film(tmp_path / "film.mkv", panned(1, 30, 1))
    content = path.read_bytes()
    at = content.index(b"\x44\x89\x88") + 3  # Matroska's duration, a float of 8 bytes in milliseconds
    path.write_bytes(content[:at] + np.float64(3e11).astype(">f8").tobytes() + content[at + 8 :])
    assert probe(str(path)).duration_s < 3


def test_spans_hold_all_time_and_the_last_is_no_scrap():
    shots = ShotsConfig(span_seconds=10)

    def source(duration_s):
        return Source("x", "", 1, duration_s=duration_s)

    assert [num_spans(source(duration_s), shots) for duration_s in (0, 5, 10, 12, 12.6, 35)] == [1, 1, 1, 1, 2, 4]
    bounds = [span_bounds(source(32), span, shots) for span in range(3)]
    assert bounds == [(-np.inf, 10), (10, 20), (20, np.inf)]
    with pytest.raises(UserError, match="span must be 0 to 2, got 3"):
        span_bounds(source(32), 3, shots)

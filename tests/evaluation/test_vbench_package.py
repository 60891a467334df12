"""What the vbench package itself does: how it reads films, and how it fails. Its words are those of vbench 0.1.5."""

import av
import numpy as np
import pytest

from videosyn.evaluation.footage import frames_of
from videosyn.evaluation.vbench.flicker import flickering, flickering_of
from videosyn.evaluation.vbench.handed import problem_of


def flat(path, levels):
    """A film of flat pictures of these (Y, Cb, Cr), lossless, whose file says that its colours are BT.709's."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", 8, options={"qp": "0"})
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        stream.codec_context.colorspace = 1
        for y, cb, cr in levels:
            planes = [np.full((32, 32), y), np.full((8, 32), cb), np.full((8, 32), cr)]
            frame = av.VideoFrame.from_ndarray(np.concatenate(planes).astype(np.uint8), format="yuv420p")
            frame.colorspace = 1
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def rgb(y, cb, cr, red_weight, blue_weight):
    """Levels of a limited-range colour, from the weights of red and blue in its brightness (BT.601, BT.709)."""
    bright, blue, red = (y - 16) / 219, (cb - 128) / 224, (cr - 128) / 224
    r, b = bright + 2 * (1 - red_weight) * red, bright + 2 * (1 - blue_weight) * blue
    g = (bright - red_weight * r - blue_weight * b) / (1 - red_weight - blue_weight)
    return 255 * np.clip([r, g, b], 0, 1)


def test_flickering_reads_colours_as_the_package_does_whatever_the_file_says(tmp_path):
    levels = [(100, 140, 110), (120, 110, 150)]
    film = flat(tmp_path / "film.mp4", levels)

    def wanted(red_weight, blue_weight):
        one, other = (rgb(*each, red_weight, blue_weight) for each in levels)
        return 1 - np.abs(one - other).mean() / 255

    by_601, by_709 = wanted(0.299, 0.114), wanted(0.2126, 0.0722)
    assert abs(by_601 - by_709) > 0.004
    assert flickering_of(film) == pytest.approx(by_601, abs=0.003)  # levels are whole numbers
    assert flickering(frames_of(film)) == pytest.approx(by_709, abs=0.003)


def test_flickering_is_1_for_frozen_frames_and_falls_where_they_are_shuffled():
    slide = [np.roll(np.tile(np.arange(64, dtype=np.uint8)[None, :, None], (8, 1, 3)), step, 1) for step in range(9)]
    shuffled = [slide[place] for place in (4, 0, 7, 2, 8, 1, 5, 3, 6)]
    assert flickering(slide[:1] * 9) == 1
    assert flickering(shuffled) < flickering(slide) < 1
    assert flickering(slide) == pytest.approx(1 - (63 + 63) / 64 / 255)  # each column one level, the seam 63


@pytest.mark.parametrize(
    ("stderr", "told"),
    [
        ("RuntimeError: operator torchvision::nms does not exist", "different builds"),
        ("x\nModuleNotFoundError: No module named 'detectron2'\n\n", "has no detectron2: install it"),
        ("urllib.error.URLError: <urlopen error [Errno -2] Name or service not known>", "cannot download its weights"),
        (
            "subprocess.CalledProcessError: Command '['wget', 'https://a.org/b.pth', '-P', '/c']' returned non-zero",
            "cannot download https://a.org/b.pth: give",
        ),
        ("first\nValueError: " + "x" * 300, "ValueError: xxx"),
        ("", ""),
    ],
)
def test_what_puzzles_in_the_packages_last_words_is_explained(stderr, told):
    assert told in problem_of(stderr)
    assert len(problem_of(stderr)) <= 200

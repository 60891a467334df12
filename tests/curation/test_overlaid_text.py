"""Overlaid text on drawn pictures: what counts, what does not, and which frames are read."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from looks import shown, subtitled, world_picture
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from videosyn.core.errors import UserError
from videosyn.curation.config import CurationConfig, TextConfig
from videosyn.curation.ocr import Box, Reading
from videosyn.curation.overlaid_text import OverlaidText, confirmed, frames_to_read, overlaid
from videosyn.curation.textlike import most_telling
from videosyn.curation.work import Work

pytest.importorskip("rapidocr")


@pytest.fixture(scope="module")
def stage():
    stage = OverlaidText(CurationConfig())
    stage.setup()
    return stage


@pytest.fixture(scope="module")
def plain(stage):
    """The paper's plain rule, with the same sessions."""
    plain = OverlaidText(CurationConfig(text=TextConfig(confirm=False, reference_height_px=0)))
    plain._reader = stage._reader
    return plain


@pytest.fixture
def work(tmp_path):
    return Work(str(tmp_path))


def lettered(text: str, blur_px: float = 0.0, turn_deg: float = 0.0) -> Image.Image:
    """A world picture with large letters that are part of the scene."""
    letters = Image.new("L", (640, 360))
    ImageDraw.Draw(letters).text((320, 150), text, font=ImageFont.load_default(64), fill=255, anchor="mm")
    letters = letters.rotate(turn_deg).filter(ImageFilter.GaussianBlur(blur_px))
    picture = world_picture(3)
    picture.paste((170, 30, 30), mask=letters)
    return picture


def test_subtitles_in_one_of_three_frames_drop_the_clip(stage, work):
    bare = [world_picture(seed) for seed in (1, 2)]
    clip = stage.process(shown(work, [*bare, subtitled(world_picture(3), "Nobody came")]), work)
    assert clip.rejected_by == "text"
    assert 2000 < clip.scores["text_line"] < 20000
    assert f"{clip.scores['text_line']:.0f} px, over text.max_line_px 2000" in clip.reason


def test_pictures_without_text_stay(stage, work):
    for seed in range(4, 10, 3):
        clip = stage.process(shown(work, [world_picture(seed + step) for step in range(3)]), work)
        assert not clip.rejected_by, clip.reason
        assert clip.scores["text_area"] == 0


def test_letters_on_things_count_only_if_level(stage, work):
    assert stage.process(shown(work, [lettered("BUSINESS")]), work).rejected_by == "text"
    assert not stage.process(shown(work, [lettered("BUSINESS", turn_deg=20)]), work).rejected_by


def test_letters_out_of_focus_do_not_count_though_they_can_be_read(stage):
    class Reader:
        """Finds and reads what the models do in the sharp picture."""

        find = staticmethod(lambda picture: boxes)
        read = staticmethod(lambda picture, lines: [Reading("BUSINESS", 1.0) for _ in lines])

    sharp = Image.new("RGB", (640, 360), (110, 120, 130))
    ImageDraw.Draw(sharp).text((320, 150), "BUSINESS", font=ImageFont.load_default(64), fill=(170, 30, 30), anchor="mm")
    boxes = stage._reader.find(np.asarray(sharp))
    assert len(list(overlaid(Reader, np.asarray(sharp), TextConfig()))) == 1
    for blur_px, counts in ((2, 1), (10, 0)):
        blurred = np.asarray(sharp.filter(ImageFilter.GaussianBlur(blur_px)))
        assert len(list(overlaid(Reader, blurred, TextConfig()))) == counts


def test_the_area_does_not_depend_on_the_size_of_the_picture(stage, work):
    large = subtitled(world_picture(5, 720, 1280), "Nobody came back", 40)
    areas = [
        stage.process(shown(work, [picture]), work).scores["text_area"] for picture in (large, large.resize((640, 360)))
    ]
    assert areas[0] == pytest.approx(areas[1], rel=0.2)


def test_the_plain_rule_counts_unread_boxes_in_the_frames_own_pixels(plain, work):
    one_line = shown(work, [subtitled(world_picture(5), "Nobody came back")])
    clip = plain.process(one_line, work)
    assert 0 < clip.scores["text_area"] < 20000
    assert not clip.rejected_by
    blurred = plain.process(shown(work, [lettered("BUSINESS", blur_px=3)]), work)
    assert blurred.scores["text_area"] > 20000
    assert "over text.max_area_px 20000" in blurred.reason


def test_scripts_that_cannot_be_read_count_as_long_lines():
    def box(width: float, certainty: float) -> Box:
        corners = np.array([[0, 0], [width, 0], [width, 30], [0, 30]], np.float32)
        return Box(corners, certainty)

    config = TextConfig()
    assert confirmed(box(120, 0.5), Reading("Oui!", 0.9), config)
    assert confirmed(box(120, 0.5), Reading("  ", 0.7), config)  # Cyrillic: blanks between words
    assert confirmed(box(300, 0.7), Reading("", 0.0), config)  # Arabic
    assert not confirmed(box(120, 0.7), Reading("", 0.0), config)
    assert not confirmed(box(80, 0.9), Reading("8", 0.9), config)
    assert not confirmed(box(120, 0.9), Reading("M/", 0.4), config)


def test_of_many_kept_frames_the_one_with_text_is_read(work):
    pictures = [world_picture(7)] * 9
    for place in (0, 3, 8):
        told = list(pictures)
        told[place] = subtitled(pictures[place], "Where have you been so long?")
        clip = shown(work, told)
        chosen = frames_to_read(clip.frames, work)
        assert len(chosen) == 3
        assert clip.frames[place] in chosen


def test_a_few_frames_are_all_read_and_sizes_do_not_matter():
    tiny = [np.zeros((4, 4), np.uint8)] * 5
    assert most_telling(tiny[:2], 3) == [0, 1]
    assert len(most_telling(tiny, 3)) == 3


def test_a_clip_without_kept_frames_stays(stage, work):
    assert not stage.process(shown(work, []), work).rejected_by


def test_without_rapidocr_the_user_hears_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    with pytest.raises(UserError, match=r"videosyn\[curate\]"):
        OverlaidText(CurationConfig()).setup()

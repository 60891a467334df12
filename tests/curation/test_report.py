"""The report: one page that needs nothing else, with the figures that the paper shows."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from handmade import make_result

from videosyn.curation.charts import histogram, word_cloud
from videosyn.curation.report import write_report
from videosyn.curation.stage_times import funnel
from videosyn.curation.wording import frequent_words, topic_shares, words_of
from videosyn.curation.work import Work

VOID = {"meta", "img", "br", "i", "rect", "line"}


class Outline(HTMLParser):
    """Collects what a page refers to and checks that its elements are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.links, self.pictures, self.text = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.links += [value for name, value in attrs if name in ("href", "src", "srcset", "data")]
        self.pictures += [dict(attrs)["src"]] if tag == "img" else []
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture
def page(tmp_path):
    def write(result, work):
        write_report(result, tmp_path, work)
        return (tmp_path / "report.html").read_text(encoding="utf-8")

    return write


@pytest.fixture
def work(tmp_path):
    return Work(str(tmp_path / ".curation"))


def test_the_page_is_whole_and_needs_no_other_file(page, work):
    text = page(make_result(work), work)
    outline = Outline(text)
    assert len(outline.pictures) == 4 + 3
    assert all(link.startswith("data:image/jpeg;base64,") for link in outline.links)
    assert not re.search(r"https?://|@import|url\(|<script", text)


def test_it_says_how_many_were_kept_and_why_others_were_not(page, work):
    text = " ".join(Outline(page(make_result(work), work)).text)
    for said in ("motion 0.0001 is below 0.002", "shows the same as", "/footage/broken.mp4", "not a video"):
        assert said in text
    assert "text of 40,000 pixels <b>" in text  # as text: the page's own elements are closed in order


def test_a_source_that_decodes_in_part_is_listed_with_what_is_wrong(page, work):
    result = make_result(work)
    said = "truncated: 38 of the container's 108 frames decode"
    clips = tuple(replace(clip, labels={**clip.labels, "source_warning": said}) for clip in result.clips[:1])
    text = " ".join(Outline(page(replace(result, clips=(*clips, *result.clips[1:])), work)).text)
    assert said in text


def test_the_funnel_counts_what_each_stage_saw(work):
    steps = {step.stage: (step.entered, step.rejected) for step in funnel(make_result(work))}
    assert steps == {
        "source_dedup": (7, 0),
        "aesthetics": (7, 0),
        "motion": (7, 1),
        "text": (6, 1),
        "dedup": (5, 1),
        "captions": (4, 0),
        "write": (4, 0),
    }


def test_minutes_are_for_1000_clips_that_reach_the_stage_beside_the_paper(page, work):
    text = page(make_result(work), work)
    row = re.search(r"<tr><td>overlaid text</td>(.*?)</tr>", text)
    assert row is not None
    cells = re.findall(r"<td>(.*?)</td>", row.group(1))
    assert cells == ["3.5", f"{3.5 / 60 / 6 * 1000:.2f}", "83.3 %", "1.2", "67.9 %"]


@pytest.mark.parametrize("kind", ["empty", "no captions", "no frames", "no timings"])
def test_a_result_that_lacks_something_is_reported_too(page, work, kind):
    result = make_result(work)
    if kind == "empty":
        result = replace(result, clips=(), sources=(), set_aside=(), timings=())
    elif kind == "no captions":
        result = replace(result, clips=tuple(replace(clip, caption="") for clip in result.clips))
    elif kind == "no frames":
        result = replace(result, clips=tuple(replace(clip, frames=()) for clip in result.clips))
    else:
        result = replace(result, timings=())
    Outline(page(result, work))


def test_frames_that_are_gone_leave_the_page_readable(page, tmp_path, work):
    result = make_result(work)
    text = page(result, Work(str(tmp_path / "elsewhere")))
    assert "no frame" in text


def test_the_same_result_gives_the_same_page(page, work):
    result = make_result(work)
    assert page(result, work) == page(result, work)


@pytest.mark.parametrize("values", [[3.0], [0.0] * 5, [2.0, 20.0], [1e-4, 2e-4, 0.9] * 40, list(range(1000)), [1e6]])
def test_a_histogram_holds_every_value_once(values):
    kept, gone = values[::2], values[1::2]
    text = histogram(kept, gone, "s")
    counts = [(int(n.replace(",", "")), kind) for n, kind in re.findall(r": ([\d,]+) (kept|rejected)</title>", text)]
    assert sum(n for n, kind in counts if kind == "kept") == len(kept)
    assert sum(n for n, kind in counts if kind == "rejected") == len(gone)
    boxes = re.findall(r'x="([\d.]+)" y="([\d.-]+)" width="([\d.]+)" height="([\d.]+)"', text)
    assert all(float(x) + float(w) <= 360 and float(y) >= 0 and float(y) + float(h) <= 190 for x, y, w, h in boxes)


def test_values_far_out_do_not_flatten_a_histogram():
    text = histogram([0.01 * place for place in range(100)] + [500.0], [], "s")
    assert len(re.findall("<rect", text)) > 8
    assert "+" in text


def test_words_of_a_cloud_do_not_cover_each_other():
    text = word_cloud({f"word{place}": 100 - place for place in range(60)})
    words = re.findall(r'x="([\d.]+)" y="([\d.]+)" font-size="([\d.]+)">(\w+)', text)
    assert len(words) > 40
    assert words[0][3] == "word0"
    boxes = []
    for x, y, size, word in ((float(x), float(y), float(size), word) for x, y, size, word in words):
        half, high = 0.33 * size * len(word), 0.95 * size
        boxes.append((x - half, y - 0.78 * high, x + half, y + 0.2 * high))
    for place, a in enumerate(boxes):
        assert not any(a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3] for b in boxes[:place])


def test_topics_are_counted_once_a_caption():
    captions = ["A dog and a cat in the snow", "Two dogs run.", "Nothing of note", "An élan; dog's bone"]
    shares = topic_shares(captions)
    assert shares["animals"] == 0.5
    assert shares["sport and movement"] == 0.25
    assert list(shares)[-1] == "none of these"
    assert frequent_words(captions)["dog"] == 1
    assert words_of("Dog's well-known, naïve 3-D film.") == ["dog's", "well-known", "naïve", "3-d", "film"]

import json
import math
import re

import numpy as np
import pytest
from scipy import stats

from videosyn.evaluation.document import CLIP_PX, Chart, Document, Film, Table, as_page, clip_url, plain, publish
from videosyn.evaluation.plots import columns, lines, whiskers
from videosyn.evaluation.running import SAMPLE, Running, t_quantile


def a_clip(frames=5, height=48, width=64, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (frames, height, width, 3), dtype=np.uint8)


def test_a_document_becomes_a_table_json_and_one_page_that_fetches_nothing(tmp_path, capsys):
    document = Document("A <title>", {"model": "nano"}, {"score": 1.5, "none": math.nan}, facts={"clips": "3"})
    document.tables.append(Table("Scores", ("model", "score"), [("nano & co", "1.5")], "a note"))
    document.charts.append(Chart("A plot", lines({"one": [(0, 1), (1, 2)]}, "x", "y")))
    document.films.append(("the prompt", [Film.of("left", a_clip()), Film.of("right", a_clip(seed=1))]))
    publish(document, tmp_path / "out")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report == {"settings": {"model": "nano"}, "score": 1.5, "none": None}
    page = (tmp_path / "out" / "report.html").read_text()
    assert "A &lt;title&gt;" in page
    assert "nano &amp; co" in page
    assert page.count("<video") == 2
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert sources
    assert all(each.startswith("data:") for each in sources)
    assert "nano & co" in capsys.readouterr().out


def test_a_table_too_wide_for_the_terminal_stands_on_its_side(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    wide = Table("Wide", [f"column {n}" for n in range(12)], [[f"value-{n}" for n in range(12)]])
    publish(Document("D", {}, tables=[wide]), tmp_path)
    out = capsys.readouterr().out
    assert all(f"value-{n}" in out for n in range(12))
    assert len([line for line in out.splitlines() if "column" in line]) == 12


def test_large_long_and_odd_clips_are_made_to_fit_the_page():
    url = clip_url(a_clip(3, 33, 601), 8.0)
    import av

    path = __import__("base64").b64decode(url.split(",")[1])
    with av.open(__import__("io").BytesIO(path)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == (CLIP_PX, 14)
        assert sum(1 for _ in container.decode(stream)) == 3
    assert clip_url(a_clip(1), 8.0).startswith("data:image/png")


def test_json_holds_no_word_that_is_not_json():
    assert plain({"a": (math.nan, np.float32(2), np.int64(3), math.inf)}) == {"a": [None, 2.0, 3, "inf"]}


def test_running_figures_are_those_of_all_values_at_once():
    values = np.random.default_rng(0).normal(3, 2, 2000)
    running = Running()
    for value in [*values, math.nan]:
        running.add(float(value))
    low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
    assert running.value == pytest.approx(values.mean())
    assert running.std == pytest.approx(values.std(ddof=1))
    assert running.interval == pytest.approx((low, high), rel=1e-3)
    assert (running.count, running.num_nan, len(running.sample)) == (2000, 1, SAMPLE)
    assert abs(np.mean(running.sample) - values.mean()) < 0.3


def test_values_weigh_as_much_as_what_they_were_taken_of():
    values, weights = [0.2, 0.9, 0.4], [4, 1, 16]
    running = Running()
    for value, weight in zip(values, weights, strict=True):
        running.add(value, weight)
    assert running.value == pytest.approx(np.average(values, weights=weights))
    assert running.count == 3


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 7, 10, 30, 1000])
def test_students_quantile_is_scipys(freedom):
    assert t_quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=3e-3)


def test_plots_place_values_in_order_and_leave_out_what_is_none():
    drawn = whiskers({"low": (1.0, 0.5, 1.5), "high": (3.0, 2.0, 4.0), "none": (math.nan,) * 3}, "dB", mark=2.0)
    places = [float(x) for x in re.findall(r'<circle class="s0" cx="([\d.]+)"', drawn)]
    assert places == sorted(places)
    assert len(places) == 2
    assert "none" not in drawn
    up = [float(y) for y in re.findall(r'cy="([\d.]+)"', lines({"a": [(0, 1), (1, 5), (2, math.nan)]}, "x", "y"))]
    assert up[0] > up[1]
    assert len(up) == 2
    heights = re.findall(r": (\d+)</title></rect>", columns([1, 1, 1, 9], "s"))
    assert sorted(heights) == ["1", "3"]
    for empty in (lines({}, "x", "y"), whiskers({}, "x"), columns([math.nan], "x")):
        assert "no figure" in empty


def test_the_page_says_its_settings():
    assert "guidance" in as_page(Document("D", {"guidance": 4.0}))

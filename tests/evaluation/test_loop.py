"""The loop: what a captioner says and what the judge sees, each against the prompt."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from videosyn.core.errors import UserError
from videosyn.evaluation import loop
from videosyn.evaluation.loop_options import LoopConfig
from videosyn.world.dense import dense_caption, read_dense
from videosyn.world.parsed import Parsed
from videosyn.world.prompts import held_out_prompts


class Teller:
    """Knows the scenes behind the films, and says every third one's place wrong."""

    name, num_frames, look_px = "teller", 4, 96

    def __init__(self, config: LoopConfig) -> None:
        self.texts = [dense_caption(scene) for _, scene in held_out_prompts(config.num_prompts, config.seed)]
        self.seen: list[tuple[int, ...]] = []
        self._at = 0

    def caption(self, clips, prompt=None, times=None):
        self.seen += [clip.shape for clip in clips]
        texts = self.texts[self._at : self._at + len(clips)]
        for number in range(len(texts)):
            if (self._at + number) % 3 == 0:
                wrong = "in the desert" if "in the desert" not in texts[number] else "on the sea"
                place = next(each for each in PLACES if each in texts[number])
                texts[number] = texts[number].replace(place, wrong)
        self._at += len(clips)
        return texts


PLACES = ("in a meadow", "in the desert", "in the snow", "on the sea", "in a studio", "in an abstract world")


@pytest.fixture
def told(tmp_path: Path, monkeypatch) -> tuple[list[loop.Closed], Path]:
    config = LoopConfig(source="render", num_prompts=6, output=tmp_path / "loop", batch_size=4)
    teller = Teller(config)
    monkeypatch.setattr(loop, "open_captioner", lambda *_: teller)
    closed = loop.run(config)
    assert teller.seen == [(4, 96, 96, 3)] * 6
    return closed, config.output


def test_what_is_said_wrong_is_counted_and_nothing_else(told):
    closed, output = told
    found = {column: loop.shares(closed, column) for column in ("captioner", "judge", "same")}
    assert found["captioner"]["scene"].right == 4
    assert all(
        share.right == share.count for name, share in found["captioner"].items() if name not in ("scene", "all at once")
    )
    assert found["judge"]["scene"].right == 6
    assert found["same"]["scene"].right == 4
    report = json.loads((output / "report.json").read_text())
    assert report["shares"]["captioner"]["scene"]["right"] == 4
    assert len((output / "captions.jsonl").read_text().splitlines()) == 6
    assert "teller: as asked" in (output / "report.html").read_text()


def test_same_verdict_is_where_both_are_right_or_both_wrong(told):
    closed, _ = told
    for each in closed:
        verdicts = each.verdicts
        for name, same in verdicts["same verdict"].items():
            assert same == (verdicts["captioner"][name] == verdicts["judge"][name])


def test_a_captioner_that_does_not_speak_the_world_is_refused_before_it_is_opened(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(loop, "open_captioner", lambda *_: pytest.fail("opened"))
    with pytest.raises(UserError, match="name nano, or a folder of train captioner, got 'llava'"):
        loop.run(LoopConfig(source="render", num_prompts=1, captioner="llava", output=tmp_path))


def test_a_film_of_noise_agrees_with_nothing(monkeypatch, tmp_path: Path):
    config = LoopConfig(source="render", num_prompts=2, output=tmp_path / "loop")
    monkeypatch.setattr(loop, "open_captioner", lambda *_: Teller(config))
    noise = np.random.default_rng(0).integers(0, 256, (2, 17, 96, 96, 3), dtype=np.uint8)
    monkeypatch.setattr(loop, "open_source", lambda _: lambda asked, seed: noise)
    closed = loop.run(config)
    assert loop.shares(closed, "judge")["scene"].right == 0
    assert loop.shares(closed, "captioner")["light"].right == 2
    assert loop.shares(closed, "same") == {}  # the judge sees nothing there to agree with


def test_a_film_in_which_the_judge_sees_nothing_is_no_agreement():
    scene = held_out_prompts(1, 0)[0][1]
    said = read_dense(dense_caption(scene), 17)
    blind = loop.Closed("prompt", dense_caption(scene), said, said, Parsed())
    agreeing = replace(blind, seen=said)
    assert "all at once" not in loop.shares([blind], "same")
    assert loop.shares([blind, agreeing], "same")["all at once"] == loop.Share(1, 1)
    film = np.zeros((17, 32, 32, 3), dtype=np.uint8)
    seconds = {"make": 1.0, "caption": 1.0, "judge": 1.0}
    document = loop.document_of([blind, agreeing], {}, seconds, [film, film], "teller")
    assert [films[0].label for _, films in document.films] == ["the judge sees nothing", "captioner and judge agree"]
    assert loop.document_of([blind], {}, seconds, [film], "teller").tables

"""The text encoder's first lesson."""

import math

import pytest
import torch

from videosyn.text.config import NanoTextEncoderConfig
from videosyn.text.nano import NanoTextEncoder
from videosyn.text.tokenizer import WordTokenizer
from videosyn.training import reading
from videosyn.world.caption import vocabulary
from videosyn.world.parser import parse


def small_encoder() -> NanoTextEncoder:
    torch.manual_seed(0)
    tokenizer = WordTokenizer.from_words(vocabulary())
    return NanoTextEncoder(NanoTextEncoderConfig(len(tokenizer), width=32, depth=1, num_heads=2), tokenizer)


def test_answers_say_what_the_caption_says_and_nothing_else():
    said = reading.answers(parse("a red cube left of a ball in the snow"))
    kinds, colours = reading.THING_WORDS["kind"], reading.THING_WORDS["colour"]
    assert said[:2] == [kinds.index("cube") + 1, colours.index("red") + 1]
    assert said[3:5] == [kinds.index("ball") + 1, 0]  # no colour was said
    assert said[6:9] == [0, 0, 0]  # no third thing
    assert said[9] == reading.CLIP_WORDS["place"].index("snow") + 1
    assert said[10] == 0  # no light


def test_a_lesson_teaches_and_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "BATCH", 32)
    encoder = small_encoder()
    texts, right = reading.spoken(range(64), "train", 0)
    torch.manual_seed(1)
    reader = reading.Reader(32)
    before = reading._loss(encoder, reader, texts, right).item()
    accuracy = reading.learn_to_read(encoder, 60, 0, tmp_path / "text", num_captions=64)
    assert 0 <= accuracy <= 1
    assert before > 12  # nothing known: about the sum of the answers' entropies
    again = small_encoder()
    assert math.isnan(reading.learn_to_read(again, 60, 0, tmp_path / "text"))
    for name, weight in again.state_dict().items():
        assert torch.equal(weight, encoder.state_dict()[name]), name


def test_a_lesson_that_was_half_written_is_given_again(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "BATCH", 8)
    reading.learn_to_read(small_encoder(), 1, 0, tmp_path / "text", num_captions=8)
    (tmp_path / "text/tokenizer.json").unlink()
    assert not math.isnan(reading.learn_to_read(small_encoder(), 1, 0, tmp_path / "text", num_captions=8))


def test_a_lesson_lowers_the_loss_by_more_than_half(monkeypatch, tmp_path):
    losses = []
    plain = reading._loss

    def watched(*arguments):
        loss = plain(*arguments)
        losses.append(loss.item())
        return loss

    monkeypatch.setattr(reading, "BATCH", 32)
    monkeypatch.setattr(reading, "_loss", watched)
    reading.learn_to_read(small_encoder(), 150, 0, tmp_path / "text", num_captions=64)
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("text", ["", "a red ball, a green tree and a blue cube in a row at night"])
def test_every_caption_has_fourteen_answers(text):
    assert len(reading.answers(parse(text))) == 14

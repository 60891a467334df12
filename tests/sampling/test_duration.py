import re
from dataclasses import replace
from itertools import count

import pytest
import torch

from videosyn.sampling import duration
from videosyn.sampling.duration import decoding_seconds, forward_seconds, note_if_long, predicted_duration
from videosyn.sampling.model_index import Defaults
from videosyn.sampling.pipeline import VideoSynPipeline
from videosyn.vdit.cost import Load
from videosyn.vidvae.cost import decoder_layers


@pytest.fixture(autouse=True)
def nothing_timed_yet(monkeypatch):
    monkeypatch.setattr(duration, "_timed", {})


def test_a_short_film_is_begun_without_taking_samples(tiny_pipeline, monkeypatch):
    monkeypatch.setattr(duration, "_seconds", lambda *_: pytest.fail("timed"))
    assert note_if_long(tiny_pipeline, Defaults(num_frames=5, height=32, width=32, num_steps=4), 1) is None


def test_a_long_film_is_told_of_in_one_line(tiny_pipeline):
    asked = Defaults(num_frames=100001, height=512, width=512, num_steps=1000)
    note = note_if_long(tiny_pipeline, asked, 2)
    assert note is not None
    assert re.fullmatch(r"2 films take about [\d.]+ (min|h): 1000 predictions of .*, decoding [\d.]+ (s|min|h)", note)


def test_where_samples_do_not_fit_into_memory_nothing_is_told(tiny_pipeline, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(duration, "_seconds", full)
    asked = Defaults(num_frames=100001, height=512, width=512, num_steps=1000)
    assert note_if_long(tiny_pipeline, asked, 2) is None


@pytest.mark.slow
def test_a_sample_is_not_compiled(tiny_folder):
    pipeline = VideoSynPipeline.from_pretrained(tiny_folder, device="cpu", dtype="fp32")
    torch.compiler.reset()
    pipeline.compile(backend=lambda *_: pytest.fail("compiled"))
    predicted_duration(pipeline, Defaults(num_frames=17, height=64, width=64, num_steps=4))


def test_samples_are_taken_once(tiny_pipeline, monkeypatch):
    asked = Defaults(num_frames=17, height=64, width=64, num_steps=4)
    ticks = count()
    first = predicted_duration(tiny_pipeline, asked, lambda: next(ticks))
    taken = next(ticks)
    assert predicted_duration(tiny_pipeline, asked, lambda: next(ticks)) == first
    assert next(ticks) == taken + 1


def test_twice_the_tokens_or_films_take_twice_the_time(tiny_pipeline):
    ticks = count()

    def seconds(**changes):
        load = replace(Load(2, 4, 4096, 8), **changes)
        return forward_seconds(tiny_pipeline.vdit, load, lambda: next(ticks))

    once = seconds()
    assert seconds(batch=4) == pytest.approx(2 * once)
    assert 2 * once < seconds(places=8192) < 4 * once  # attention in space grows faster


def test_heun_predicts_twice_a_step(tiny_pipeline):
    asked = Defaults(num_frames=5, height=32, width=32, num_steps=4)
    numbers = [
        predicted_duration(tiny_pipeline, replace(asked, sampler=name)).num_predictions for name in ("ab2", "heun")
    ]
    assert numbers == [4, 7]


def test_every_layer_of_the_decoder_counts_for_each_of_its_frames(tiny_pipeline):
    """Samples as large as what they stand for, each said to take a second."""
    ticks, vae = count(), tiny_pipeline.vae
    total = decoding_seconds(vae, 17, 32, 32, lambda: next(ticks))
    expected, doublings = 0.0, 0
    for layer in decoder_layers(vae.config, 4, 1, 32, 32, 4, "cpu"):
        expected += (1 + 2**doublings * 4) / layer.frames
        doublings += layer.doubles_time
    assert total == pytest.approx(expected)

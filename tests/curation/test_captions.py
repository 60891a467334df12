"""Captions: nobody's, those beside the sources, and a tiny random vision language model's."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from looks import noise, shown
from tiny_models import tiny_llava

from videosyn.core.errors import UserError
from videosyn.curation.captions import Captions
from videosyn.curation.config import CaptionsConfig, CurationConfig
from videosyn.curation.records import Source
from videosyn.curation.sidecars import TimedCaption, best_caption, read_sidecars
from videosyn.curation.work import Work


def stage_of(captioner: str, **others) -> Captions:
    stage = Captions(CurationConfig(captions=CaptionsConfig(captioner, **others), device="cpu"))
    stage.setup()
    return stage


def beside(folder, name: str, content: str):
    """A source `talk.mp4` with one file beside it; returns its path."""
    folder.mkdir(exist_ok=True)
    (folder / "talk.mp4").write_bytes(b"")
    (folder / name).write_text(content, encoding="utf-8")
    return str(folder / "talk.mp4")


def test_nobody_says_nothing_and_is_named(tmp_path):
    work = Work(str(tmp_path))
    clip = stage_of("none").process(shown(work, [noise(1)]), work)
    assert (clip.caption, clip.labels["captioner"], clip.rejected_by) == ("", "none", "")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("talk.mp4.txt", "A dog\nruns.\n"),
        ("talk.txt", "A dog runs."),
        ("talk.json", json.dumps({"license": "CC0", "caption": "A dog runs."})),
        ("talk.mp4.json", json.dumps({"text": "A dog runs."})),
        ("talk.jsonl", '{"start_s": 0, "end_s": 9, "caption": "A dog runs."}\n{"start_s": 9, "caption": "It sits."}\n'),
        ("captions.jsonl", '{"file_name": "a.mp4", "text": "No."}\n{"file_name": "talk.mp4", "text": "A dog runs."}\n'),
    ],
)
def test_texts_beside_the_source_are_found(tmp_path, name, content):
    work = Work(str(tmp_path / "work"))
    path = beside(tmp_path / "in", name, content)
    clip = shown(work, [noise(1)])
    work.write_source(replace(work.source(clip.source), path=path))
    clip = stage_of("sidecar").process(clip, work)
    assert clip.caption == "A dog runs."
    assert clip.labels["captioner"] == "sidecar"
    assert clip.scores["caption_words"] == 3


def test_urls_have_sidecars_too():
    from fsspec import filesystem

    memory = filesystem("memory")
    memory.pipe("/in/talk.mp4", b"")
    memory.pipe("/in/talk.txt", b"A dog runs.")
    assert [caption.text for caption in read_sidecars("memory://in/talk.mp4")] == ["A dog runs."]


def test_half_a_character_in_a_sidecar_becomes_a_question_mark(tmp_path):
    path = beside(tmp_path, "talk.json", '{"caption": "A dog \\ud83d runs."}')
    assert read_sidecars(path) == [TimedCaption("A dog ? runs.")]


def test_a_name_too_long_for_a_sidecar_has_none(tmp_path):
    path = tmp_path / ("x" * 251 + ".mp4")
    path.write_bytes(b"")
    assert read_sidecars(str(path)) == []


def test_the_timed_caption_that_covers_most_of_the_clip_wins():
    captions = [
        TimedCaption("all"),
        TimedCaption("first", 0, 4),
        TimedCaption("second", 4, 10),
        TimedCaption("open end", 10),
    ]
    assert best_caption(captions, 3, 8) == "second"
    assert best_caption(captions, 0, 3) == "first"
    assert best_caption(captions, 20, 30) == "open end"
    assert best_caption([TimedCaption("whole", 0, 10), TimedCaption("part", 0, 6)], 0, 10) == "whole"
    assert best_caption(captions[:2], 3, 8) == "all"
    assert best_caption(captions[1:2], 3, 8) == ""


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("talk.json", "{", "is no JSON"),
        ("talk.json", "[1]", "must hold objects"),
        ("talk.jsonl", '{"caption": "x", "start_s": "soon"}', "must be seconds"),
    ],
)
def test_a_sidecar_that_cannot_be_understood_is_named(tmp_path, name, content, problem):
    path = beside(tmp_path, name, content)
    with pytest.raises(UserError, match=problem) as caught:
        read_sidecars(path)
    assert name in str(caught.value)


def test_a_source_without_sidecar_gets_no_caption(tmp_path):
    work = Work(str(tmp_path / "work"))
    work.write_source(Source("s" * 16, str(tmp_path / "talk.mp4"), 9))
    clip = shown(work, [noise(1)])
    assert stage_of("sidecar").process(clip, work).caption == ""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    pytest.importorskip("transformers")
    return tiny_llava(tmp_path_factory.mktemp("vlm") / "tiny-llava")


def test_a_vision_language_model_says_the_same_twice_and_sees_the_frames(tmp_path, model):
    work = Work(str(tmp_path))
    stage = stage_of(model, prompt="Describe this clip", num_frames=2, max_tokens=6)
    clip = shown(work, [noise(1), noise(2), noise(3)])
    first = stage.process(clip, work)
    assert first.labels["captioner"] == "tiny-llava"
    assert 1 <= len(first.caption.split()) <= 6
    assert "Describe" not in first.caption.split()[:1]
    assert stage.process(clip, work) == first
    seen = []
    model = stage.captioner._model._model
    generate = model.generate
    model.generate = lambda **given: seen.append(given) or generate(**given)
    stage.process(clip, work)
    assert seen[0]["pixel_values"].shape[0] == 2
    stage.captioner.config = replace(stage.captioner.config, num_frames=9)
    stage.process(shown(work, [noise(number) for number in range(9)]), work)
    assert seen[1]["pixel_values"].shape[0] == 9


def test_a_captioner_of_ours_is_shown_the_kept_frames_at_their_times(tmp_path, tiny_captioner_folder):
    work = Work(str(tmp_path))
    stage = stage_of(str(tiny_captioner_folder), num_frames=3)
    clip = shown(work, [noise(1), noise(2), noise(3)])
    seen = []
    caption = stage.captioner._model.caption
    stage.captioner._model.caption = lambda clips, prompt, times: (
        seen.append((clips, prompt, times)) or caption(clips, prompt, times)
    )
    captioned = stage.process(clip, work)
    ((clips, prompt, times),) = seen
    assert captioned.labels["captioner"] == "tiny-captioner"
    assert clips[0].shape == (3, *np.asarray(noise(1)).shape)
    assert prompt is None
    expected = [(frame.time_s - clip.start_s) / (clip.end_s - clip.start_s) for frame in clip.frames]
    assert times == [pytest.approx(expected)]


def test_a_clip_without_frames_gets_no_caption(tmp_path, model):
    work = Work(str(tmp_path))
    assert stage_of(model).process(shown(work, []), work).caption == ""


def test_what_is_no_captioner_is_a_users_error(tmp_path):
    with pytest.raises(UserError, match="a captioner must be nano, a folder of train captioner, or"):
        stage_of(str(tmp_path))

"""Deduplication of clips: real copies by hashes, and by CLIP with random weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from looks import noise, shown
from PIL import Image
from tiny_models import tiny_clip

from videosyn.core.errors import UserError
from videosyn.core.video_file import write_video
from videosyn.curation.clips import join
from videosyn.curation.config import CurationConfig, DedupConfig, ShotsConfig
from videosyn.curation.dedup import Dedup, SourceDedup
from videosyn.curation.probe import num_spans, probe
from videosyn.curation.records import Clip, Source
from videosyn.curation.shots import Shots
from videosyn.curation.work import Work
from videosyn.world.render import render
from videosyn.world.scene import sample_scene

CONFIG = CurationConfig(shots=ShotsConfig(min_seconds=0.5))


def film(seed: int) -> np.ndarray:
    """(48, 96, 160, 3): six seconds of two scenes side by side, panned over."""
    wide = render([sample_scene(seed)], 48, 96, 192)[0].numpy()
    return np.stack([frame[:, round(step * 32 / 47) :][:, :160] for step, frame in enumerate(wide)])


def resized(frames: np.ndarray, width: int, height: int) -> np.ndarray:
    return np.stack([np.asarray(Image.fromarray(frame).resize((width, height))) for frame in frames])


def scanned(path, work: Work) -> tuple[Source, list[Clip]]:
    source = probe(str(path))
    work.write_source(source)
    shots = Shots(CONFIG)
    shots.setup()
    for span in range(num_spans(source, CONFIG.shots)):
        shots.process_span(source, span, work)
    return source, join(source, work, CONFIG)


def test_rescaled_and_trimmed_copies_go_and_other_films_stay(tmp_path):
    work = Work(str(tmp_path / "work"))
    first, other = film(1), film(2)
    films = {
        "film.mp4": first,
        "half.mp4": resized(first, 80, 48),
        "trimmed.mp4": resized(first[11:41], 128, 80),
        "other.mp4": other,
    }
    clips: dict[str, Clip] = {}
    for name, frames in films.items():
        write_video(tmp_path / name, frames, 8.0)
        (clips[name],) = scanned(tmp_path / name, work)[1]
    dedup = Dedup(CONFIG)
    dedup.setup()
    given = [clips[name] for name in ("trimmed.mp4", "half.mp4", "other.mp4", "film.mp4")]
    found = dict(zip(("trimmed.mp4", "half.mp4", "other.mp4", "film.mp4"), dedup.process_group(given, work)))
    assert {name for name, clip in found.items() if clip.rejected_by} == {"half.mp4", "trimmed.mp4"}
    for name in ("half.mp4", "trimmed.mp4"):
        assert found[name].rejected_by == "dedup"
        assert found[name].labels["duplicate_of"] == clips["film.mp4"].id
        assert found[name].scores["overlap"] > 0.8
        assert f"shows the same as {clips['film.mp4'].id}" in found[name].reason
    backwards = dedup.process_group(given[::-1], work)
    assert {clip.id for clip in backwards if clip.rejected_by} == {clips["half.mp4"].id, clips["trimmed.mp4"].id}


def test_clips_rejected_before_are_left_alone(tmp_path):
    work = Work(str(tmp_path / "work"))
    write_video(tmp_path / "a.mp4", film(1), 8.0)
    write_video(tmp_path / "b.mp4", resized(film(1), 80, 48), 8.0)
    (large,), (small,) = (scanned(tmp_path / name, work)[1] for name in ("a.mp4", "b.mp4"))
    large = replace(large, rejected_by="motion", reason="static")
    dedup = SourceDedup(CONFIG)
    dedup.setup()
    assert dedup.process_group([large, small], work) == [large, small]
    assert dedup.process_group([], work) == []


@pytest.fixture(scope="module")
def clip_config(tmp_path_factory):
    model = tiny_clip(tmp_path_factory.mktemp("clip"))
    return CurationConfig(dedup=DedupConfig(clip_model=model, max_cosine=0.999), device="cpu")


def test_with_clip_weights_the_shorter_of_two_similar_clips_goes(tmp_path, clip_config):
    work = Work(str(tmp_path))
    dark, light = Image.new("RGB", (64, 48), (10, 10, 60)), Image.new("RGB", (64, 48), (250, 240, 90))
    long = shown(work, [dark, dark, dark], "a" * 16)
    short = shown(work, [dark, dark], "b" * 16)
    other = shown(work, [light, noise(1)], "c" * 16)
    dedup = SourceDedup(clip_config)
    dedup.setup()
    kept, gone, stranger = dedup.process_group([long, short, other], work)
    assert (kept, stranger) == (long, other)
    assert gone.rejected_by == "source_dedup"
    assert gone.scores["cosine"] > 0.999
    assert gone.labels["duplicate_of"] == long.id


def test_equal_lengths_are_decided_by_soundness_then_size_then_path(tmp_path, clip_config):
    work = Work(str(tmp_path))
    picture = noise(1)
    clips = [shown(work, [picture, picture], letter * 16) for letter in "abc"]
    work.write_source(replace(work.source("b" * 16), width_px=1280, height_px=720))
    dedup = Dedup(clip_config)
    dedup.setup()
    assert [bool(clip.rejected_by) for clip in dedup.process_group(clips, work)] == [True, False, True]
    work.write_source(replace(work.source("b" * 16), width_px=64, height_px=48))
    assert [bool(clip.rejected_by) for clip in dedup.process_group(clips[::-1], work)] == [True, True, False]
    damaged = replace(clips[0], labels={"source_warning": "truncated"})
    assert [bool(clip.rejected_by) for clip in dedup.process_group([damaged, *clips[1:]], work)] == [True, False, True]


def test_missing_weights_are_a_users_error(tmp_path):
    with pytest.raises(UserError, match="dedup"):
        Dedup(CurationConfig(dedup=DedupConfig(clip_model=str(tmp_path)), device="cpu")).setup()

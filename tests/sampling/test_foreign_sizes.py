"""Frames and sizes that other people's pipelines round, refuse late, or cannot patch."""

import functools
import json
import re
from types import SimpleNamespace

import numpy as np
import pytest

from videosyn.app.cli import run
from videosyn.core.errors import UserError
from videosyn.core.video_file import read_metadata, read_video
from videosyn.sampling.foreign import ForeignPipeline, open_pipeline

SIZE = {"num_frames": 9, "height": 32, "width": 32}


def words(folder, out, *more):
    return ["generate", "a red ball", "--model", str(folder), "-o", str(out), "--steps", "1", "--dtype", "fp32", *more]


@pytest.mark.parametrize(
    ("name", "asked", "message"),
    [
        ("cogvideox", {"height": 40}, "height must be a multiple of 16, got 40: use 32 or 48"),
        ("cogvideox", {"width": 24}, "width must be a multiple of 16, got 24: use 16 or 32"),
        ("ltx", {"width": 40}, "width must be a multiple of 32, got 40: use 32 or 64"),
        ("latte", {"height": 40, "num_frames": 16}, "height must be a multiple of 16, got 40: use 32 or 48"),
        ("latte", {"num_frames": 9}, "a LattePipeline makes films of 16 frames, got 9: use 16"),
    ],
)
def test_what_a_pipeline_cannot_make_is_refused_before_sampling(
    foreign_folders, name, asked, message, tmp_path, capsys
):
    size = {"num_frames": 16 if name == "latte" else 9, "height": 32, "width": 32, **asked}
    flags = [word for key, value in size.items() for word in (f"--{key.removeprefix('num_')}", str(value))]
    assert run(words(foreign_folders[name], tmp_path / "film.mp4", *flags)) == 2
    assert capsys.readouterr().err.strip().splitlines()[-1] == f"videosyn: {message}"
    assert not (tmp_path / "film.mp4").exists()


def test_what_its_parts_say_counts_beside_its_family(foreign_folders):
    """As of Wan 2.2's 5B, whose VAE pools by 16: diffusers makes 720 lines 704."""
    pipeline = open_pipeline(str(foreign_folders["wan"]), "cpu", "fp32")
    assert isinstance(pipeline, ForeignPipeline)
    pipeline.pipeline.vae_scale_factor_spatial = 16
    with pytest.raises(UserError, match="height must be a multiple of 32, got 720: use 704 or 736"):
        pipeline("a red ball", num_steps=1, height=720)


class OtherPipeline:
    """Makes fewer frames than asked for, of a family that is not known and with parts that say nothing."""

    scheduler = SimpleNamespace(timesteps=[], sigmas=[])

    def __init__(self, time_factor=None):
        if time_factor is not None:
            self.vae_scale_factor_temporal = time_factor

    def __call__(
        self, prompt, num_frames=8, height=32, width=32, num_inference_steps=1, generator=None,
        output_type="pil", callback_on_step_end=None,
    ):  # fmt: skip
        return SimpleNamespace(frames=np.zeros((1, num_frames // 4 * 4 + 1, height, width, 3), np.float32))


def test_frames_that_the_vae_of_an_unknown_family_rounds_are_refused_or_told_of():
    with pytest.raises(UserError, match=re.escape("frames must be 1 + 4k, got 16: use 13 or 17")):
        ForeignPipeline(OtherPipeline(4))("a red ball", num_frames=16)  # pyright: ignore[reportArgumentType]
    pipeline = ForeignPipeline(OtherPipeline())  # pyright: ignore[reportArgumentType]
    (note,) = pipeline("a red ball", num_frames=15, height=32).notes
    assert note == "the model made 13 frames of 32x32, not the 15 frames of 32x32 that were asked for"
    assert pipeline("a red ball", num_frames=13).notes == ()


def test_a_film_that_is_not_as_asked_is_told_of_and_its_file_says_what_it_is(
    foreign_folders, tmp_path, capsys, monkeypatch
):
    from diffusers import WanPipeline

    made = WanPipeline.__call__

    @functools.wraps(made)
    def shorter(self, *args, **named):
        output = made(self, *args, **named)
        output.frames = output.frames[:, :5]
        return output

    monkeypatch.setattr(WanPipeline, "__call__", shorter)
    out = tmp_path / "film.webp"
    assert run(words(foreign_folders["wan"], out, "--frames", "9", "--height", "32", "--width", "32")) == 0
    assert "the model made 5 frames of 32x32, not the 9 frames of 32x32 that were asked for" in capsys.readouterr().err
    settings = json.loads(read_metadata(out)["settings"])
    assert [settings[name] for name in ("num_frames", "height", "width", "fps")] == [5, 32, 32, 16.0]


def test_frames_by_another_name_make_a_film_too(foreign_folders, tmp_path):
    """Latte calls them video_length."""
    out = tmp_path / "film.webp"
    assert run(words(foreign_folders["latte"], out, "--frames", "16", "--height", "32", "--width", "32")) == 0
    frames, fps = read_video(out)
    assert (frames.shape, round(fps)) == ((16, 32, 32, 3), 8)
    pipeline = open_pipeline(str(foreign_folders["latte"]), "cpu", "fp32")
    assert isinstance(pipeline, ForeignPipeline)
    how = {"num_steps": 2, "num_frames": 16, "height": 32, "width": 32, "seed": 3}
    seen = []
    both = pipeline(["a red ball", "a ball"], batch=2, preview=lambda films, shown: seen.append(shown().shape), **how)
    assert both.frames.shape == (2, 16, 32, 32, 3)
    assert seen == [(1, 32, 32, 3)] * 2
    assert np.array_equal(both.frames[0], pipeline("a red ball", **how).frames[0])


def test_a_sana_video_is_asked_for_frames_and_for_the_size_itself():
    class SanaVideoPipeline(OtherPipeline):
        def __call__(
            self, prompt, frames=81, height=32, width=32, num_inference_steps=1, generator=None,
            output_type="pil", use_resolution_binning=True, callback_on_step_end=None,
        ):  # fmt: skip
            assert not use_resolution_binning
            return super().__call__(prompt, frames, height, width)

    pipeline = ForeignPipeline(SanaVideoPipeline())  # pyright: ignore[reportArgumentType]
    assert pipeline("a red ball", num_frames=17).frames.shape == (1, 17, 32, 32, 3)


def test_what_gives_pictures_is_refused():
    class TextToVideoZeroPipeline(OtherPipeline):
        def __call__(
            self, prompt, video_length=8, num_inference_steps=1, generator=None,
            output_type="pil", callback_on_step_end=None,
        ):  # fmt: skip
            return SimpleNamespace(images=np.zeros((video_length, 32, 32, 3)))

    with pytest.raises(UserError, match="a TextToVideoZeroPipeline makes pictures, no films"):
        ForeignPipeline(TextToVideoZeroPipeline())("a red ball")  # pyright: ignore[reportArgumentType]

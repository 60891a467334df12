"""diffusers' VAEs where a run wants a VidVAE: `cache` takes them, `train dit` says that it does not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from clips_folder import write_folder
from safetensors.torch import load_file

from videosyn.app.cli import run
from videosyn.core.video_file import read_video
from videosyn.dataset.buckets import Bucket
from videosyn.dataset.latent_cache import encode_frames
from videosyn.dataset.world_clips import render_clips
from videosyn.sampling.foreign_vae import ForeignVae

LINES = {"max_steps": 1, "dtype": "fp32", "num_clips": 2, "num_images": 1, "validation_clips": 2, "workers": 0}


def command(words: list[str], folder: Path, foreign_folders: dict[str, Path], **fields) -> int:
    fields = {**LINES, "cache": str(folder / "latents"), "out": str(folder / "run"), **fields}
    config = folder / "my.yaml"
    config.write_text("".join(f"{name}: {value}\n" for name, value in fields.items()))
    return run([*words, str(config), "--vae", str(foreign_folders["wan"] / "vae")])


def shards(folder: Path, name: str) -> list[dict[str, torch.Tensor]]:
    return [load_file(path) for path in sorted((folder / "latents").glob(f"{name}-*.safetensors"))]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_cache_of_the_world_holds_what_the_vae_gives_its_own_denoisers(tmp_path, foreign_folders, workers):
    folder = foreign_folders["wan"] / "vae"
    config = (folder / "config.json").read_bytes()
    assert command(["cache"], tmp_path, foreign_folders, workers=workers, buckets="[5x32x32, 1x32x32]") == 0
    assert (folder / "config.json").read_bytes() == config  # not calibrated
    (films,), (images,) = shards(tmp_path, "5x32x32"), shards(tmp_path, "1x32x32")
    assert (films["latents"].shape, images["latents"].shape) == ((2, 16, 2, 4, 4), (1, 16, 1, 4, 4))
    rendered = render_clips(films["seeds"].tolist(), Bucket(5, 32, 32), "train")
    assert torch.equal(films["latents"], encode_frames(ForeignVae.from_pretrained(folder), rendered).bfloat16())


@pytest.mark.parametrize("workers", [0, 1])
def test_a_cache_of_footage_does_too(tmp_path, foreign_folders, workers):
    data = write_folder(tmp_path / "data", [(5, 32, 48)])
    fields = {"data": str(data), "buckets": "[5x32x48]", "workers": workers}
    assert command(["cache"], tmp_path, foreign_folders, **fields) == 0
    (films,) = shards(tmp_path, "5x32x48")
    frames = torch.from_numpy(read_video(data / "clips/00.mp4")[0])[None]
    expected = encode_frames(ForeignVae.from_pretrained(foreign_folders["wan"] / "vae"), frames)
    assert films["whole"].all()
    torch.testing.assert_close(films["latents"].float(), expected, rtol=0.02, atol=0.05)


def test_clips_that_the_vae_does_not_take_are_refused_before_any_is_encoded(tmp_path, foreign_folders, capsys):
    for bucket, rule in (("6x32x32", "frames must be 1 + 4k, got 6"), ("5x36x32", "height must be a multiple of 8")):
        assert command(["cache"], tmp_path, foreign_folders, buckets=f"[{bucket}]") == 2
        assert rule in capsys.readouterr().err
    assert not (tmp_path / "latents").exists()


@pytest.mark.parametrize(("words", "dry"), [("train dit", False), ("train dit", True), ("cache", True)])
def test_training_on_it_is_refused_in_one_line_before_anything_is_written(
    tmp_path, foreign_folders, capsys, words, dry
):
    assert command(words.split(), tmp_path, foreign_folders, dry_run=dry) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("videosyn: a model is trained on a VidVAE's latents, and ")
    assert line.endswith("is another VAE: only cache takes it")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["my.yaml"]

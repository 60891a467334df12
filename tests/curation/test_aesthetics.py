"""Aesthetic scores: LAION's heads in both forms, and the photometric score."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from looks import noise, shown, world_picture
from PIL import Image, ImageFilter
from safetensors.torch import save_file
from tiny_models import tiny_clip
from torch import nn

from videosyn.core.errors import UserError
from videosyn.curation.aesthetics import Aesthetics, load_head
from videosyn.curation.clip_features import ClipFeatures, unit
from videosyn.curation.config import AestheticsConfig, CurationConfig
from videosyn.curation.photometric import photometric_marks, photometric_score
from videosyn.curation.work import Work


def linear_head(width: int) -> nn.Module:
    torch.manual_seed(1)
    return nn.Linear(width, 1)


def deep_head(width: int) -> nn.Module:
    """The published module: linear layers 0, 2, 4, 6, 7, dropout between them."""
    torch.manual_seed(2)
    head = nn.Module()
    head.layers = nn.Sequential(
        nn.Linear(width, 32),
        nn.Dropout(0.2),
        nn.Linear(32, 16),
        nn.Dropout(0.2),
        nn.Linear(16, 8),
        nn.Dropout(0.1),
        nn.Linear(8, 4),
        nn.Linear(4, 1),
    )
    return head.eval()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_both_published_forms_are_read(tmp_path, suffix):
    features = torch.from_numpy(unit(np.random.default_rng(0).normal(size=(5, 24)).astype(np.float32)))
    heads = {"linear": linear_head(24), "deep": deep_head(24)}
    for name, head in heads.items():
        path = tmp_path / (name + suffix)
        (torch.save if suffix == ".pth" else save_file)(dict(head.state_dict()), path)
        expected = (head.layers if name == "deep" else head)(features)
        torch.testing.assert_close(load_head(str(path))(features), expected)


@pytest.mark.parametrize(
    "state",
    [
        {"weight": torch.zeros(2, 24), "bias": torch.zeros(2)},
        {"weight": torch.zeros(1, 24), "bias": torch.zeros(1), "extra": torch.zeros(1)},
        {"layers.0.weight": torch.zeros(8, 24), "layers.0.bias": torch.zeros(8), "layers.2.weight": torch.zeros(1, 9)},
        {"layers.0.weight": torch.zeros(1, 24)},
        {},
    ],
)
def test_what_is_no_head_is_refused(tmp_path, state):
    torch.save(state, tmp_path / "head.pth")
    with pytest.raises(UserError, match=r"no aesthetic head|must hold tensors by name"):
        load_head(str(tmp_path / "head.pth"))


def test_a_pickle_that_runs_code_is_refused(tmp_path):
    torch.save(linear_head(24), tmp_path / "head.pth")  # a whole module: reading it would run its class's code
    with pytest.raises(UserError, match="holds more than tensors, or is damaged: it is not read"):
        load_head(str(tmp_path / "head.pth"))


def test_a_missing_head_is_one_line(tmp_path):
    with pytest.raises(UserError, match="give a file"):
        load_head(str(tmp_path / "none.pth"))


def test_the_score_is_the_heads_mean_over_frames_and_decides(tmp_path):
    work = Work(str(tmp_path / "work"))
    clip = shown(work, [noise(1), noise(2)])
    model = tiny_clip(tmp_path / "clip")
    torch.save(linear_head(24).state_dict(), tmp_path / "head.pth")
    vectors = torch.from_numpy(unit(ClipFeatures(model, "cpu").of_clip(clip, work)))
    expected = linear_head(24)(vectors).mean().item()
    for least, rejected in ((max(0.0, expected - 0.1), expected < 0), (expected + 0.1, True)):
        config = AestheticsConfig(clip_model=model, head=str(tmp_path / "head.pth"), min_score=max(0.0, least))
        stage = Aesthetics(CurationConfig(aesthetics=config, device="cpu"))
        stage.setup()
        scored = stage.process(clip, work)
        assert scored.scores["aesthetic"] == pytest.approx(expected, abs=1e-3)
        assert scored.labels["aesthetic_model"] == "head.pth"
        assert bool(scored.rejected_by) == rejected


def test_a_head_for_other_features_is_refused(tmp_path):
    torch.save(linear_head(768).state_dict(), tmp_path / "head.pth")
    config = AestheticsConfig(clip_model=tiny_clip(tmp_path / "clip"), head=str(tmp_path / "head.pth"))
    with pytest.raises(UserError, match=r"made for features of 768, .* gives 24"):
        Aesthetics(CurationConfig(aesthetics=config, device="cpu")).setup()


def test_one_of_weights_and_head_is_not_enough():
    with pytest.raises(UserError, match=r"aesthetics.head needs aesthetics.clip_model"):
        Aesthetics(CurationConfig(aesthetics=AestheticsConfig(head="x.pth"))).setup()


def test_without_weights_the_score_is_photometric_and_says_so(tmp_path):
    work = Work(str(tmp_path))
    stage = Aesthetics(CurationConfig())
    stage.setup()
    good = stage.process(shown(work, [world_picture(1)]), work)
    assert not good.rejected_by
    assert good.labels["aesthetic_model"] == "photometric"
    black = stage.process(shown(work, [Image.new("RGB", (320, 180), (4, 4, 4))], "b" * 16), work)
    assert black.rejected_by == "aesthetics"
    assert "photometric score 0." in black.reason
    assert "under aesthetics.min_photometric 2" in black.reason


def test_each_photometric_mark_falls_with_its_fault():
    picture = world_picture(2)
    marks = photometric_marks(picture)
    assert all(0 <= mark <= 1 for mark in marks.values())
    faults = {
        "sharpness": picture.filter(ImageFilter.GaussianBlur(6)),
        "colourfulness": picture.convert("L").convert("RGB"),
        "exposure": picture.point(lambda level: level // 6),
        "contrast": picture.point(lambda level: 110 + level // 8),
    }
    for name, worse in faults.items():
        assert photometric_marks(worse)[name] < 0.6 * marks[name], name
        assert photometric_score(worse) < photometric_score(picture)


def test_the_photometric_score_hardly_depends_on_size():
    picture = world_picture(4, 1080, 1920)
    small = picture.resize((960, 540))
    assert photometric_score(picture) == pytest.approx(photometric_score(small), abs=0.3)
    assert 0 <= photometric_score(Image.new("RGB", (1, 1))) <= 10

"""Missing weights are said before anything is decoded."""

from __future__ import annotations

import pytest

from videosyn.core.errors import UserError
from videosyn.curation.config import AestheticsConfig, CaptionsConfig, CurationConfig, DedupConfig
from videosyn.curation.weights import check_weights


@pytest.fixture
def model(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "head.pth").write_bytes(b"x")
    return str(tmp_path / "model")


def test_folders_and_files_that_are_there_pass(model, tmp_path):
    check_weights(CurationConfig())
    check_weights(
        CurationConfig(
            dedup=DedupConfig(clip_model=model),
            aesthetics=AestheticsConfig(clip_model=model, head=str(tmp_path / "head.pth")),
            captions=CaptionsConfig(captioner=model),
        )
    )


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (CurationConfig(captions=CaptionsConfig(captioner="/none/model")), "captions.captioner: no folder /none/model"),
        (CurationConfig(dedup=DedupConfig(clip_model="./none")), "dedup.clip_model: no folder ./none"),
        (
            CurationConfig(aesthetics=AestheticsConfig(clip_model="x", head="~/h.pth")),
            "aesthetics.head: no file ~/h.pth",
        ),
        (CurationConfig(captions=CaptionsConfig(captioner="no name/of/a/model")), "not on the hub"),
    ],
)
def test_what_is_not_there_is_a_mistake(config, message):
    with pytest.raises(UserError, match=message) as caught:
        check_weights(config)
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_config_is_no_model(tmp_path):
    with pytest.raises(UserError, match=r"holds no config\.json"):
        check_weights(CurationConfig(captions=CaptionsConfig(captioner=str(tmp_path))))


def test_stages_that_are_off_need_nothing():
    check_weights(CurationConfig(dedup=DedupConfig(enabled=False, clip_model="/none")))

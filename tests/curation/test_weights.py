"""Missing packages, devices and weights are said before anything is decoded."""

from __future__ import annotations

import pytest

from videosyn.core.errors import UserError
from videosyn.curation import weights
from videosyn.curation.config import AestheticsConfig, CaptionsConfig, CurationConfig, DedupConfig, TextConfig
from videosyn.curation.weights import check_machine, check_weights


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


@pytest.mark.parametrize(
    ("config", "package", "message"),
    [
        (
            CurationConfig(captions=CaptionsConfig("nano")),
            "transformers",
            r"^captions\.captioner needs transformers, .*: pip install 'videosyn\[curate,caption\]'$",
        ),
        (CurationConfig(dedup=DedupConfig(clip_model="x")), "transformers", r"^dedup\.clip_model needs transformers"),
        (
            CurationConfig(aesthetics=AestheticsConfig(clip_model="x", head="y")),
            "transformers",
            r"^aesthetics\.clip_model needs transformers",
        ),
        (CurationConfig(), "rapidocr", r"^overlaid text needs rapidocr, .*: pip install 'videosyn\[curate\]'$"),
        (CurationConfig(), "onnxruntime", "^overlaid text needs onnxruntime"),
    ],
)
def test_a_missing_package_is_named_with_what_installs_it(monkeypatch, config, package, message):
    monkeypatch.setattr(weights, "find_spec", lambda name: None if name == package else name)
    with pytest.raises(UserError, match=message):
        check_machine(config)


def test_packages_that_no_stage_needs_are_not_asked_for(monkeypatch):
    monkeypatch.setattr(weights, "find_spec", lambda name: None)
    check_machine(CurationConfig(text=TextConfig(enabled=False), captions=CaptionsConfig("sidecar"), device="cuda:99"))
    check_machine(CurationConfig(captions=CaptionsConfig("nano")), ["shots", "motion"])


def test_a_device_that_is_not_here_is_a_mistake_where_a_model_is_on():
    with pytest.raises(UserError, match=r"^device 'cuda:99' is not here"):
        check_machine(CurationConfig(captions=CaptionsConfig("nano"), device="cuda:99"))

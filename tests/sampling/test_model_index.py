import json
import sys
import types
from fnmatch import fnmatch

import pytest

from videosyn.core.errors import UserError
from videosyn.sampling import model_index
from videosyn.sampling.model_index import Defaults, ModelIndex, Trained, find_model


def test_an_index_survives_its_file(tmp_path):
    index = ModelIndex({"vae": ("videosyn", "VidVAE")}, Defaults(num_frames=33), Trained(65, 128 * 128))
    index.save(tmp_path)
    assert ModelIndex.load(tmp_path) == index


def test_what_is_none_was_not_asked():
    assert Defaults().updated(num_frames=33, height=None) == Defaults(num_frames=33)
    assert Defaults(guidance=3.0).updated(guidance=0.0).guidance == 0.0


def test_only_requests_far_outside_training_are_noted():
    trained = Trained(max_frames=33, max_pixels=128 * 128)
    assert trained.note(33, 128, 128) is None
    assert trained.note(49, 128, 160) is None
    assert trained.note(65, 96, 96) == ("far outside what this model was trained on: 65 frames (trained on up to 33)")
    assert "256x256" in (trained.note(17, 256, 256) or "")
    assert Trained().note(1001, 4096, 4096) is None


def test_a_folder_is_found_and_what_is_none_is_a_user_error(tmp_path):
    assert find_model(str(tmp_path)) == tmp_path
    (tmp_path / "file").write_text("")
    for name in ("nanoo", str(tmp_path / "absent" / "deep"), str(tmp_path / "file"), "a/b/c"):
        with pytest.raises(UserError, match="no model"):
            find_model(name)
    with pytest.raises(UserError, match=r"has no model_index\.json"):
        ModelIndex.load(tmp_path)


def test_a_shipped_model_that_is_not_there_is_a_user_error(tmp_path, monkeypatch):
    monkeypatch.setattr(model_index, "shipped_folder", lambda name: tmp_path if name == "nano" else None)
    with pytest.raises(UserError, match="the nano model is missing from this installation"):
        find_model("nano")


def test_the_size_must_suit_the_vidvae_and_the_vdit(tiny_folder):
    index = ModelIndex.load(tiny_folder)
    index.check_size(tiny_folder, 5, 32, 48)
    for size, message in (((6, 32, 32), "frames must be"), ((5, 24, 32), "height must be a multiple of 16, got 24")):
        with pytest.raises(UserError, match=message):
            index.check_size(tiny_folder, *size)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub with one repository, some/model, in `tmp_path`; -> what was asked of it."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    asked = []

    def snapshot_download(hub_id, allow_patterns, ignore_patterns=()):
        if hub_id != "some/model":
            raise LocalEntryNotFoundError("cannot reach the hub\nmore")
        asked.append((allow_patterns, ignore_patterns))
        return str(tmp_path)

    monkeypatch.setitem(sys.modules, "huggingface_hub", types.SimpleNamespace(snapshot_download=snapshot_download))
    return asked


def test_a_hub_id_is_fetched_and_a_failure_is_one_line(hub, tmp_path):
    assert find_model("some/model") == tmp_path
    with pytest.raises(UserError, match=r"other/model is no folder here and cannot be fetched .*cannot reach the hub$"):
        find_model("other/model")


def test_of_a_pipelines_repository_only_its_parts_are_fetched(hub, tmp_path):
    index = {
        "_class_name": "LTXPipeline",
        "vae": ["diffusers", "X"],
        "tokenizer": ["t", "Y"],
        "image_encoder": [None, None],
    }
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    find_model("some/model")
    allowed, ignored = hub[-1]
    files = [
        "model_index.json",
        "vae/a.safetensors",
        "tokenizer/merges.txt",
        "tokenizer/spiece.model",
        "vae/config.json",
    ]
    others = [
        "whole-model-v0.9.safetensors",
        "vae/a.fp16.safetensors",
        "image_encoder/a.safetensors",
        "assets/film.mp4",
    ]

    def fetched(path):
        return any(fnmatch(path, each) for each in allowed) and not any(fnmatch(path, each) for each in ignored)

    assert [path for path in files + others if fetched(path)] == files

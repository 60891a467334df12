"""CLIP's features, with random weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from looks import noise, shown
from safetensors.torch import load_file, save_file
from tiny_models import SIZE_PX, tiny_clip

from videosyn.core.errors import UserError
from videosyn.curation.clip_features import ClipFeatures, repeats, unit
from videosyn.curation.work import Work

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def features(folder):
    return ClipFeatures(folder, "cpu")


def test_features_equal_those_of_transformers_own_preparation(folder, features):
    from transformers import CLIPModel
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    pictures = [noise(1, 90, 160), noise(2, 160, 90), noise(3, 20, 33)]
    prepare = CLIPImageProcessorPil(size={"shortest_edge": SIZE_PX}, crop_size={"height": SIZE_PX, "width": SIZE_PX})
    with torch.no_grad():
        given = prepare(pictures, return_tensors="pt")["pixel_values"]
        expected = CLIPModel.from_pretrained(folder).eval().vision_model(pixel_values=given)
        expected = CLIPModel.from_pretrained(folder).visual_projection(expected.pooler_output)
    np.testing.assert_allclose(features.of_pictures(pictures), expected.numpy(), atol=2e-2)


def test_the_image_half_alone_gives_the_same(tmp_path, features):
    half = ClipFeatures(tiny_clip(tmp_path, whole=False), "cpu")
    assert half.width == features.width == 24
    assert half.of_pictures([noise(1)]).shape == (1, 24)


def test_a_missing_weight_is_named(tmp_path):
    folder = tiny_clip(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    save_file(
        {key: value for key, value in state.items() if key != "visual_projection.weight"},
        tmp_path / "model.safetensors",
        metadata={"format": "pt"},
    )
    with pytest.raises(UserError, match=r"1 missing \(visual_projection.weight"):
        ClipFeatures(folder, "cpu")


def test_a_folder_without_weights_is_one_line(tmp_path):
    with pytest.raises(UserError, match="give a folder or a hub id") as caught:
        ClipFeatures(str(tmp_path), "cpu")
    assert "\n" not in str(caught.value)


def test_frames_are_looked_at_once(tmp_path, features, monkeypatch):
    work = Work(str(tmp_path))
    clip = shown(work, [noise(1), noise(2)])
    first = features.of_clip(clip, work)
    monkeypatch.setattr(features, "of_pictures", lambda pictures: pytest.fail("looked again"))
    np.testing.assert_array_equal(features.of_clip(clip, work), first)


def test_a_clips_vector_has_length_one_and_is_zero_without_frames(tmp_path, features):
    work = Work(str(tmp_path))
    vectors = features.of_clips([shown(work, [noise(1), noise(2)]), shown(work, [], start=100)], work)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [1, 0], atol=1e-6)


def test_near_vectors_repeat_the_first_of_them():
    random = np.random.default_rng(0)
    groups = unit(random.normal(size=(400, 32)).astype(np.float32))
    near = unit(groups[:300] + 0.02 * random.normal(size=(300, 32)).astype(np.float32))
    found = repeats(np.concatenate([groups, near]), 0.9, torch.device("cpu"))  # more than a block
    assert {number: first for number, (first, _) in found.items()} == {400 + row: row for row in range(300)}
    assert all(cosine > 0.9 for _, cosine in found.values())


def test_a_vector_is_not_compared_with_one_that_goes():
    degrees = np.radians([0, 20, 40])  # neighbours have cosine 0.94, the outer two 0.77
    vectors = np.stack([np.cos(degrees), np.sin(degrees)], axis=1).astype(np.float32)
    assert repeats(vectors, 0.9, torch.device("cpu")).keys() == {1}

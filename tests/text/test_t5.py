import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from videosyn.core.errors import UserError
from videosyn.text.t5 import T5TextEncoder


@pytest.fixture(scope="module")
def folder(save_t5, tmp_path_factory):
    return save_t5(tmp_path_factory.mktemp("t5"))


@pytest.fixture(scope="module")
def encoder(folder) -> T5TextEncoder:
    return T5TextEncoder(folder, dtype=torch.float32)


def test_t5_features_are_masked_where_padded(encoder):
    text = encoder.encode(["a red ball", "ball"])
    assert text.features.shape == (2, 4, 16)
    assert text.mask.tolist() == [[True] * 4, [True, True, False, False]]
    torch.testing.assert_close(text.features[1, :2], encoder.encode(["ball"]).features[0], rtol=1e-4, atol=1e-5)


def test_t5s_null_is_the_empty_prompt(encoder):
    null = encoder.null(2)
    assert null.features.shape == (2, 1, 16)
    assert null.mask.all()


def test_t5_warns_of_what_it_cuts(encoder):
    with pytest.warns(UserWarning, match="9 tokens, the model reads 4: '.+' is ignored"):
        assert encoder.encode(["ball " * 8], max_tokens=4).features.shape == (1, 4, 16)


def test_t5_is_bfloat16_and_frozen_by_default(folder):
    encoder = T5TextEncoder(folder)
    assert encoder.encode(["a ball"]).features.dtype == torch.bfloat16
    assert not any(parameter.requires_grad for parameter in encoder.model.parameters())


def cut(path):
    path.write_bytes(path.read_bytes()[:200])


def with_tensors(path, **tensors):
    save_file({**load_file(path), **tensors}, path, {"format": "pt"})


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("model.safetensors", cut, "no T5 encoder loads from .*t5, copy it again or name another: Error while"),
        ("model.safetensors", lambda path: path.unlink(), "no T5 encoder loads from .*: Error no file named"),
        ("config.json", cut, "no T5 encoder loads from .*: It looks like the config file"),
        ("tokenizer.json", cut, "no T5 encoder loads from "),
        ("tokenizer.json", lambda path: path.unlink(), r"t5 holds no tokenizer \(tokenizer.json or spiece.model\)"),
        (
            "model.safetensors",
            lambda path: with_tensors(path, **{"encoder.x": torch.zeros(2), "shared.weight": torch.zeros(8, 9)}),
            r"no whole T5 encoder: 1 foreign \(encoder.x\); 1 of another shape \(shared.weight\)",
        ),
    ],
)
def test_a_damaged_t5_is_a_user_error_of_one_line(folder, tmp_path, name, damage, message):
    copy = shutil.copytree(folder, tmp_path / "t5")
    damage(copy / name)
    with pytest.raises(UserError, match=message) as caught:
        T5TextEncoder(copy)
    assert "\n" not in str(caught.value)


def test_files_of_a_whole_t5_give_its_encoder(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "t5")
    with_tensors(copy / "model.safetensors", **{"lm_head.weight": torch.zeros(2), "decoder.x": torch.zeros(2)})
    T5TextEncoder(copy)


def pickled(folder, copy):
    """The same T5 with pytorch_model.bin instead of safetensors, as older ones are published."""
    shutil.copytree(folder, copy)
    torch.save(load_file(copy / "model.safetensors"), copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    return copy


def test_a_folder_of_a_pickle_is_read_only_where_that_is_asked_for(folder, encoder, tmp_path):
    copy = pickled(folder, tmp_path / "t5")
    with pytest.raises(UserError, match=r"t5 holds a pickle, but model.safetensors is wanted: write it once") as caught:
        T5TextEncoder(copy)
    assert "\n" not in str(caught.value)
    read = T5TextEncoder(copy, dtype=torch.float32, pickled=True)
    assert torch.equal(read.encode(["ball"]).features, encoder.encode(["ball"]).features)


@pytest.mark.parametrize("content", [b"version https://git-lfs.github.com/spec/v1\n", b"PK\3\4", b""])
def test_a_damaged_pickle_is_a_user_error_of_one_line(folder, tmp_path, content):
    copy = pickled(folder, tmp_path / "t5")
    (copy / "pytorch_model.bin").write_bytes(content)
    with pytest.raises(UserError, match=r"t5.* copy it again") as caught:
        T5TextEncoder(copy, pickled=True)
    assert "\n" not in str(caught.value)

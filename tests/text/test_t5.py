import pytest
import torch

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
    with pytest.warns(UserWarning, match="9 tokens, cut to 4"):
        assert encoder.encode(["ball " * 8], max_tokens=4).features.shape == (1, 4, 16)


def test_t5_is_bfloat16_and_frozen_by_default(folder):
    encoder = T5TextEncoder(folder)
    assert encoder.encode(["a ball"]).features.dtype == torch.bfloat16
    assert not any(parameter.requires_grad for parameter in encoder.model.parameters())

import pytest
import torch

from videosyn.core.errors import UserError
from videosyn.text.config import NanoTextEncoderConfig
from videosyn.text.nano import NanoTextEncoder
from videosyn.text.tokenizer import WordTokenizer


@pytest.fixture
def encoder() -> NanoTextEncoder:
    tokenizer = WordTokenizer.from_words("a red blue ball on the grass".split())
    config = NanoTextEncoderConfig(vocab_size=len(tokenizer), width=32, depth=2, num_heads=2, max_tokens=16)
    encoder = NanoTextEncoder(config, tokenizer)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return encoder


def test_features_are_as_long_as_the_longest_prompt(encoder):
    text = encoder.encode(["a red ball", "ball"])
    assert text.features.shape == (2, 4, 32)
    assert text.mask.tolist() == [[True] * 4, [True, True, False, False]]


@torch.no_grad()
def test_features_do_not_depend_on_the_padding(encoder):
    padded, alone = encoder.encode(["a red ball on the grass", "blue ball"]), encoder.encode(["blue ball"])
    torch.testing.assert_close(padded.features[1, :3], alone.features[0], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_words_are_read_in_both_directions_and_in_order(encoder):
    red, blue = encoder.encode(["ball red"]).features, encoder.encode(["ball blue"]).features
    assert (red[0, 0] - blue[0, 0]).abs().max() > 1e-3
    swapped = encoder.encode(["red ball"]).features
    assert (swapped[0, 2] - red[0, 2]).abs().max() > 1e-3


@torch.no_grad()
def test_the_null_is_the_empty_prompt(encoder):
    null = encoder.null(3)
    assert null.features.shape == (3, 1, 32)
    assert null.mask.all()
    torch.testing.assert_close(null.features[:1], encoder.encode([""]).features)


def test_gradients_reach_every_weight_but_unused_words(encoder):
    encoder.encode(["a red ball", "", "dragon"]).features.square().sum().backward()
    assert [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.any()] == []


@torch.no_grad()
def test_a_saved_encoder_is_the_same(encoder, tmp_path):
    encoder.save(tmp_path / "text_encoder")
    loaded = NanoTextEncoder.load(tmp_path / "text_encoder")
    assert loaded.config == encoder.config
    prompts = ["a red dragon", "ball"]
    torch.testing.assert_close(loaded.encode(prompts).features, encoder.encode(prompts).features)


def test_a_prompt_longer_than_the_places_is_cut_with_a_warning(encoder):
    with pytest.warns(UserWarning, match="is ignored"):
        assert encoder.encode(["ball " * 30]).features.shape[1] == 16


def test_a_tokenizer_of_another_size_is_refused(encoder):
    with pytest.raises(UserError, match="vocab_size"):
        NanoTextEncoder(encoder.config, WordTokenizer.from_words(["a"]))


@pytest.mark.parametrize("change", [{"num_heads": 5}, {"depth": 0}, {"max_tokens": 1}])
def test_a_wrong_config_is_refused(change):
    with pytest.raises(UserError):
        NanoTextEncoderConfig(**{"vocab_size": 300, "width": 32, "num_heads": 2} | change)

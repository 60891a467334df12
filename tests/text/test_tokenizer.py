import pytest

from videosyn.core.errors import UserError
from videosyn.text.tokenizer import WordTokenizer

WORDS = ["a", "Red", "ball", "on", "the", "grass", ",", ".", "zig-zag"]


@pytest.fixture(scope="module")
def tokenizer() -> WordTokenizer:
    return WordTokenizer.from_words(WORDS)


def encode(tokenizer, prompt, max_tokens=64):
    return tokenizer.encode([prompt], max_tokens)[0]


def test_a_known_word_is_one_token_whatever_its_case(tokenizer):
    assert len(encode(tokenizer, "a red ball")) == 4  # and the end
    assert encode(tokenizer, "A RED  ball") == encode(tokenizer, "a red ball")


def test_signs_are_words_with_or_without_spaces(tokenizer):
    assert len(encode(tokenizer, "ball, on the grass.")) == 7
    assert encode(tokenizer, "ball,red") == encode(tokenizer, "ball , red")
    assert len(encode(tokenizer, "zig-zag")) == 4


@pytest.mark.parametrize("word", ["dragon", "reddish", "balla", "über", "ß", "龍", "🐉", "7", "redball"])
def test_an_unknown_word_becomes_its_bytes_and_comes_back(tokenizer, word):
    ids = encode(tokenizer, word)
    assert len(ids) == 1 + len(word.encode()) + 1  # mark, bytes, end
    assert tokenizer.decode(ids) == word
    assert tokenizer.unknown_words(f"a {word}, the {word}") == [word]


def test_known_and_unknown_words_mix(tokenizer):
    ids = encode(tokenizer, "A red dragon on the grass.")
    assert tokenizer.decode(ids) == "a red dragon on the grass ."
    assert len(ids) == 6 + 1 + len("dragon") + 1


def test_every_byte_has_a_token(tokenizer):
    assert len(tokenizer) == 2 + 256 + 1 + len({"zig", "-", "zag"} | set(WORDS)) - 1


def test_the_empty_prompt_is_the_end_alone(tokenizer):
    assert encode(tokenizer, "") == encode(tokenizer, "  ") == [tokenizer.end_id]


def test_a_cut_is_warned_of_and_says_what_is_lost(tokenizer):
    with pytest.warns(UserWarning, match=r"7 tokens, the model reads 4: 'the grass \.' is ignored"):
        ids = encode(tokenizer, "ball on a the grass .", 4)
    assert len(ids) == 4
    assert ids[-1] == tokenizer.end_id


def test_a_prompt_that_just_fits_is_whole(tokenizer, recwarn):
    assert len(encode(tokenizer, "a red ball", 4)) == 4
    assert not recwarn


def test_a_saved_tokenizer_is_the_same(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "tokenizer.json")
    loaded = WordTokenizer.load(tmp_path / "tokenizer.json")
    prompt = "a red dragon, on the grass"
    assert encode(loaded, prompt) == encode(tokenizer, prompt)
    assert loaded.unknown_words(prompt) == ["dragon"]
    assert len(loaded) == len(tokenizer)


def test_the_order_of_the_word_list_does_not_matter(tokenizer):
    prompt = "a red ball on the grass"
    assert encode(WordTokenizer.from_words(reversed(WORDS)), prompt) == encode(tokenizer, prompt)


def test_a_missing_damaged_or_foreign_file_is_named(tmp_path):
    path = tmp_path / "tokenizer.json"
    with pytest.raises(UserError, match="no tokenizer"):
        WordTokenizer.load(path)
    path.write_text("{}")
    with pytest.raises(UserError, match="damaged"):
        WordTokenizer.load(path)

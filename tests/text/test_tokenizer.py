import pytest

from videosyn.core.errors import UserError
from videosyn.text.features import CutPrompt
from videosyn.text.tokenizer import WordTokenizer
from videosyn.weights import shipped_folder

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


@pytest.mark.parametrize(
    ("prompt", "read"),
    [
        ("A red ball bounces.", "a red ball bounces"),
        ("A red ball. It bounces!", "a red ball , it bounces"),
        ("a red ball... bounces?!", "a red ball , bounces"),
        ("a red ball… bounces — it \u2013 red;", "a red ball , bounces , it , red"),
        ("a red ball, — bounces", "a red ball , bounces"),
        ("“A red” (ball) 'bounces' [it] «red» _ball_", "a red ball bounces it red ball"),
        ("the ball\u2019s red, a ball's red", "the ball red , a ball red"),
        ("a left\u2011red ball", "a left - red ball"),
        ("。a red ball\uff01", "a red ball"),
        ("*red*ball* \u200b", "red ball"),
        ("...", ""),
        ("a red dragon. bounces", "a red dragon , bounces"),
    ],
)
def test_signs_never_learned_are_a_comma_between_clauses_or_nothing(prompt, read):
    nano = WordTokenizer.from_words("a red ball the it left bounces , -".split())
    assert nano.decode(encode(nano, prompt)) == read
    assert encode(nano, prompt) == encode(nano, read)
    assert nano.unknown_words(prompt) == (["dragon"] if "dragon" in prompt else [])


def test_signs_that_were_learned_are_read_as_they_were():
    footage = WordTokenizer.from_words(["the", "ball's", "red", "(wide)", "shot.", "5\u00d75", "--"])
    for prompt, count in (("the ball's (red) shot.", 9), ("5\u00d75 shot.", 3), ("the -- red", 4)):
        assert len(encode(footage, prompt)) == count + 1
        assert footage.unknown_words(prompt) == []
    assert footage.decode(encode(footage, "the red! shot")) == "the red shot"  # it has no comma


def test_the_shipped_model_knows_a_sentence_as_it_is_typed():
    folder = shipped_folder("nano")
    assert folder is not None
    nano = WordTokenizer.load(folder / "text_encoder" / "tokenizer.json")
    plain = encode(nano, "a red ball bounces, on the grass at sunset")
    assert encode(nano, "A “red” ball bounces; on the grass at sunset.") == plain
    assert nano.unknown_words("A (red) ball's light — bounces. It's red & blue!") == []


def test_every_byte_has_a_token(tokenizer):
    assert len(tokenizer) == 2 + 256 + 1 + len({"zig", "-", "zag"} | set(WORDS)) - 1


def test_the_empty_prompt_is_the_end_alone(tokenizer):
    assert encode(tokenizer, "") == encode(tokenizer, "  ") == [tokenizer.end_id]


def test_a_cut_is_warned_of_and_says_what_is_lost(tokenizer):
    with pytest.warns(UserWarning, match=r"7 tokens, the model reads 4: 'the grass \.' is ignored"):
        ids = encode(tokenizer, "ball on a the grass .", 4)
    assert len(ids) == 4
    assert ids[-1] == tokenizer.end_id


def test_a_word_cut_in_its_middle_is_named_whole_and_as_it_was_typed(tokenizer):
    with pytest.warns(CutPrompt, match="12 tokens, the model reads 7: 'DRAGON” on Grass' is ignored"):
        encode(tokenizer, "a red “DRAGON” on Grass", 7)


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

import pytest

from videosyn.core.marks import plain_marks

KNOWN = frozenset(",:-")


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("A ball.", "A ball "),
        ("one. two", "one, two"),
        ("one\u2026 two", "one, two"),
        ("one ... two", "one ,   two"),
        ("one \u2014 two \u2013 three", "one , two , three"),
        ("one, (two)", "one,  two "),
        ("from left to right: one!", "from left to right: one "),
        ("it\u2019s one's", "it   one  "),
        ("left-moving, left\u2011moving", "left-moving, left-moving"),
        ("one\n\ntwo\0", "one\n\ntwo "),
        ("one,", "one,"),
        ("\U0001f409 7\u00d77", "\U0001f409 7 7"),
    ],
)
def test_unknown_marks_part_or_go_and_places_stay(text, plain):
    assert plain_marks(text, KNOWN) == plain
    assert len(plain) == len(text)


def test_known_marks_stay_and_no_unknown_comma_appears():
    assert plain_marks("it's (one). Two!", frozenset("'().")) == "it's (one). Two "
    assert plain_marks("the ball\u2019s \u2018one\u2019", frozenset("'")) == "the ball's 'one'"
    assert plain_marks("one; two, three", frozenset()) == "one  two  three"
    assert plain_marks("zig-zag \u2013 one", frozenset(",")) == "zig zag , one"

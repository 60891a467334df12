from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from videosyn.core.config import from_dict, load_json, save_json, to_dict
from videosyn.core.errors import UserError


@dataclass(frozen=True)
class InnerConfig:
    rate: float = 1.0
    widths: tuple[int, ...] = (1, 2)


@dataclass(frozen=True)
class OuterConfig:
    width: int
    kind: Literal["a", "b"] = "a"
    inner: InnerConfig = field(default_factory=InnerConfig)
    limit: int | None = None
    place: Path = Path("here")
    flag: bool = False
    pair: tuple[int, float] = (1, 2.0)
    names: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"width must be at least 1, got {self.width}")


FULL = OuterConfig(3, "b", InnerConfig(2.0, (4, 5, 6)), 7, Path("there"), True, (8, 9.0), {"x": 1})


def test_a_config_survives_json(tmp_path):
    save_json(FULL, tmp_path / "config.json")
    assert load_json(OuterConfig, tmp_path / "config.json") == FULL


def test_lists_become_tuples_ints_become_floats_and_notes_are_skipped():
    config = from_dict(OuterConfig, {"width": 3, "inner": {"rate": 2, "widths": [4]}, "_class_name": "any"})
    assert config.inner == InnerConfig(2.0, (4,))
    assert isinstance(config.inner.rate, float)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({}, "OuterConfig needs width"),
        ({"width": 1, "wdith": 2}, "unknown key 'wdith'"),
        ({"width": "1"}, "width must be int, got '1'"),
        ({"width": True}, "width must be int, got True"),
        ({"width": 1.5}, "width must be int, got 1.5"),
        ({"width": 1, "flag": 1}, "flag must be bool, got 1"),
        ({"width": 1, "kind": "c"}, "kind must be one of 'a', 'b', got 'c'"),
        ({"width": 1, "inner": {"q": 1}}, "inner: unknown key 'q'"),
        ({"width": 1, "inner": {"widths": [1, "2"]}}, "inner: widths[1] must be int"),
        ({"width": 1, "limit": "none"}, "limit must be int, got 'none'"),
        ({"width": 1, "pair": [1]}, "pair must have 2 values, got 1"),
        ({"width": 0}, "width must be at least 1, got 0"),
    ],
)
def test_what_does_not_fit_is_an_error_that_names_it(mapping, message):
    with pytest.raises(UserError) as caught:
        from_dict(OuterConfig, mapping)
    assert message in str(caught.value)


def test_another_classs_file_is_refused(tmp_path):
    save_json(InnerConfig(), tmp_path / "config.json")
    with pytest.raises(UserError, match="must describe a Outer, but its _class_name is 'Inner'"):
        load_json(OuterConfig, tmp_path / "config.json")


@pytest.mark.parametrize("text", ["", "{", "[1]", "\x00\xff"])
def test_a_damaged_file_is_a_user_error(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError):
        load_json(OuterConfig, tmp_path / "config.json")


def test_a_missing_file_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="cannot read"):
        load_json(OuterConfig, tmp_path / "config.json")


def test_to_dict_holds_only_what_json_can():
    assert to_dict(FULL)["place"] == "there"
    assert to_dict(FULL)["inner"] == {"rate": 2.0, "widths": [4, 5, 6]}

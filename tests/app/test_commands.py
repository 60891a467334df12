"""Which command a line means, and what a line that means none is told."""

from __future__ import annotations

import shlex

import pytest

from videosyn.app.cli import run
from videosyn.app.commands import COMMANDS, group, overview


@pytest.mark.parametrize(
    ("line", "nearest"),
    [
        ("genrate", "generate"),
        ("genrate 'a red ball bounces on the grass'", "generate"),
        ("evaluate adherance", "evaluate adherence"),
        ("evalute adherance --num-prompts 3", "evaluate adherence"),
        ("evaluate recon", "evaluate reconstruction"),
        ("train vea configs/nano_vae.yaml", "train vae"),
        ("trian dit configs/nano_dit.yaml", "train dit"),
        ("convert pixart", "convert pixart-alpha"),
        ("convert open-sora", "convert open-sora-1.1"),
        ("eval adherence", "evaluate adherence"),
        ("evalute", "evaluate"),
        ("gen", "generate"),
        ("trian --help", "train"),
    ],
)
def test_the_nearest_command_is_named_in_one_line(capsys, line, nearest):
    assert run(shlex.split(line)) == 2
    output = capsys.readouterr()
    assert f"did you mean 'videosyn {nearest}'?" in output.err
    assert (output.out, output.err.count("\n")) == ("", 1)


@pytest.mark.parametrize("word", ["train", "evaluate", "convert"])
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_of_a_group_shows_its_commands_alone(capsys, word, flag):
    assert run([word, flag]) == 0
    shown = capsys.readouterr().out
    assert shown == overview(word) + "\n"
    for command in COMMANDS:
        assert (f"  {' '.join(command.words)} " in shown) == (command.words[0] == word)


@pytest.mark.parametrize("word", ["train", "evaluate", "convert"])
def test_a_group_alone_shows_its_commands_and_says_to_choose(capsys, word):
    assert run([word]) == 2
    output = capsys.readouterr()
    *shown, last = output.err.splitlines()
    assert output.out == ""
    assert shown == overview(word).splitlines()
    assert last.startswith(f"videosyn: {word} is several commands, choose one: videosyn {word} ")
    assert all(command.words[1] in last for command in group(word))


def test_a_command_that_others_begin_with_is_no_group(capsys):
    assert group("curate") == []
    with pytest.raises(SystemExit) as stop:
        run(["curate", "--help"])
    assert stop.value.code == 0
    assert "--output" in capsys.readouterr().out

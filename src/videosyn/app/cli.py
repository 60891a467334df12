"""The `videosyn` command: finds the command's options, reads them with tyro, runs it. Imports no torch itself.

A command is one row of COMMANDS: its words, one line of help, its options class, and the function that takes them;
the last two are imported only when that command is called. Next on the path: `generate.py`.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from videosyn.core.errors import UserError


@dataclass(frozen=True)
class Command:
    """`options` and `action` are "module:name"; the action takes the options and returns nothing."""

    words: tuple[str, ...]
    help: str
    options: str
    action: str


COMMANDS = (
    Command(("generate",), "films from prompts", "videosyn.app.options:GenerateConfig", "videosyn.app.generate:run"),
    Command(
        ("evaluate", "adherence"),
        "do the pixels show what the prompts ask?",
        "videosyn.evaluation.options:AdherenceConfig",
        "videosyn.evaluation.adherence:run",
    ),
)


def run(argv: Sequence[str]) -> int:
    """Runs one command line; returns the exit code: 0 done, 2 a user's mistake, 130 stopped by Ctrl-C."""
    try:
        if not argv or argv[0] in ("-h", "--help"):
            print(_overview())
        elif argv[0] == "--version":
            print(f"videosyn {import_module('videosyn').__version__}")
        else:
            _run_command(list(argv))
    except UserError as error:
        print(f"videosyn: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("videosyn: stopped, nothing half written", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output, such as `head`, went away
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def _run_command(argv: list[str]) -> None:
    command = _find(argv)
    rest = argv[len(command.words) :]
    import tyro

    config = tyro.cli(_named(command.options), args=rest, prog=" ".join(("videosyn", *command.words)))
    config.check()
    _named(command.action)(config)


def _find(argv: list[str]) -> Command:
    for command in COMMANDS:
        if tuple(argv[: len(command.words)]) == command.words:
            return command
    by_first_word = {command.words[0]: " ".join(command.words) for command in COMMANDS}
    nearest = difflib.get_close_matches(argv[0], by_first_word, n=1, cutoff=0.0)[0]
    given = " ".join(argv[:2]) if argv[0] in by_first_word else argv[0]
    raise UserError(f"no command {given!r}: did you mean 'videosyn {by_first_word[nearest]}'? See videosyn --help")


def _named(path: str) -> Any:
    module, name = path.split(":")
    return getattr(import_module(module), name)


def _overview() -> str:
    width = max(len(" ".join(command.words)) for command in COMMANDS)
    lines = [f"  {' '.join(command.words):<{width}}  {command.help}" for command in COMMANDS]
    return "\n".join(
        [
            "usage: videosyn COMMAND [options]",
            "",
            "A prompt in, a film out; footage in, a trained model out.",
            "",
            *lines,
            "",
            "videosyn COMMAND --help shows a command's options.",
        ]
    )

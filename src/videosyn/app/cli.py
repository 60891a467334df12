"""The `videosyn` command: finds the command's options, reads them with tyro, runs it. Imports no torch itself.

A command is one row of COMMANDS: its words, one line of help, its options class, and the function that takes them;
the last two are imported only when that command is called. Next on the path: `generate.py`.
"""

from __future__ import annotations

import contextlib
import difflib
import io
import itertools
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from videosyn.core.errors import UserError


@dataclass(frozen=True)
class Command:
    """`options`, `action` and `load` are "module:name". The action takes the options; what it returns is not used.

    `load` (options class, path) reads a YAML file: the command then takes one before its flags, which override it.
    """

    words: tuple[str, ...]
    help: str
    options: str
    action: str
    load: str | None = None


COMMANDS = (
    Command(("generate",), "films from prompts", "videosyn.app.options:GenerateConfig", "videosyn.app.generate:run"),
    Command(
        ("world",),
        "captioned clips of the procedural world",
        "videosyn.app.options:WorldConfig",
        "videosyn.app.world:run",
    ),
    Command(
        ("evaluate", "adherence"),
        "do the pixels show what the prompts ask?",
        "videosyn.evaluation.options:AdherenceConfig",
        "videosyn.evaluation.adherence:run",
    ),
    Command(
        ("evaluate", "reconstruction"),
        "what a VidVAE keeps of held-out clips",
        "videosyn.evaluation.options:ReconstructionConfig",
        "videosyn.evaluation.reconstruction:run",
    ),
    Command(
        ("train", "vae"),
        "a VidVAE: train vae CONFIG.yaml [--field value]",
        "videosyn.training.options:VAETraining",
        "videosyn.training.run:run_vae",
        "videosyn.training.options:load_options",
    ),
    Command(
        ("train", "dit"),
        "a VDiT and its text encoder: train dit CONFIG.yaml [--field value]",
        "videosyn.training.options:DiTTraining",
        "videosyn.training.run:run_dit",
        "videosyn.training.options:load_options",
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
    options, rest = _named(command.options), argv[len(command.words) :]
    prog = " ".join(("videosyn", *command.words))
    defaults = {}
    if command.load is not None:
        if not rest:
            raise UserError(f"{prog} needs a configuration: {prog} CONFIG.yaml")
        if not rest[0].startswith("-"):
            defaults["default"] = _named(command.load)(options, rest.pop(0))
    config = _parse(options, rest, prog, defaults)
    if hasattr(config, "check"):
        config.check()
    _named(command.action)(config)


def _parse(options: type, words: list[str], prog: str, defaults: dict[str, Any]) -> Any:
    """tyro's reading of the flags; the box that it draws around a mistake becomes a UserError of one line."""
    import tyro

    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            return tyro.cli(options, args=words, prog=prog, **defaults)
    except SystemExit as stop:
        if not stop.code:  # --help
            raise
        raise UserError(f"{_first_paragraph(box.getvalue())}: see {prog} --help") from None


def _first_paragraph(box: str) -> str:
    """The text of tyro's box up to its first empty line or rule, without title and frame (drawn in UTF-8 or not)."""
    lines = [line.strip("│ ") for line in box.splitlines()[1:]]
    ends = ["" if set(line) <= set("─-╰╯") else line for line in lines]
    start = itertools.dropwhile(lambda line: not line, ends)
    return " ".join(itertools.takewhile(bool, start)).rstrip(".")


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

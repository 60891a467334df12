"""The `videosyn` command: finds the command's options, reads them with tyro, runs it. Imports no torch itself.

The commands are the rows of `commands.py`. Next on the path: `generate.py`.
"""

from __future__ import annotations

import contextlib
import errno
import io
import itertools
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from videosyn.app.commands import HELP, find, group, overview
from videosyn.core.config import load_yaml
from videosyn.core.errors import UserError


def run(argv: Sequence[str]) -> int:
    """Runs one command line; returns the exit code: 0 done, 2 a user's mistake, 3 a training that was asked to stop and
    has saved what it had, 130 stopped by Ctrl-C.
    """
    try:
        if not argv or argv[0] in HELP:
            print(overview())
        elif argv[1:2] and argv[1] in HELP and group(argv[0]):
            print(overview(argv[0]))
        elif argv[0] == "--version":
            print(f"videosyn {import_module('videosyn').__version__}")
        else:
            return 3 if _run_command(list(argv)) == "stopped" else 0
    except UserError as error:
        print(f"videosyn: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(f"videosyn: {str(stop) or 'stopped, nothing half written'}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output, such as `head`, went away
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        print(f"videosyn: a file's name is too long, {str(error.filename)[:60]}...: use a shorter one", file=sys.stderr)
        return 2
    return 0


def _run_command(argv: list[str]) -> object:
    """-> what the command's action gives back."""
    if len(argv) == 1 and group(argv[0]):
        print(overview(argv[0]), file=sys.stderr)
    command = find(argv)
    options, rest = _named(command.options), argv[len(command.words) :]
    prog = " ".join(("videosyn", *command.words))
    defaults = {}
    if command.file == "first":
        if not rest:
            raise UserError(f"{prog} needs a configuration: {prog} CONFIG.yaml")
        if not rest[0].startswith("-"):
            defaults["default"] = load_yaml(options, rest.pop(0))
    elif command.file and (path := _take(command.file, rest)) is not None:
        defaults["default"] = load_yaml(options, path)
    config = _parse(options, rest, prog, defaults)
    if hasattr(config, "check_flags") and "default" in defaults:
        config.check_flags(defaults["default"])
    if hasattr(config, "check"):
        config.check()
    return _named(command.action)(config)


def _take(flag: str, words: list[str]) -> str | None:
    """The value of `flag`, as `--config x` or `--config=x`, which is then no longer among the words."""
    for place, word in enumerate(words):
        if word == flag:
            if place + 1 == len(words):
                raise UserError(f"{flag} needs a file: {flag} FILE.yaml")
            value = words[place + 1]
            del words[place : place + 2]
            return value
        if word.startswith(f"{flag}="):
            del words[place]
            return word.removeprefix(f"{flag}=")
    return None


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


def _named(path: str) -> Any:
    module, name = path.split(":")
    return getattr(import_module(module), name)

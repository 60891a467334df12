"""The `videosyn` command: finds the command's options, reads them with tyro, runs it. Imports no torch itself.

A command is one row of COMMANDS: its words, one line of help, its options class, and the function that takes them;
the last two are imported only when that command is called. Next on the path: `generate.py`.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import io
import itertools
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

from videosyn.core.config import load_yaml
from videosyn.core.errors import UserError


@dataclass(frozen=True)
class Command:
    """`options` and `action` are "module:name". The action takes the options; what it returns is not used.

    `file` says where a YAML file with the options may be named, which flags override: "first", before all flags, where
    it must be; "--config", after that flag, where it may be.
    """

    words: tuple[str, ...]
    help: str
    options: str
    action: str
    file: Literal["", "first", "--config"] = ""


COMMANDS = (
    Command(("generate",), "films from prompts", "videosyn.app.options:GenerateConfig", "videosyn.app.generate:run"),
    Command(
        ("serve",),
        "films over HTTP: an API and a web studio",
        "videosyn.app.serve.options:ServeOptions",
        "videosyn.app.serve.command:run",
    ),
    Command(
        ("world",),
        "captioned clips of the procedural world",
        "videosyn.app.options:WorldConfig",
        "videosyn.app.world:run",
    ),
    Command(
        ("curate", "dead-letters"),
        "work that failed for good: list it, or --requeue it",
        "videosyn.app.curation_options:DeadLettersOptions",
        "videosyn.app.curate:run_dead_letters",
    ),
    Command(
        ("curate",),
        "footage into captioned clips: curate SOURCES... -o DATASET",
        "videosyn.app.curation_options:CurateOptions",
        "videosyn.app.curate:run",
        "--config",
    ),
    Command(
        ("worker",),
        "works for curations of the queue engine",
        "videosyn.app.curation_options:WorkerOptions",
        "videosyn.app.curate:run_worker",
    ),
    Command(
        ("caption",),
        "what videos and pictures show: caption FILE_OR_FOLDER ...",
        "videosyn.app.caption_options:CaptionConfig",
        "videosyn.app.caption:run",
    ),
    Command(
        ("evaluate", "adherence"),
        "do the pixels show what the prompts ask?",
        "videosyn.evaluation.options:AdherenceConfig",
        "videosyn.evaluation.adherence:run",
    ),
    Command(
        ("evaluate", "loop"),
        "prompt to film to caption: does what comes back agree?",
        "videosyn.evaluation.loop_options:LoopConfig",
        "videosyn.evaluation.loop:run",
    ),
    Command(
        ("evaluate", "reconstruction"),
        "what VAEs keep of clips, as the paper's Table 3",
        "videosyn.evaluation.options:ReconstructionConfig",
        "videosyn.evaluation.reconstruction:run",
    ),
    Command(
        ("evaluate", "seams"),
        "what a video in pieces loses at their borders",
        "videosyn.evaluation.options:SeamsConfig",
        "videosyn.evaluation.seams:run",
    ),
    Command(
        ("evaluate", "vbench"),
        "films for VBench's prompts, its figures, the paper's Table 4",
        "videosyn.evaluation.vbench.options:VBenchConfig",
        "videosyn.evaluation.vbench.run:run",
    ),
    Command(
        ("evaluate", "compare"),
        "two models or settings, pair by pair, and a blind user study",
        "videosyn.evaluation.compare.options:CompareConfig",
        "videosyn.evaluation.compare.run:run",
    ),
    Command(
        ("evaluate", "study"),
        "counts the choices of a user study",
        "videosyn.evaluation.compare.options:StudyConfig",
        "videosyn.evaluation.compare.study:run",
    ),
    Command(
        ("evaluate", "dataset"),
        "an audit: captions, motion, looks, duplicates and text left",
        "videosyn.evaluation.audit.options:AuditConfig",
        "videosyn.evaluation.audit.run:run",
    ),
    Command(
        ("evaluate", "domains"),
        "where a model is good, and how that falls with length and size",
        "videosyn.evaluation.domains.options:DomainsConfig",
        "videosyn.evaluation.domains.run:run",
    ),
    Command(
        ("evaluate", "ablation"),
        "what time compression costs and saves: quality, seconds, memory, tokens",
        "videosyn.evaluation.ablation.options:AblationConfig",
        "videosyn.evaluation.ablation.run:run",
    ),
    Command(
        ("convert", "sd-vae"),
        "an image VAE, inflated to a VidVAE",
        "videosyn.app.convert_options:ImageVaeOptions",
        "videosyn.app.convert:run_sd_vae",
    ),
    Command(
        ("convert", "pixart-alpha"),
        "PixArt-alpha as a VDiT whose temporal part is new",
        "videosyn.app.convert_options:TransformerOptions",
        "videosyn.app.convert:run_pixart",
    ),
    Command(
        ("convert", "open-sora-1.1"),
        "Open-Sora 1.1's STDiT2 as a VDiT",
        "videosyn.app.convert_options:TransformerOptions",
        "videosyn.app.convert:run_open_sora",
    ),
    Command(
        ("cache",),
        "latents and text features of a configuration's clips: cache CONFIG.yaml",
        "videosyn.training.options:DiTTraining",
        "videosyn.training.run:run_cache",
        "first",
    ),
    Command(
        ("train", "vae"),
        "a VidVAE: train vae CONFIG.yaml [--field value]",
        "videosyn.training.options:VAETraining",
        "videosyn.training.run:run_vae",
        "first",
    ),
    Command(
        ("train", "dit"),
        "a VDiT and its text encoder: train dit CONFIG.yaml [--field value]",
        "videosyn.training.options:DiTTraining",
        "videosyn.training.run:run_dit",
        "first",
    ),
    Command(
        ("train", "captioner"),
        "a captioner: train captioner CONFIG.yaml [--field value]",
        "videosyn.training.captioner_options:CaptionerTraining",
        "videosyn.training.run:run_captioner",
        "first",
    ),
)


def run(argv: Sequence[str]) -> int:
    """Runs one command line; returns the exit code: 0 done, 2 a user's mistake, 3 a training that was asked to stop and
    has saved what it had, 130 stopped by Ctrl-C.
    """
    try:
        if not argv or argv[0] in ("-h", "--help"):
            print(_overview())
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
    command = _find(argv)
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

"""The commands of `videosyn`, and which of them a command line means. Imports no torch. Called by `cli.py`.

A command is one row of COMMANDS: its words, one line of help, its options class, and the function that takes them;
the last two are imported only when that command is called. Commands that share their first word are a group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

from videosyn.core.errors import UserError

HELP = ("-h", "--help")


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


def find(argv: Sequence[str]) -> Command:
    """The command that a line begins with. A UserError names the nearest one, or those of the group to choose from."""
    for command in COMMANDS:
        if tuple(argv[: len(command.words)]) == command.words:
            return command
    first, second = argv[0], "" if argv[1:2] and argv[1].startswith("-") else "".join(argv[1:2])
    names = [" ".join(command.words) for command in COMMANDS]
    if group(first) and not second:
        names = [command.words[1] for command in group(first)]
        raise UserError(f"{first} is several commands, choose one: videosyn {first} {' | '.join(names)}")
    if group(first):
        tried = [f"{first} {second}"]
    else:
        tried = [first, f"{first} {second}"] if second else [first]
        names += [] if second else sorted({command.words[0] for command in COMMANDS})
    _, given, nearest = max((_likeness(words, name), words, name) for words in tried for name in names)
    raise UserError(f"no command {given!r}: did you mean 'videosyn {nearest}'? See videosyn --help")


def _likeness(words: str, name: str) -> float:
    """0 to 1.3: a name's beginning is liker than what has as many letters in common."""
    return SequenceMatcher(None, words, name).ratio() + 0.3 * name.startswith(words)


def group(word: str) -> list[Command]:
    """The commands of two words that begin with this one; none where it is a command by itself."""
    commands = [command for command in COMMANDS if command.words[0] == word]
    return [] if any(command.words == (word,) for command in commands) else commands


def overview(word: str = "") -> str:
    """What --help shows: every command's line, or those of the group that `word` begins."""
    commands = group(word) if word else COMMANDS
    prog = f"videosyn {word}".rstrip()
    width = max(len(" ".join(command.words)) for command in commands)
    lines = [f"  {' '.join(command.words):<{width}}  {command.help}" for command in commands]
    about = [] if word else ["A prompt in, a film out; footage in, a trained model out.", ""]
    ending = f"{prog} COMMAND --help shows a command's options."
    return "\n".join([f"usage: {prog} COMMAND [options]", "", *about, *lines, "", ending])

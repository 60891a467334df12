"""`videosyn generate`: prompts in, film files out. torch is imported only once everything else is known to be right.

Next on the path: `sampling/pipeline.py`.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Generator, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videosyn import __version__
from videosyn.app.options import GenerateConfig, read_prompts
from videosyn.app.pictures import read_clip, read_picture
from videosyn.app.processes import joined, num_processes, own_device, rank
from videosyn.core.errors import UserError
from videosyn.core.files import check_writable
from videosyn.core.video_file import check_fps, check_suffix, write_video
from videosyn.sampling.model_index import ModelIndex, find_model, is_foreign

if TYPE_CHECKING:
    import numpy as np

    from videosyn.sampling.best_of import BestOf
    from videosyn.sampling.foreign import ForeignPipeline
    from videosyn.sampling.model_index import Defaults
    from videosyn.sampling.output import VideoOutput
    from videosyn.sampling.pipeline import VideoSynPipeline


CHEAPER = ("guidance_interval", "shift", "cache_threshold")
"""Flags that no model has a default for."""


def run(config: GenerateConfig) -> None:
    """Generates every film of a command, writes each as soon as it is made, and prints where it is."""
    prompts = read_prompts(config)
    folder = find_model(config.model)
    settings: dict[str, Any] = {
        "num_frames": config.frames,
        "height": config.height,
        "width": config.width,
        "num_steps": config.steps,
        "guidance": config.guidance,
        "fps": config.fps,
        "sampler": config.sampler,
    }
    given: dict[str, np.ndarray] = {}
    complete: Defaults | None = None
    if is_foreign(folder):
        _check_foreign(config)
        paths = film_paths(config.output, len(prompts) * config.num_videos)
    else:
        index = ModelIndex.load(folder)
        complete = index.defaults.updated(**settings)
        index.check_size(folder, complete.num_frames, complete.height, complete.width)
        paths = film_paths(config.output, len(prompts) * config.num_videos)
        if note := index.trained.note(complete.num_frames, complete.height, complete.width):
            _say(note)
        given = _given(config, complete)
        check_fps(config.output, complete.fps, complete.num_frames + len(given.get("extend", ())))
        settings = asdict(complete)
    if config.negative and settings["guidance"] == 1:
        _say("--negative does nothing with guidance 1, which switches it off: give --guidance above 1")
    cheaper = {name: value for name in CHEAPER if (value := getattr(config, name)) is not None}

    with contextlib.ExitStack() as stack:
        pipeline = _open(folder, config, stack)
        shared = _shared(pipeline, config, settings | cheaper, given)
        if complete is not None and rank() == 0:
            _announce(pipeline, complete, len(paths) * config.best_of)
        if config.best_of > 1:
            pipeline = _choosing(pipeline, config)
        if config.compile:
            stack.enter_context(_no_compiler_means_user_error())
        unwritten, told = iter(paths), set()

        def tell(note: str) -> None:
            if note not in told:
                _say(note)
            told.add(note)

        early = {} if complete is None else {"on_note": tell}  # other people's pipelines say it with the film
        films = _films(pipeline, prompts, config, settings | cheaper | early, given)
        for output in stack.enter_context(contextlib.closing(films)):
            for note in output.notes:
                tell(note)
            if complete is None:  # another model's film, of its own defaults where nothing was asked for
                size = zip(("num_frames", "height", "width"), output.frames.shape[1:4])
                shared |= dict(size) | {"fps": output.fps}
            if rank() == 0:
                _write(unwritten, output, shared)


def _films(
    pipeline: VideoSynPipeline | ForeignPipeline | BestOf,
    prompts: list[str],
    config: GenerateConfig,
    settings: dict[str, Any],
    given: dict[str, np.ndarray],
) -> Generator[VideoOutput, None, None]:
    """As many films at a time as are made together."""
    from tqdm import tqdm

    if unknown := pipeline.unknown_words([*prompts, config.negative or ""]):
        _say(f"words this model never learned: {', '.join(unknown)}")
    with tqdm(total=1, unit="step", leave=False, disable=rank() > 0 or None, file=sys.stderr) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield from pipeline.batches(
            prompts,
            **settings,
            negative_prompt=config.negative,
            seed=config.seed,
            num_videos=config.num_videos,
            progress=show,
            image=given.get("image"),
            extend=given.get("extend"),
            last_image=given.get("last_image"),
        )


def _shared(
    pipeline: VideoSynPipeline | ForeignPipeline,
    config: GenerateConfig,
    settings: dict[str, Any],
    given: dict[str, np.ndarray],
) -> dict[str, Any]:
    """The settings that every film's file keeps: with its prompt and seed, what makes it again."""
    from videosyn.core.runtime import dtype_name

    shared = {"model": config.model, **settings, "negative": config.negative}
    shared |= {"dtype": dtype_name(pipeline.dtype), "device": pipeline.device.type, "compile": config.compile}
    shared |= {"memory": config.memory} if config.memory != "full" else {}
    shared |= {"best_of": config.best_of, "captioner": config.captioner} if config.best_of > 1 else {}
    shared |= {"lora": str(config.lora), "lora_scale": config.lora_scale} if config.lora is not None else {}
    return shared | {name: str(getattr(config, name)) for name in given}


def _open(folder: Path, config: GenerateConfig, stack: contextlib.ExitStack) -> VideoSynPipeline | ForeignPipeline:
    """Imports torch, and diffusers where the model is one of its own. Processes of torchrun share our VDiT's work."""
    if is_foreign(folder):
        from videosyn.sampling.foreign import ForeignPipeline

        return ForeignPipeline.from_pretrained(folder, config.device, config.dtype)
    from videosyn.sampling.pipeline import VideoSynPipeline

    device = own_device(config.device)
    pipeline = VideoSynPipeline.from_pretrained(
        folder, device, config.dtype, config.memory, config.lora, config.lora_scale
    )
    if config.compile:
        pipeline.compile()
    if num_processes() > 1:
        import torch.distributed as dist

        stack.enter_context(joined(device))
        pipeline.vdit.process_group = dist.group.WORLD
    return pipeline


@contextlib.contextmanager
def _no_compiler_means_user_error() -> Iterator[None]:
    """torch looks for a compiler at the first call of what is to be compiled."""
    from torch._dynamo.exc import BackendCompilerFailed
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        yield
    except (BackendCompilerFailed, InvalidCxxCompiler) as error:
        if not isinstance(getattr(error, "inner_exception", error), InvalidCxxCompiler):
            raise
        raise UserError("--compile needs a C++ compiler (g++): install one, or leave it out") from error


def _choosing(pipeline: VideoSynPipeline | ForeignPipeline, config: GenerateConfig) -> BestOf:
    """Imports transformers."""
    from videosyn.captioner.clip_captioner import MemoryCaptioner, open_captioner
    from videosyn.sampling.best_of import BestOf

    captioner = open_captioner(config.captioner, config.device, config.dtype)
    if not isinstance(captioner, MemoryCaptioner):
        raise UserError(f"best-of needs a captioner of ours, and {config.captioner} is none: use nano")
    return BestOf(pipeline, captioner, config.best_of)


def _announce(pipeline: VideoSynPipeline | ForeignPipeline, asked: Defaults, num_films: int) -> None:
    """Says before it begins how long it takes, where it is long."""
    from videosyn.sampling.duration import note_if_long
    from videosyn.sampling.pipeline import VideoSynPipeline

    if isinstance(pipeline, VideoSynPipeline) and (note := note_if_long(pipeline, asked, num_films)):
        _say(note)


def _check_foreign(config: GenerateConfig) -> None:
    if num_processes() > 1:
        raise UserError(f"several processes work with VideoSyn models alone: {config.model} is none")
    for flag in ("image", "extend", "last_image", "sampler", "guidance_interval", "shift", "lora"):
        if getattr(config, flag) is not None:
            raise UserError(f"--{flag.replace('_', '-')} works with VideoSyn models alone: {config.model} is none")
    if config.compile:
        raise UserError(f"--compile works with VideoSyn models alone: {config.model} is none")
    if config.memory != "full":
        raise UserError(f"--memory works with VideoSyn models alone: {config.model} is none")
    if config.fps is not None:
        check_fps(config.output, config.fps, config.frames or 1)


def _given(config: GenerateConfig, settings: Defaults) -> dict[str, np.ndarray]:
    """Arguments of the pipeline: what the film is to begin or end with. Says what had to be cut away."""
    size = (settings.height, settings.width)
    read = {
        name: read_picture(path, *size)
        for name, path in (("image", config.image), ("last_image", config.last_image))
        if path is not None
    }
    if config.extend is not None:
        read["extend"] = read_clip(config.extend, *size, settings.fps)
    for _, notes in read.values():
        for note in notes:
            _say(note)
    return {name: frames for name, (frames, _) in read.items()}


def film_paths(output: Path, num_films: int) -> list[Path]:
    """One film keeps its name; several become NAME-1, NAME-2, ... with the same suffix."""
    if num_films == 1:
        paths = [output]
    else:
        paths = [output.with_name(f"{output.stem}-{number}{output.suffix}") for number in range(1, num_films + 1)]
    for path in paths:
        check_suffix(path)
        check_writable(path)
    return paths


def _write(paths: Iterator[Path], output: VideoOutput, shared: dict[str, Any]) -> None:
    """One file a film, at the next of `paths`."""
    from tqdm import tqdm

    for frames, prompt, seed, path in zip(output.frames, output.prompts, output.seeds, paths):
        settings = json.dumps(shared)
        metadata = {"prompt": prompt, "seed": str(seed), "settings": settings, "videosyn": __version__}
        write_video(path, frames, output.fps, metadata)
        tqdm.write(str(path))  # above the bar


def _say(note: str) -> None:
    from tqdm import tqdm

    if rank() == 0:
        tqdm.write(f"videosyn: {note}", file=sys.stderr)  # above a bar

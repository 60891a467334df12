"""Starts a run: data, model, step, loop.

    python -m videosyn.training.run vae configs/nano_vae.yaml --max-minutes 5

`videosyn train` calls `run_vae` and `run_dit` with the same options.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from videosyn.core.config import load_json, load_yaml, to_dict
from videosyn.core.errors import UserError
from videosyn.training.cpu_runtime import tune
from videosyn.training.options import DiTTraining, Training, VAETraining

STOPPED = 3
"""Exit code of a run that was asked to leave."""


def run_vae(options: VAETraining) -> str:
    """Trains a VidVAE, then measures its latents' mean and spread -> "finished", or "stopped" when asked to leave.

    The model is in `options.out`/model. Calling it again continues.
    """
    tune()
    import torch

    from videosyn.core.model_folder import load_state, load_strict
    from videosyn.dataset.batches import CropBatches
    from videosyn.dataset.buckets import parse_buckets
    from videosyn.dataset.latent_cache import calibrate_folder, load_vae
    from videosyn.dataset.world_clips import TRAIN_SEEDS, WorldClips
    from videosyn.training.loop import train
    from videosyn.training.vae_step import VAEStep
    from videosyn.vidvae import presets
    from videosyn.vidvae.model import VidVAE

    device, dtype = _begin(options)
    shapes = parse_buckets(options.clips)
    clips = None
    if options.num_clips:
        how = {"fps": options.fps, "workers": options.workers, "device": str(device), "on_shard": _counter("clips")}
        clips = WorldClips.build(options.cache, shapes, options.num_clips, **how)
    torch.manual_seed(options.seed)
    vae = VidVAE(_preset(presets, options.preset))
    if options.init:
        _check_same(vae.config, options.init, latents_mean=(), latents_std=())
        load_strict(vae, load_state(options.init), options.init)
    vae = vae.to(device, dtype)
    batches = CropBatches(clips, shapes, TRAIN_SEEDS, options.seed, options.fps, str(device))
    outcome = train(options, VAEStep(options, vae, batches))
    model = Path(options.out) / "model"
    if outcome == "finished" and not load_vae(model).config.latents_std:
        calibrate_folder(model, shapes[0], fps=options.fps, device=str(device), dtype=options.dtype)
    return outcome


def run_dit(options: DiTTraining) -> str:
    """Trains a VDiT with its text encoder -> "finished", or "stopped" when asked to leave.

    `options.out`/model is a whole pipeline folder, the VidVAE included. Calling it again continues.
    """
    tune()
    import torch

    from videosyn.core.model_folder import load_state, load_strict
    from videosyn.dataset.batches import CaptionedLatents
    from videosyn.dataset.buckets import parse_buckets
    from videosyn.dataset.latent_cache import LatentCache, calibrate_folder, load_vae, write_latents
    from videosyn.diffusion.flow import FlowMatching
    from videosyn.text.config import NanoTextEncoderConfig
    from videosyn.text.nano import NanoTextEncoder
    from videosyn.text.tokenizer import WordTokenizer
    from videosyn.training.dit_step import DiTStep
    from videosyn.training.loop import train
    from videosyn.training.reading import learn_to_read
    from videosyn.vdit import presets
    from videosyn.vdit.model import VDiT
    from videosyn.world.caption import vocabulary

    device, dtype = _begin(options)
    buckets = parse_buckets(options.buckets)
    vae = load_vae(options.vae)
    config = _preset(presets, options.preset)
    if vae.config.latent_channels != config.latent_channels:
        raise UserError(
            f"the VDiT {options.preset} wants {config.latent_channels} latent channels, {options.vae} gives "
            f"{vae.config.latent_channels}: choose another preset or VidVAE"
        )
    if not vae.config.latents_std:
        longest = buckets[0]
        calibrate_folder(options.vae, longest, options.calibration_clips, options.fps, str(device), options.dtype)
        vae = load_vae(options.vae)
    shards = write_latents(
        options.cache,
        options.vae,
        buckets,
        options.num_clips,
        options.num_images,
        fps=options.fps,
        workers=options.workers,
        device=str(device),
        dtype=options.dtype,
        rendered=options.rendered or None,
        on_shard=_counter("latents"),
    )
    cache = LatentCache(shards, "train")
    with_things = options.thing_weight != 1.0 or options.naming_weight > 0
    clips = CaptionedLatents(cache, options.seed, options.caption_dropout, options.fps, with_things)
    torch.manual_seed(options.seed)
    tokenizer = WordTokenizer.from_words(vocabulary())
    vdit = VDiT(config)
    width = config.text_width
    text_config = NanoTextEncoderConfig(len(tokenizer), width=width, num_heads=max(1, width // 64))
    text_encoder = NanoTextEncoder(text_config, tokenizer)
    if options.init:
        for part, name in ((vdit, "transformer"), (text_encoder, "text_encoder")):
            _check_same(part.config, Path(options.init) / name)
            load_strict(part, load_state(Path(options.init) / name), Path(options.init) / name)
        if NanoTextEncoder.load(Path(options.init) / "text_encoder").tokenizer != tokenizer:
            raise UserError(f"init {options.init} has another vocabulary: its words would mean others")
    vdit, text_encoder = vdit.to(device, dtype), text_encoder.to(device)
    if options.text_steps and not options.init:
        learn_to_read(text_encoder, options.text_steps, options.seed, Path(options.out) / "text")
    text_encoder = text_encoder.to(dtype)
    step = DiTStep(options, vdit, text_encoder, vae.to(device, dtype), FlowMatching(options.base_tokens), clips)
    return train(options, step)


def _begin(options: Training):
    """Writes the options into the run folder -> device and dtype. Sets the number of threads."""
    import torch

    from videosyn.core.runtime import pick_device, pick_dtype

    if options.threads:
        torch.set_num_threads(options.threads)
    device = pick_device(options.device)
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "options.json").write_text(json.dumps(to_dict(options), indent=2) + "\n", encoding="utf-8")
    return device, pick_dtype(options.dtype, device)


def _check_same(config: Any, folder: str | Path, **known_later: Any) -> None:
    """Raises UserError unless a folder's config is `config`, but for what is `known_later`."""
    from videosyn.core.model_folder import CONFIG_NAME

    found = dataclasses.replace(load_json(type(config), Path(folder) / CONFIG_NAME), **known_later)
    for field in dataclasses.fields(config):
        here, there = getattr(config, field.name), getattr(found, field.name)
        if here != there:
            raise UserError(f"init {folder} is another model: its {field.name} is {there}, the preset's is {here}")


def _preset(presets, name: str):
    """`presets.NANO` for "nano"; a UserError lists the names where there is none."""
    names = [each.lower() for each in vars(presets) if each.isupper() and dataclasses.is_dataclass(vars(presets)[each])]
    if name not in names:
        raise UserError(f"no preset {name!r}: use {', '.join(sorted(names))}")
    return getattr(presets, name.upper())


def _counter(what: str) -> Callable[[int, int], None]:
    def say(done: int, total: int) -> None:
        if done == total or done % max(1, total // 20) == 0:
            print(f"{what}: {done} of {total} shards", file=sys.stderr, flush=True)

    return say


def main(arguments: Sequence[str] | None = None) -> int:
    """`vae|dit CONFIG.yaml [--field value ...]`: flags override the file.

    Exit codes: 0 finished, 2 a user's mistake, 3 stopped before the end as asked; the same command then goes on.
    """
    import tyro

    arguments = list(sys.argv[1:] if arguments is None else arguments)
    kinds = {"vae": (VAETraining, run_vae), "dit": (DiTTraining, run_dit)}
    try:
        if not arguments or arguments[0] not in kinds:
            raise UserError("say what to train: vae or dit, then a configuration such as configs/nano_vae.yaml")
        cls, run = kinds[arguments[0]]
        rest = arguments[1:]
        default = load_yaml(cls, rest.pop(0)) if rest and not rest[0].startswith("-") else cls(max_minutes=20)
        outcome = run(tyro.cli(cls, args=rest, default=default))
    except UserError as error:
        print(f"videosyn: {error}", file=sys.stderr)
        return 2
    return 0 if outcome == "finished" else STOPPED


if __name__ == "__main__":
    sys.exit(main())

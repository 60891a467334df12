"""Makes and trains a VDiT: its latents, its text encoder, its start. Called by `run.py`; a step: `dit_step.py`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from videosyn.core.config import load_json, read_json
from videosyn.core.errors import UserError
from videosyn.core.model_folder import CONFIG_NAME, load_state, load_strict
from videosyn.dataset.buckets import parse_buckets
from videosyn.dataset.decoders import Decoders
from videosyn.dataset.footage_batches import FootageBatch
from videosyn.dataset.footage_cache import CachedLatents, CachedText, write_footage_latents, write_text_features
from videosyn.dataset.latent_cache import calibrate_folder, encode_frames, load_vae, write_latents
from videosyn.dataset.shards import Shard
from videosyn.diffusion.epsilon import EpsilonDDPM
from videosyn.diffusion.flow import FlowMatching
from videosyn.sampling.foreign_vae import load_any_vae
from videosyn.sampling.model_index import Defaults, Trained, is_foreign_vae
from videosyn.sampling.pipeline import VideoSynPipeline
from videosyn.sampling.storage import OBJECTIVE, OBJECTIVE_CONFIG, TEXT, VDIT
from videosyn.text.config import NanoTextEncoderConfig
from videosyn.text.features import TextEncoder
from videosyn.text.nano import NanoTextEncoder
from videosyn.text.t5 import T5TextEncoder
from videosyn.text.tokenizer import WordTokenizer
from videosyn.training import dit_step
from videosyn.training.blocks import blocks_of, compile_blocks, recompute
from videosyn.training.dit_batches import check_buckets, check_shared_by
from videosyn.training.footage_source import FootageSource, footage_source, tell
from videosyn.training.loop import train
from videosyn.training.options import DiTTraining
from videosyn.training.parallel import Processes, shard
from videosyn.training.reading import learn_to_read
from videosyn.training.run import check_same, counter, preset
from videosyn.training.saving import frozen_text
from videosyn.training.world_source import held_out_latents, world_latents
from videosyn.vdit import presets
from videosyn.vdit.config import VDiTConfig
from videosyn.vdit.model import VDiT
from videosyn.vdit.widen import with_map
from videosyn.vidvae.config import VidVAEConfig
from videosyn.vidvae.model import VidVAE
from videosyn.world.caption import vocabulary

MAX_CAPTION_TOKENS = 256
"""Longest caption that a small text encoder reads."""
EPSILON_SAMPLER = "ddim"
"""Of sample sheets, and the trained model's own."""


def train_dit(options: DiTTraining, processes: Processes, device: torch.device, dtype: torch.dtype) -> str:
    """-> "finished" or "stopped". The pipeline, or the adapter's file, lies in `options.out`/model."""
    source = _source(options)
    vae = _calibrated_vae(options, source, processes, device)
    config = vdit_config(options)
    if vae.config.latent_channels != config.latent_channels:
        raise UserError(
            f"the VDiT {options.preset} wants {config.latent_channels} latent channels, {options.vae} gives "
            f"{vae.config.latent_channels}: choose another preset or VidVAE"
        )
    check_buckets(parse_buckets(options.buckets), vae, config.patch_size, options.sequence_parallel)
    team = processes.team(options.sequence_parallel)
    check_shared_by(options, vae, config.patch_size, processes.count)
    if source is None and (vae.time_factor, vae.space_factor) != (4, 8):
        raise UserError(
            f"where the world's things lie is known on a grid of 4x8x8 pixels, {options.vae} has "
            f"{vae.time_factor}x{vae.space_factor}x{vae.space_factor}: give another VidVAE, or data"
        )
    objective = objective_of(options)
    if isinstance(objective, EpsilonDDPM):
        if find_spec("diffusers") is None:
            raise UserError("sample sheets of the epsilon objective need diffusers: pip install 'videosyn[diffusers]'")
        if options.sheet_steps:
            objective.check_steps(EPSILON_SAMPLER, options.sheet_steps)
    prompts = _prompts(options, source)
    written = _write_cache(options, source, prompts, processes, device)
    torch.manual_seed(options.seed)
    text_encoder = _text_encoder(options, config, source, device, dtype, written[1])
    vdit = VDiT(config)
    if options.init:
        _load_init(options, vdit, text_encoder)
    if options.lora_rank:
        from videosyn.training.lora import add_adapter

        add_adapter(vdit, options.lora_rank, options.lora_targets)
    vdit = vdit.to(device, torch.float32 if processes.shards else dtype)
    if isinstance(text_encoder, NanoTextEncoder):
        text_encoder = text_encoder.to(device)
        if options.text_steps and not options.init:
            _first_lesson(options, processes, text_encoder)
        text_encoder = text_encoder.to(torch.float32 if processes.shards else dtype)
    _prepare(options, processes, vdit, text_encoder, dtype)
    vae = vae.to(device, dtype)
    buckets = parse_buckets(options.buckets) if source is None else source.buckets
    pipeline = VideoSynPipeline(vae, vdit, text_encoder, objective, *_index_of(options, buckets))
    decoders = Decoders(0 if source is None or options.cached else options.workers)
    try:
        clips, held_out = _clips(options, source, written[0], vae, decoders, config.map_channels > 0)
        step = dit_step.DiTStep(options, pipeline, clips, buckets, held_out, prompts, bool(options.lora_rank), team)
        return train(options, step, processes=processes)
    finally:
        decoders.close()


def check_stages(stages: Sequence[DiTTraining], processes: int) -> None:
    """A UserError, before the first stage begins, where so many processes cannot compute one of them."""
    patch_size = vdit_config(stages[0]).patch_size  # a later stage has the size of the first one
    for stage in stages:
        vae = load_json(VidVAEConfig, Path(stage.vae) / CONFIG_NAME)
        check_buckets(parse_buckets(stage.buckets), vae, patch_size, stage.sequence_parallel)
        check_shared_by(stage, vae, patch_size, processes)


def fill_cache(options: DiTTraining, processes: Processes, device: torch.device) -> None:
    """What `train_dit` does first: latents of all clips, and features of their captions from a frozen encoder."""
    source = _source(options)
    if is_foreign_vae(Path(options.vae)):  # it normalises its latents itself
        check_buckets(parse_buckets(options.buckets), load_any_vae(options.vae), patch_size=1)
    else:
        _calibrated_vae(options, source, processes, device)
    _write_cache(options, source, _prompts(options, source), processes, device)


def vdit_config(options: DiTTraining) -> VDiTConfig:
    """Of the preset, or of the model in `init`. What has no map begins with none: footage, and noise prediction."""
    if options.preset == "init" and not options.init:
        raise UserError("preset init means the size of the model in init: set init to a model's folder")
    there = load_json(VDiTConfig, Path(options.init) / VDIT / CONFIG_NAME) if options.init else None
    if options.preset == "init":
        assert there is not None
        return there
    config = preset(presets, options.preset)
    if options.data or options.objective == "epsilon":
        return dataclasses.replace(config, map_channels=there.map_channels if there else 0)
    return config


def objective_of(options: DiTTraining) -> FlowMatching | EpsilonDDPM:
    if options.preset == "init":
        path = Path(options.init) / OBJECTIVE / OBJECTIVE_CONFIG
        is_epsilon = read_json(path).get("_class_name") == EpsilonDDPM.__name__
        return load_json(EpsilonDDPM if is_epsilon else FlowMatching, path)
    return EpsilonDDPM() if options.objective == "epsilon" else FlowMatching(options.base_tokens)


def _source(options: DiTTraining) -> FootageSource | None:
    """None: the world."""
    if not options.data:
        return None
    return footage_source(options, parse_buckets(options.buckets), options.validation_clips)


def _prompts(options: DiTTraining, source: FootageSource | None) -> Sequence[str]:
    if options.prompts or source is None:
        return options.prompts or dit_step.PROMPTS
    held_out = {window.clip for windows in source.held_out.of.values() for window in windows}
    captions = [source.footage.clips[clip].caption for clip in sorted(held_out)] or source.captions()
    return tuple(dict.fromkeys(captions))[:4]


def _calibrated_vae(
    options: DiTTraining, source: FootageSource | None, processes: Processes, device: torch.device
) -> VidVAE:
    """On the CPU in fp32; its latents are measured first where nobody did."""
    vae = load_vae(options.vae)
    if not vae.config.latents_std and processes.rank == 0:
        clips = None if source is None else source.some_frames(Decoders(0), options.calibration_clips)
        bucket = parse_buckets(options.buckets)[0]
        calibrate_folder(options.vae, bucket, options.calibration_clips, options.fps, str(device), options.dtype, clips)
    processes.wait()  # also where this process found them measured: the first one may have just done it
    return vae if vae.config.latents_std else load_vae(options.vae)


def _write_cache(
    options: DiTTraining,
    source: FootageSource | None,
    prompts: Sequence[str],
    processes: Processes,
    device: torch.device,
) -> tuple[list[Any], list[Path]]:
    """-> shards of latents, and of text features; empty where there are none."""
    if source is None:
        return _world_shards(options, processes, device), []
    part, latents, texts = (processes.rank, processes.count), [], []
    how = {"workers": options.workers, "device": str(device), "load": load_any_vae}
    if options.cached:
        windows, on_shard = source.every_window(), counter("latents")
        latents = write_footage_latents(
            options.cache, options.vae, source.footage, windows, source.buckets,
            dtype=options.dtype, part=part, on_shard=on_shard, **how,
        )  # fmt: skip
    if (name := frozen_text(options)) and options.cached:
        captions = [*source.captions(), *prompts]
        texts = write_text_features(
            Path(options.cache) / "text",
            lambda: T5TextEncoder(name, dtype=_text_dtype(device), device=device),
            name,
            captions,
            part,
            counter("text features"),
        )
    processes.wait()
    return latents, texts


def _world_shards(options: DiTTraining, processes: Processes, device: torch.device) -> list[Shard]:
    def write() -> list[Shard]:
        return write_latents(
            options.cache,
            options.vae,
            parse_buckets(options.buckets),
            options.num_clips,
            options.num_images,
            fps=options.fps,
            workers=options.workers,
            device=str(device),
            dtype=options.dtype,
            rendered=options.rendered or None,
            on_shard=counter("latents"),
            load=load_any_vae,
        )

    if processes.rank == 0:
        shards = write()
        processes.wait()
        return shards
    processes.wait()
    return write()


def _text_dtype(device: torch.device) -> torch.dtype:
    return torch.bfloat16 if device.type == "cuda" else torch.float32


def _text_encoder(
    options: DiTTraining,
    config: VDiTConfig,
    source: FootageSource | None,
    device: torch.device,
    dtype: torch.dtype,
    features: list[Path],
) -> TextEncoder:
    if name := frozen_text(options):
        if features:
            return CachedText(features, device)
        return T5TextEncoder(name, dtype=_text_dtype(device), device=device)
    if options.init and (source is not None or options.preset == "init"):
        return NanoTextEncoder.load(Path(options.init) / TEXT).train()
    words, longest = vocabulary(), 64
    if source is not None:
        words = [word for caption in source.captions() for word in caption.split()]
        longest = min(MAX_CAPTION_TOKENS, 32 + 2 * max(len(caption.split()) for caption in source.captions()))
    tokenizer = WordTokenizer.from_words(words)
    width = config.text_width
    text_config = NanoTextEncoderConfig(
        len(tokenizer), width=width, num_heads=max(1, width // 64), max_tokens=max(64, longest)
    )
    return NanoTextEncoder(text_config, tokenizer)


def _first_lesson(options: DiTTraining, processes: Processes, text_encoder: NanoTextEncoder) -> None:
    """The first process learns, the others read from the folder what it has learnt."""
    if processes.rank:
        processes.wait()
    learn_to_read(text_encoder, options.text_steps, options.seed, Path(options.out) / "text")
    if not processes.rank:
        processes.wait()


def _load_init(options: DiTTraining, vdit: VDiT, text_encoder: TextEncoder) -> None:
    """The weights of `init`, strictly: all of them, or a UserError."""
    folder = Path(options.init) / VDIT
    there = load_json(VDiTConfig, folder / CONFIG_NAME)
    state = load_state(folder)
    if vdit.config.map_channels and not there.map_channels:
        check_same(vdit.config, folder, map_channels=vdit.config.map_channels)
        state = with_map(there, vdit.config, state)
    else:
        check_same(vdit.config, folder)
    load_strict(vdit, state, folder)
    if options.data or options.preset == "init" or not isinstance(text_encoder, NanoTextEncoder):
        return  # the text encoder is the folder's own already, or none of ours
    folder = Path(options.init) / TEXT
    check_same(text_encoder.config, folder)
    load_strict(text_encoder, load_state(folder), folder)
    if NanoTextEncoder.load(folder).tokenizer != text_encoder.tokenizer:
        raise UserError(f"init {options.init} has another vocabulary: its words would mean others")


def _prepare(
    options: DiTTraining, processes: Processes, vdit: VDiT, text_encoder: TextEncoder, dtype: torch.dtype
) -> None:
    """Compiling, recomputing and dividing, in this order, from outside the models."""
    blocks = blocks_of(vdit)
    if options.compile:
        compile_blocks(blocks)
    if options.gradient_checkpointing:
        recompute(blocks)
    if not processes.shards:
        return
    shard(vdit, blocks, dtype)
    if isinstance(text_encoder, NanoTextEncoder):
        shard(text_encoder, [], dtype)


def _index_of(options: DiTTraining, buckets: Sequence[Any]) -> tuple[Defaults, Trained]:
    first = parse_buckets(options.buckets)[0]
    defaults = Defaults(
        num_frames=first.frames,
        height=first.height,
        width=first.width,
        guidance=options.guidance,
        fps=options.clip_fps or options.fps if options.data else options.fps,
        sampler=EPSILON_SAMPLER if isinstance(objective_of(options), EpsilonDDPM) else "euler",
    )
    trained = Trained(
        max_frames=max(bucket.frames for bucket in buckets),
        max_pixels=max(bucket.height * bucket.width for bucket in buckets),
    )
    return defaults, trained


def _clips(
    options: DiTTraining,
    source: FootageSource | None,
    shards: list[Any],
    vae: VidVAE,
    decoders: Decoders,
    with_maps: bool,
) -> tuple[Any, list[Any]]:
    """-> batches, and held-out batches."""
    if source is None:
        bucket = parse_buckets(options.buckets)[0]
        return world_latents(options, shards, with_maps, next(vae.parameters()).device), held_out_latents(
            options, vae, bucket, with_maps
        )
    if options.cached:
        reader = CachedLatents(source.footage, shards, options.max_damaged, tell)
    else:
        reader = source.frames_reader(decoders, options.max_damaged)
    clips = source.batches(reader, options.seed, options.caption_dropout)
    if empty := [bucket.name for bucket in source.buckets if not clips.windows.of[bucket.name]]:
        raise UserError(
            f"no clip of bucket {', '.join(empty)} could be read when {options.cache} was made: mend the data"
        )
    held_out = source.held_out_batches(reader, max(1, min(options.batch_size, options.validation_clips)))
    return clips, [_as_latents(batch, vae) for batch in held_out]


def _as_latents(batch: FootageBatch, vae: VidVAE) -> FootageBatch:
    """Encoded, so that what is held out takes little memory."""
    if batch.video is None:
        return batch
    return dataclasses.replace(batch, video=None, latents=encode_frames(vae, batch.video).cpu())

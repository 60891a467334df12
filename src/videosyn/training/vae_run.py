"""Makes and trains a VidVAE. Called by `run.py`; what a step does: `vae_step.py`."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import torch

from videosyn.core.model_folder import load_state, load_strict
from videosyn.dataset.batches import CropBatches
from videosyn.dataset.buckets import parse_buckets
from videosyn.dataset.decoders import Decoders
from videosyn.dataset.footage_batches import FootageBatches
from videosyn.dataset.latent_cache import calibrate_folder, load_vae
from videosyn.dataset.world_clips import TRAIN_SEEDS, WorldClips
from videosyn.training.blocks import blocks_of, compile_blocks, recompute
from videosyn.training.footage_source import footage_source
from videosyn.training.loop import train
from videosyn.training.options import VAETraining
from videosyn.training.parallel import Processes
from videosyn.training.run import check_same, counter, preset
from videosyn.training.vae_step import VAEStep, held_out_footage, held_out_world
from videosyn.vidvae import presets
from videosyn.vidvae.model import VidVAE


def train_vae(
    options: VAETraining,
    processes: Processes,
    device: torch.device,
    dtype: torch.dtype,
    clock: Callable[[], float] = time.monotonic,
) -> str:
    """-> "finished" or "stopped". The model lies in `options.out`/model."""
    vae = make_vae(options).to(device, dtype)
    if options.compile:
        compile_blocks(blocks_of(vae))
    if options.gradient_checkpointing:
        recompute(blocks_of(vae))
    decoders = Decoders(options.workers if options.data else 0)
    try:
        clips, held_out, measured, fitted = _clips(options, processes, device, decoders)
        step = VAEStep(options, vae, clips, held_out, fitted)
        step.check_shared_by(processes.count)
        outcome = train(options, step, clock, processes)
        model = Path(options.out) / "model"
        if outcome == "finished" and processes.rank == 0 and not load_vae(model).config.latents_std:
            how = {"fps": options.fps, "device": str(device), "dtype": options.dtype}
            calibrate_folder(model, parse_buckets(options.clips)[0], clips=measured, **how)
    finally:
        decoders.close()
    return outcome


def make_vae(options: VAETraining) -> VidVAE:
    """Of the preset, or of the size in `init`; with random weights, or those of `init`."""
    torch.manual_seed(options.seed)
    if options.preset == "init":  # its latents move: their mean and spread are measured anew when it has finished
        given = load_vae(options.init)
        vae = VidVAE(dataclasses.replace(given.config, latents_mean=(), latents_std=()))
        vae.load_state_dict(given.state_dict())
        return vae.train()
    vae = VidVAE(preset(presets, options.preset))
    if options.init:
        check_same(vae.config, options.init, latents_mean=(), latents_std=())
        load_strict(vae, load_state(options.init), options.init)
    return vae


def _clips(options: VAETraining, processes: Processes, device: torch.device, decoders: Decoders):
    """-> batches, held-out clips, clips to measure latents on (None: of the world), and names of the crops that clips
    fit (None: all)."""
    if options.data:
        shapes = tuple({each.name: each for each in options.crop_buckets()}.values())
        source = footage_source(options, shapes, options.validation_clips, with_captions=False)
        reader = source.frames_reader(decoders, options.max_damaged)
        clips = FootageBatches(source.footage, source.windows, reader, options.seed, random_crops=True)
        fitted = {bucket.name for bucket in source.buckets}
        return clips, held_out_footage(source, reader), source.some_frames(decoders, 64), fitted
    shapes, clips = parse_buckets(options.clips), None
    if options.num_clips:
        how = {"fps": options.fps, "workers": options.workers, "device": str(device), "on_shard": counter("clips")}
        if processes.rank == 0:
            clips = WorldClips.build(options.cache, shapes, options.num_clips, **how)
        processes.wait()
        clips = clips or WorldClips.build(options.cache, shapes, options.num_clips, **how)
    batches = CropBatches(clips, shapes, TRAIN_SEEDS, options.seed, options.fps, str(device))
    return batches, held_out_world(options, device), None, None

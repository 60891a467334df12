"""Makes and trains a captioner: tokenizer, parts, clips. Called by `run.py`; what a step does: `captioner_step.py`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import torch

from videosyn.captioner import presets
from videosyn.captioner.config import CLIP_MEAN, CLIP_STD
from videosyn.captioner.model import Captioner
from videosyn.captioner.storage import TOKENIZER, load_captioner, load_tokenizer
from videosyn.captioner.tokenizer import make_tokenizer
from videosyn.captioner.vision import TransformersVision
from videosyn.core.errors import UserError
from videosyn.core.pretrained import load_strictly, place
from videosyn.dataset.buckets import Bucket, parse_buckets
from videosyn.dataset.decoders import Decoders
from videosyn.dataset.world_clips import TRAIN_SEEDS, scenes_of
from videosyn.training.captioner_options import CaptionerTraining
from videosyn.training.captioner_source import WorldFrames, held_out_frames, render_frames
from videosyn.training.captioner_step import CaptionerStep, FootageFrames, frames_of
from videosyn.training.checkpoint import checkpoints
from videosyn.training.footage_source import FootageSource, footage_source
from videosyn.training.loop import train
from videosyn.training.parallel import Processes
from videosyn.training.run import preset
from videosyn.world.caption import caption
from videosyn.world.dense import dense_caption

NUM_TEXTS = 4000
"""Captions of the world that a tokenizer is learned from."""


def train_captioner(options: CaptionerTraining, processes: Processes, device: torch.device, dtype: torch.dtype) -> str:
    """-> "finished" or "stopped". The captioner lies in `options.out`/model."""
    buckets = parse_buckets(options.buckets)
    source = footage_source(options, buckets, options.validation_clips) if options.data else None
    model = make_captioner(options, source)
    place(model, device, dtype)
    for part in options.frozen:
        getattr(model, part).requires_grad_(False)
    prompt = options.prompt or model.config.prompt
    retelling = "" if options.data or not options.retelling_share else options.retelling
    model.config = replace(model.config, prompt=prompt, retelling=retelling)
    decoders = Decoders(options.workers if source else 0)
    try:
        clips, own, held_out = _clips(options, source, buckets, model, prompt, processes, decoders)
        return train(options, CaptionerStep(options, model, clips, own, held_out), processes=processes)
    finally:
        decoders.close()


def make_captioner(options: CaptionerTraining, source: FootageSource | None = None) -> Captioner:
    """Of the preset, or all of `init`; with random weights, but for the encoder and language model that are named.

    All of it is to be trained.
    """
    torch.manual_seed(options.seed)
    if options.init:
        return load_captioner(options.init).train()
    config = preset(presets, options.preset)
    loaded = {}
    if options.vision:
        loaded["vision"] = _load("AutoModel", options.vision, "vision")
        vision = loaded["vision"].config.to_diff_dict()
        mean, std = _levels(options.vision, vision["model_type"])
        config = replace(config, vision=vision, image_px=_image_px(loaded["vision"]), keep_aspect=False)
        config = replace(config, image_mean=mean, image_std=std)
    if options.language:
        loaded["language"] = _load("AutoModelForCausalLM", options.language, "language")
        config = replace(config, language=loaded["language"].config.to_diff_dict())
        tokenizer = load_tokenizer(options.language)
    else:
        tokenizer = _learned(options) or make_tokenizer(_texts(options, source), config.language["vocab_size"])
        config = replace(config, language={**config.language, "vocab_size": len(tokenizer)})
    model = Captioner(config, tokenizer)
    if "vision" in loaded:
        model.vision = TransformersVision(loaded["vision"])
    if "language" in loaded:
        model.language = loaded["language"]
    return model.requires_grad_(True).train()  # what was loaded came frozen


def _load(kind: str, name: str, field: str) -> Any:
    """Weights of transformers, all accounted for; the image half of a model that has two."""
    import transformers

    if kind == "AutoModel":
        try:
            config = transformers.AutoConfig.from_pretrained(name)
        except (OSError, ValueError) as error:
            line = str(error).strip().splitlines()[0]
            raise UserError(f"{field}: cannot load {name!r} ({line}): give a folder or a hub id of weights") from error
        halves = {"clip": "CLIPVisionModel", "siglip": "SiglipVisionModel"}
        kind = halves.get(config.model_type.removesuffix("_vision_model"), kind)
    others = ("text_model.", "logit_", "text_projection", "visual_projection")
    return load_strictly(getattr(transformers, kind), name, field, others)


def _image_px(model: Any) -> int:
    size = getattr(model.config, "image_size", None)
    if not isinstance(size, int):
        raise UserError("vision must be an encoder of square pictures (CLIP, SigLIP)")
    return size


def _levels(name: str, model_type: str) -> tuple[Any, Any]:
    """Mean and standard deviation of the pictures an encoder learned from: what its files say, else its family's."""
    from transformers import BaseImageProcessor

    try:
        told, _ = BaseImageProcessor.get_image_processor_dict(name)
    except OSError:  # there is no such file
        told = {}
    family = ((0.5,) * 3, (0.5,) * 3) if model_type.startswith("siglip") else (CLIP_MEAN, CLIP_STD)
    mean, std = (tuple(told.get(key) or other) for key, other in zip(("image_mean", "image_std"), family))
    if not len(mean) == len(std) == 3:
        raise UserError(f"vision must be an encoder of pictures in red, green and blue, got {name!r}")
    return mean, std


def _learned(options: CaptionerTraining) -> Any | None:
    """The tokenizer of a run that goes on: learned anew, of data that have changed since, it would number tokens
    unlike the checkpoint's."""
    folder = Path(options.out) / "model" / TOKENIZER
    goes_on = folder.is_dir() and checkpoints(Path(options.out) / "checkpoints")
    return load_tokenizer(folder) if goes_on else None


def _texts(options: CaptionerTraining, source: FootageSource | None) -> Sequence[str]:
    asked = [options.prompt or preset(presets, options.preset).prompt, options.retelling] * 100
    if source is not None:
        return [*asked, *source.captions()]
    scenes = scenes_of(range(TRAIN_SEEDS, TRAIN_SEEDS + NUM_TEXTS), "train")
    told = [caption(scene, Random(scene.seed)) for scene in scenes]
    return [*asked, *told, *(dense_caption(scene) for scene in scenes)]


def _clips(
    options: CaptionerTraining,
    source: FootageSource | None,
    buckets: tuple[Bucket, ...],
    model: Captioner,
    prompt: str,
    processes: Processes,
    decoders: Decoders,
) -> tuple[Any, tuple[Bucket, ...], list[Any]]:
    """-> batches, the buckets that have clips, and held-out batches."""
    num_frames = model.config.num_frames
    if source is None:
        if processes.rank:
            processes.wait()
        shards = render_frames(options)
        if not processes.rank:
            processes.wait()
        return (
            WorldFrames(options, shards, num_frames, prompt, model.vision.patch_px),
            buckets,
            held_out_frames(options, buckets, prompt),
        )
    reader = source.frames_reader(decoders, options.max_damaged)
    batches = source.batches(reader, options.seed, 0.0)
    held_out = source.held_out_batches(reader, max(1, min(options.batch_size, options.validation_clips)))
    return (
        FootageFrames(batches, num_frames, prompt),
        source.buckets,
        [(frames_of(batch, num_frames, prompt), ()) for batch in held_out],
    )

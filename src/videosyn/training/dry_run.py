"""What a run would do, without doing it: every bucket's clips, batches, tokens and memory, and what is left out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from videosyn.core.config import load_json
from videosyn.core.errors import UserError
from videosyn.core.memory import available_cpu_bytes
from videosyn.core.model_folder import CONFIG_NAME
from videosyn.core.runtime import pick_device, pick_dtype
from videosyn.dataset.batches import batch_sizes, check_shared
from videosyn.dataset.buckets import Bucket, counts_by_share, parse_buckets
from videosyn.dataset.footage import read_footage
from videosyn.dataset.windows import Fitting, fit_windows
from videosyn.training.dit_batches import (
    check_buckets,
    check_shared_by,
    dit_batch_sizes,
    is_divided,
    latent_size,
    tokens_of,
)
from videosyn.training.dit_run import vdit_config
from videosyn.training.memory import count_parameters, predicted_bytes, state_bytes, vae_kept_bytes, vdit_kept_bytes
from videosyn.training.options import DiTTraining, Training, VAETraining
from videosyn.training.run import preset
from videosyn.training.saving import frozen_text, stages_of
from videosyn.vdit.config import VDiTConfig
from videosyn.vdit.model import VDiT
from videosyn.vidvae import presets as vidvae_presets
from videosyn.vidvae.config import VidVAEConfig
from videosyn.vidvae.model import VidVAE

T5_TOKENS, NANO_TOKENS = 250, 64
_COLUMNS = (
    "bucket",
    "share",
    "clips",
    "pieces",
    "batch",
    "batches an epoch",
    "tokens a clip",
    "tokens a batch",
    "memory",
)


@dataclass(frozen=True)
class Row:
    """A bucket in the table. `clips` and `pieces` (windows of clips) are None where clips are rendered as needed."""

    bucket: Bucket
    clips: int | None
    pieces: int | None
    batch: int
    tokens: int
    memory_bytes: int


def dry_run_dit(options: DiTTraining) -> str:
    """Prints the table of each stage -> "finished". A UserError where training would refuse, or memory not suffice."""
    config = vdit_config(options)  # a later stage has the size of the first one
    stages = stages_of(options)
    refused = [_print(stage, *dit_table(stage, config)) for stage in stages]
    return _verdict(refused)


def dry_run_vae(options: VAETraining) -> str:
    return _verdict([_print(options, *vae_table(options))])


def _verdict(refused: Sequence[str]) -> str:
    if why := next((each for each in refused if each), ""):
        raise UserError(why)
    return "finished"


def dit_table(options: DiTTraining, config: VDiTConfig) -> tuple[list[Row], list[str]]:
    """The buckets, and lines about what is left out.

    Memory is that of the VDiT's step. The VidVAE's weights come to it, and where nothing is `cached` what it takes to
    encode a batch, and a T5 encoder.
    """
    buckets = parse_buckets(options.buckets)
    vae = load_json(VidVAEConfig, Path(options.vae) / CONFIG_NAME)
    team = options.sequence_parallel
    check_buckets(buckets, vae, config.patch_size, team)
    dtype = pick_dtype(options.dtype, pick_device(options.device))
    counts, left_out = _counts(options, buckets, with_captions=True)
    sizes = dit_batch_sizes(options, buckets, vae, config.patch_size)
    trained, matrices = count_parameters(lambda: VDiT(config))
    frozen = 0
    if options.lora_rank:  # its own weights are few, those that it adapts have no gradients and no moments
        frozen, trained, matrices = trained * dtype.itemsize, 0, 0
    processes = int(os.environ.get("WORLD_SIZE") or team)
    check_shared_by(options, vae, config.patch_size, processes)
    shards = processes if options.parallel == "fsdp" else 1
    state = state_bytes(trained, matrices, dtype.itemsize, options.optimizer == "muon", shards) + frozen
    text_tokens = T5_TOKENS if frozen_text(options) else NANO_TOKENS

    def memory(bucket: Bucket, batch: int) -> int:
        """Where a team divides the clips: of as many frames as one process has of them."""
        frames, height, width = latent_size(bucket, vae)
        divided = is_divided((frames, height, width), config.patch_size, team)
        own = (-(-frames // team) if divided else frames, height, width)
        kept = vdit_kept_bytes(config, own, text_tokens, dtype, options.gradient_checkpointing)
        return predicted_bytes(state, kept, _at_once(batch, processes // (team if divided else 1), options.accumulate))

    tokens = [tokens_of(latent_size(bucket, vae), config.patch_size) for bucket in buckets]
    rows = [
        Row(bucket, *count, size, num_tokens, memory(bucket, size))
        for bucket, count, size, num_tokens in zip(buckets, counts, sizes, tokens)
    ]
    return rows, left_out


def vae_table(options: VAETraining) -> tuple[list[Row], list[str]]:
    buckets = tuple({each.name: each for each in options.crop_buckets()}.values())
    if options.preset == "init":
        config = load_json(VidVAEConfig, Path(options.init) / CONFIG_NAME)
    else:
        config = preset(vidvae_presets, options.preset)
    dtype = pick_dtype(options.dtype, pick_device(options.device))
    counts, left_out = _counts(options, buckets, with_captions=False)
    whole = options.batch_size * parse_buckets(options.crops)[0].volume
    sizes = batch_sizes(buckets, whole, options.max_batch_size, lambda bucket: bucket.volume)
    state = state_bytes(*count_parameters(lambda: VidVAE(config)), dtype.itemsize, options.optimizer == "muon")
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    check_shared(buckets, sizes, lambda _: processes)
    rows = []
    for bucket, count, size in zip(buckets, counts, sizes):
        kept = vae_kept_bytes(
            config, (bucket.frames, bucket.height, bucket.width), dtype, options.gradient_checkpointing
        )
        memory = predicted_bytes(state, kept, _at_once(size, processes, options.accumulate))
        rows.append(Row(bucket, *count, size, tokens_of(latent_size(bucket, config), 1), memory))
    return rows, left_out


def _at_once(batch: int, processes: int, accumulate: int) -> int:
    """Clips of a batch that one process computes at the same time."""
    own = -(-batch // processes)
    return -(-own // accumulate)


def _counts(
    options: Training, buckets: Sequence[Bucket], with_captions: bool
) -> tuple[list[tuple[int | None, int | None]], list[str]]:
    """Clips and pieces of each bucket, and lines about what is left out."""
    if options.data:
        footage = read_footage(options.data, with_captions)
        windows = fit_windows(footage, buckets, Fitting(options.clip_fps, options.max_windows, options.max_crop))
        counts: list[tuple[int | None, int | None]] = [
            (len({each.clip for each in some}), len(some)) for some in windows.of.values()
        ]
        return counts, _left_out([*footage.refused, *windows.unfit], windows.empty)
    if isinstance(options, DiTTraining):
        films = [bucket for bucket in buckets if bucket.frames > 1]
        images = [bucket for bucket in buckets if bucket.frames == 1]
        made = dict(zip(films, counts_by_share([bucket.share for bucket in films], options.num_clips)))
        if images:
            made |= dict(zip(images, counts_by_share([bucket.share for bucket in images], options.num_images)))
        for image in images:  # which are the first frames of all clips of their size, too
            made[image] += sum(made[film] for film in films if (film.height, film.width) == (image.height, image.width))
        return [(made[bucket], made[bucket]) for bucket in buckets], []
    assert isinstance(options, VAETraining)
    if not options.num_clips:
        return [(None, None)] * len(buckets), []
    shapes = parse_buckets(options.clips)
    made = dict(zip(shapes, counts_by_share([shape.share for shape in shapes], options.num_clips)))

    def holding(crop: Bucket) -> int:
        return sum(
            count
            for shape, count in made.items()
            if shape.frames >= crop.frames and shape.height >= crop.height and shape.width >= crop.width
        )

    return [(holding(bucket), holding(bucket)) for bucket in buckets], []


def _left_out(clips: list[tuple[str, str]], empty: list[str]) -> list[str]:
    lines = [f"left out: {name}, which {why}" for name, why in clips[:20]]
    if len(clips) > 20:
        lines.append(f"left out: {len(clips) - 20} more clips")
    return lines + [f"left out: bucket {name}, which no clip fits" for name in empty]


def _print(options: Training, rows: list[Row], left_out: list[str]) -> str:
    """-> why training would refuse; empty: it would not."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*_COLUMNS, title=options.out, title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    shares = sum(row.bucket.share for row in rows)
    for row in rows:
        an_epoch = "" if row.pieces is None else f"{row.pieces / row.batch:.1f}"
        table.add_row(
            row.bucket.name,
            f"{row.bucket.share / shares:.1%}",
            "" if row.clips is None else str(row.clips),
            "" if row.pieces is None else str(row.pieces),
            str(row.batch),
            an_epoch,
            str(row.tokens),
            str(row.tokens * row.batch),
            f"{row.memory_bytes / 1e9:.2f} GB",
        )
    console = Console(width=None if os.isatty(1) else 140)
    console.print(table)
    for line in left_out:
        print(line)
    print(verdict(max(row.memory_bytes for row in rows), memory_here(options)))
    if options.data and not any(row.pieces for row in rows):
        return f"none of the clips of {options.data} fits any bucket: change the buckets"
    if left_out and not options.drop_unfit:
        way_out = "change the buckets, or say --drop-unfit"
        return f"training of {options.out} refuses to begin while anything is left out: {way_out}"
    return ""


def memory_here(options: Training) -> int | None:
    """Bytes that a step may take on the run's device; None: unknown."""
    device = pick_device(options.device)
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return available_cpu_bytes() if device.type == "cpu" else None


def verdict(needed: int, here: int | None) -> str:
    said = f"the largest step takes about {needed / 1e9:.2f} GB a process"
    if here is None:
        return said
    if needed <= here:
        return f"{said}, {here / 1e9:.2f} GB are free here"
    return (
        f"{said}, only {here / 1e9:.2f} GB are free here: a smaller batch_size, accumulate, or gradient_checkpointing"
    )

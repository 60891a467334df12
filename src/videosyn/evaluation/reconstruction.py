"""`videosyn evaluate reconstruction`: clips through VAEs and back, and what is kept, laid out as the paper's Table 3.

Next on the path: `footage.py` (the clips), `metrics.py`, `temporal.py`, `reconstruction_page.py`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO

import numpy as np
import torch
from einops import rearrange
from torch import Tensor
from tqdm import tqdm

from videosyn.core.errors import UserError
from videosyn.core.files import atomic_file
from videosyn.evaluation.document import Film, plain, publish, settings_of
from videosyn.evaluation.footage import WORLD, Footage, Shape, clips_of
from videosyn.evaluation.frechet import Crowd, VideoFeatures, frechet
from videosyn.evaluation.metrics import edges, mean_psnr, psnr, ssim, stars
from videosyn.evaluation.options import ReconstructionConfig
from videosyn.evaluation.perceptual import Lpips
from videosyn.evaluation.reconstruction_page import Measured, document_of
from videosyn.evaluation.sources import check_same_shape, open_any_vae
from videosyn.evaluation.temporal import meeting_steps, motion_kept, psnr_by_place, temporal_error
from videosyn.sampling.foreign_vae import ForeignVae
from videosyn.sampling.pipeline import to_frames
from videosyn.vidvae.divide import DivideAndMerge, borders, decode_divided, encode_divided
from videosyn.vidvae.model import VidVAE

SHOWN = 3
"""Clips of each shape on the page."""


def run(config: ReconstructionConfig) -> dict[str, dict[str, dict]]:
    """Measures, prints tables, writes report.json, report.html and clips.jsonl (a line a clip) into the output folder.

    Returns figures by model and shape. Memory does not grow with the number of clips: only sums are kept. A shape that
    no clip is long enough for, and clips that cannot be read, become notes; a UserError where nothing is left.
    """
    shapes, notes = _shapes_with_clips(config)
    vaes = {name: open_any_vae(name, config.device, config.dtype) for name in config.model}
    lpips = Lpips.from_files(config.lpips_backbone, config.lpips_heads) if config.lpips_backbone else None
    video_model = VideoFeatures(config.video_model, config.device) if config.video_model else None
    unreadable: dict[Path, str] = {}
    found = {name: {str(shape): Measured() for shape in shapes} for name in vaes}
    films: list[tuple[str, list[Film]]] = []
    config.output.mkdir(parents=True, exist_ok=True)
    with (
        atomic_file(config.output / "clips.jsonl") as hidden,
        open(hidden, "w", encoding="utf-8") as lines,
        tqdm(total=len(shapes) * config.num_clips, unit="clip", disable=None, file=sys.stderr) as bar,
    ):
        for shape in shapes:
            originals, rebuilt = Crowd(), {name: Crowd() for name in vaes}
            room = SHOWN
            for some in _batches(config, shape, unreadable):
                video = _video(some)
                rows = [[Film.of("original", each.frames, each.fps)] for each in some[:room]]
                if video_model is not None:
                    originals.add(video_model(video))
                for name, vae in vaes.items():
                    decoded = _through(vae, video, found[name][str(shape)])
                    _measure(found[name][str(shape)], decoded, video, some, lpips, (name, shape, lines))
                    if config.seams and _has_seams(vae, shape):
                        _divided(found[name][str(shape)], vae, video)
                    if video_model is not None:
                        rebuilt[name].add(video_model(decoded))
                    for row, frames, each in zip(rows, to_frames(decoded[:room]), some):
                        row.append(Film.of(name, frames, each.fps))
                films += [(f"{shape}: {each.name}", row) for each, row in zip(some, rows)]
                room -= len(rows)
                bar.update(len(some))
            for name in vaes if video_model is not None else ():
                found[name][str(shape)].rfvd = frechet(originals, rebuilt[name])
    document = document_of(config, settings_of(config), found, films)
    document.notes += notes
    document.count_unreadable(list(unreadable.values()))
    publish(document, config.output)
    return document.data["models"]


def _shapes_with_clips(config: ReconstructionConfig) -> tuple[list[Shape], list[str]]:
    """The shapes that a clip is there for, and a note on each other one. A UserError where there is no clip at all."""
    shapes = [Shape.parse(word) for word in config.shapes]
    if config.clips == WORLD:
        return shapes, []
    lacking: dict[Shape, UserError] = {}
    for shape in shapes:
        try:
            next(clips_of(config.clips, shape, 1, config.seed))
        except UserError as error:
            lacking[shape] = error
    if len(lacking) == len(set(shapes)):
        raise lacking[min(lacking, key=lambda shape: shape.frames)]
    notes = [f"{shape} is left out: {error}." for shape, error in lacking.items()]
    return [shape for shape in shapes if shape not in lacking], notes


def _batches(config: ReconstructionConfig, shape: Shape, unreadable: dict[Path, str]) -> Iterator[tuple[Footage, ...]]:
    clips = clips_of(config.clips, shape, config.num_clips, config.seed, unreadable)
    while some := tuple(islice(clips, config.batch_size)):
        yield some


def _video(clips: Iterable[Footage]) -> Tensor:
    """(B, 3, T, H, W) float32 in [-1, 1]."""
    frames = torch.from_numpy(np.stack([clip.frames for clip in clips]))
    return rearrange(frames, "b t h w c -> b c t h w").float() / 127.5 - 1.0


def _through(vae: VidVAE | ForeignVae, video: Tensor, into: Measured) -> Tensor:
    """Encoded and decoded: (B, 3, T, H, W) float32 on the CPU, in [-1, 1]."""
    weight = next(vae.parameters())
    with torch.inference_mode():
        began = time.perf_counter()
        latents = vae.encode(video.to(weight))
        if latents.is_cuda:
            torch.cuda.synchronize(latents.device)
        middle = time.perf_counter()
        decoded = vae.decode(latents).float().cpu().clamp(-1.0, 1.0)
        ended = time.perf_counter()
    check_same_shape(decoded, video)
    into.latents = f"{'x'.join(map(str, latents.shape[2:]))} of {latents.shape[1]}"
    into.time_factor = (video.shape[2] - 1) // (latents.shape[2] - 1) if latents.shape[2] > 1 else 1
    if into.timed_clips:  # the first call also warms up
        frames = len(video) * video.shape[2]
        into.encoded_frames_per_s.add(frames / (middle - began))
        into.decoded_frames_per_s.add(frames / (ended - middle))
    into.timed_clips += len(video)
    return decoded


def _measure(
    into: Measured,
    decoded: Tensor,
    video: Tensor,
    clips: tuple[Footage, ...],
    lpips: Lpips | None,
    where: tuple[str, Shape, IO[str]],
) -> None:
    name, shape, lines = where
    meets = meeting_steps(shape.frames, into.time_factor)
    for index, clip in enumerate(clips):
        one, other = decoded[index : index + 1], video[index : index + 1]
        figures = {
            "psnr_db": float(psnr(one, other)[0]),
            "ssim": float(ssim(one, other)[0]),
            "mse": float((one - other).square().double().mean()),
            "edge_psnr_db": mean_psnr(one, other, edges(other)),
            "star_psnr_db": mean_psnr(one, other, stars(other)) if clip.starry else float("nan"),
        }
        if shape.frames > 1:
            figures["temporal_error"] = temporal_error(one, other)
            figures["motion_kept"] = motion_kept(one, other)
            if into.time_factor > 1:
                figures["temporal_error_between"] = temporal_error(one, other, meets)
                figures["temporal_error_within"] = temporal_error(one, other, ~meets)
            into.add_places(psnr_by_place(one, other))
        if lpips is not None:
            figures["lpips"] = float(lpips(one, other)[0])
        into.add(figures)
        lines.write(json.dumps(plain({"model": name, "shape": str(shape), "clip": clip.name, **figures})) + "\n")


def _has_seams(vae: VidVAE | ForeignVae, shape: Shape) -> bool:
    return isinstance(vae, VidVAE) and vae.time_factor > 1 and shape.frames > DivideAndMerge().segment_frames


def _divided(into: Measured, vae: VidVAE | ForeignVae, video: Tensor) -> None:
    """The paper's divide and merge, against the original: PSNR at the frames that segments share, and elsewhere."""
    assert isinstance(vae, VidVAE)
    rule = DivideAndMerge()
    given = video.to(next(vae.parameters()))
    with torch.inference_mode():
        decoded = torch.cat(list(decode_divided(vae, encode_divided(vae, given, rule), rule)), 2)
    decoded = decoded.float().cpu().clamp(-1.0, 1.0)
    seams = torch.zeros(video.shape[2], dtype=torch.bool)
    seams[borders(video.shape[2], vae.time_factor, rule)] = True
    steps = seams[1:] | seams[:-1]
    for one, other in zip(decoded.split(1), video.split(1)):
        into.add(
            {
                "divided_psnr_db_seams": mean_psnr(one[:, :, seams], other[:, :, seams]),
                "divided_psnr_db_inside": mean_psnr(one[:, :, ~seams], other[:, :, ~seams]),
                "divided_temporal_error_seams": temporal_error(one, other, steps),
                "divided_temporal_error_inside": temporal_error(one, other, ~steps),
            }
        )

"""What two trained VAEs keep of the same clips, with and without time compression; and what their models' films show.

Next: `run.py`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from videosyn.core.errors import UserError
from videosyn.core.model_folder import CONFIG_NAME
from videosyn.evaluation.ablation.options import AblationConfig
from videosyn.evaluation.comparison import adherence
from videosyn.evaluation.document import Film
from videosyn.evaluation.footage import Shape, clips_of
from videosyn.evaluation.judge.judge import judge
from videosyn.evaluation.metrics import psnr, ssim
from videosyn.evaluation.notes import told
from videosyn.evaluation.sources import open_vae
from videosyn.evaluation.temporal import temporal_error
from videosyn.sampling.model_index import find_model
from videosyn.sampling.pipeline import VideoSynPipeline, to_frames
from videosyn.vidvae.divide import DivideAndMerge, decode_divided, encode_divided
from videosyn.vidvae.model import VidVAE
from videosyn.world.parsed import to_parsed
from videosyn.world.prompts import held_out_prompts

SHOWN = 3
WITHOUT, WITH, DIVIDED = "no time compression", "time compression", "time compression, divide and merge"


@dataclass
class Kept:
    """Figures of every clip in order, by name, so that the ways can be compared pair by pair."""

    figures: dict[str, list[float]] = field(default_factory=dict)
    num_tokens: int = 0
    latents: str = ""

    def add(self, **figures: float) -> None:
        for name, value in figures.items():
            self.figures.setdefault(name, []).append(value)


def open_comparable(config: AblationConfig) -> dict[str, VidVAE]:
    """The two VidVAEs, by way. A UserError where one is missing, or the two do not compare."""
    vaes = {WITHOUT: open_vae(config.uncompressed, config.device, config.dtype)}
    vaes[WITH] = open_vae(config.compressed, config.device, config.dtype)
    _check_comparable(vaes)
    return vaes


def reconstructions(config: AblationConfig) -> tuple[dict[str, Kept], list[tuple[str, list[Film]]]]:
    """By way what is kept of every clip; the first clips for the page. A UserError where the two do not compare."""
    vaes = open_comparable(config)
    rule = DivideAndMerge(config.segment_frames)
    ways: dict[str, tuple[VidVAE, Callable[[VidVAE, Tensor], tuple[Tensor, Tensor]]]] = {
        WITHOUT: (vaes[WITHOUT], _whole),
        WITH: (vaes[WITH], _whole),
        DIVIDED: (vaes[WITH], lambda vae, video: _divided(vae, video, rule)),
    }
    found, films = {name: Kept() for name in ways}, []
    clips = clips_of("world", Shape.parse(config.shape), config.num_clips, config.seed)
    warm = False
    for clip in tqdm(clips, total=config.num_clips, unit="clip", disable=None, file=sys.stderr):
        video = torch.from_numpy(clip.frames).permute(3, 0, 1, 2)[None].float() / 127.5 - 1.0
        row = [Film.of("original", clip.frames)]
        if not warm:  # the first call of each way would be the slowest, of some more than of others
            with torch.inference_mode():
                for vae, through in ways.values():
                    through(vae, video.to(next(vae.parameters())))
            warm = True
        for name, (vae, through) in ways.items():
            began = time.perf_counter()
            with torch.inference_mode():
                latents, made = through(vae, video.to(next(vae.parameters())))
            decoded = made.float().cpu().clamp(-1, 1)
            seconds = time.perf_counter() - began
            found[name].add(
                psnr_db=float(psnr(decoded, video)[0]),
                ssim=float(ssim(decoded, video)[0]),
                temporal_error=temporal_error(decoded, video),
                seconds=seconds,
            )
            found[name].latents = f"{'x'.join(map(str, latents.shape[2:]))} of {latents.shape[1]}"
            found[name].num_tokens = latents.shape[2] * (latents.shape[3] // 2) * (latents.shape[4] // 2)
            if len(films) < SHOWN:
                row.append(Film.of(name, to_frames(decoded)[0]))
        if len(films) < SHOWN:
            films.append((clip.name, row))
    return found, films


def films(config: AblationConfig) -> tuple[dict[str, Kept], list[tuple[str, list[Film]]]]:
    """The same for whole models: films of held-out prompts, judged. Empty where a VidVAE alone is named."""
    if any(_is_vae(model) for model in (config.compressed, config.uncompressed)):
        return {}, []
    shape = Shape.parse(config.shape)
    found: dict[str, Kept] = {}
    shown: list[tuple[str, list[Film]]] = []
    prompts = held_out_prompts(config.num_prompts, config.seed)
    for name, model in ((WITHOUT, config.uncompressed), (WITH, config.compressed)):
        pipeline = VideoSynPipeline.from_pretrained(model, config.device, config.dtype)
        kept = found[name] = Kept()
        size: dict[str, Any] = {"num_frames": shape.frames, "height": shape.height, "width": shape.width}
        pipeline(prompts[0][0], **size, num_steps=2)  # warms up; ddpm and ddim want two
        for number, (text, scene) in enumerate(tqdm(prompts, unit="film", disable=None, file=sys.stderr)):
            began = time.perf_counter()
            made = told(pipeline(text, **size, seed=config.seed + number))
            seconds = time.perf_counter() - began
            verdict = adherence(to_parsed(scene, shape.frames), judge(made.frames[0]))
            kept.add(adherence=float(np.mean(list(verdict.values()))), all_shown=float(all(verdict.values())))
            kept.add(seconds=seconds)
            if number < SHOWN:
                film = Film.of(name, made.frames[0])
                if name == WITHOUT:
                    shown.append((text, [film]))
                else:
                    shown[number][1].append(film)
    return found, shown


def _is_vae(model: str) -> bool:
    return (find_model(model) / CONFIG_NAME).is_file()


def _check_comparable(vaes: dict[str, VidVAE]) -> None:
    if vaes[WITH].time_factor == 1 or vaes[WITHOUT].time_factor != 1:
        factors = (vaes[WITH].time_factor, vaes[WITHOUT].time_factor)
        raise UserError(f"--compressed must compress time and --uncompressed not; their factors are {factors}")
    channels = {name: vae.config.latent_channels for name, vae in vaes.items()}
    if len(set(channels.values())) > 1:
        raise UserError(f"the two must have the same latent channels, got {channels[WITH]} and {channels[WITHOUT]}")


def _whole(vae: VidVAE, video: Tensor) -> tuple[Tensor, Tensor]:
    latents = vae.encode(video)
    return latents, vae.decode(latents)


def _divided(vae: VidVAE, video: Tensor, rule: DivideAndMerge) -> tuple[Tensor, Tensor]:
    latents = encode_divided(vae, video, rule)
    return latents, torch.cat(list(decode_divided(vae, latents, rule)), 2)

"""`videosyn evaluate reconstruction`: held-out clips through a VidVAE and back, and what is kept of them.

Next on the path: `metrics.py`, `vidvae/model.py`.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict

import torch
from einops import rearrange
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from videosyn.core.files import atomic_file
from videosyn.evaluation.judge.bank import SUNLESS
from videosyn.evaluation.metrics import edges, mean_psnr, psnr, ssim, stars
from videosyn.evaluation.options import ReconstructionConfig
from videosyn.evaluation.sources import check_same_shape, open_any_vae
from videosyn.world.render import render
from videosyn.world.scene import Scene, sample_scene


def run(config: ReconstructionConfig) -> dict[str, float]:
    """Measures, prints a table, writes the JSON report, and returns its figures."""
    vae = open_any_vae(config.model, config.device, config.dtype)
    scenes = [sample_scene(config.seed * 1_000_000 + index, "held-out") for index in range(config.num_clips)]
    totals: dict[str, list[float]] = {"psnr_db": [], "ssim": [], "edge_psnr_db": [], "star_psnr_db": []}
    seconds = 0.0
    for start in tqdm(range(0, len(scenes), config.batch_size), unit="batch", disable=None, file=sys.stderr):
        some = scenes[start : start + config.batch_size]
        clips = render(some, config.frames, config.height, config.width)
        weight = next(vae.parameters())
        video = rearrange(clips, "b t h w c -> b c t h w").float() / 127.5 - 1.0
        with torch.inference_mode():
            latents = vae.encode(video.to(weight))
            began = time.perf_counter()
            decoded = vae.decode(latents).float().cpu().clamp(-1.0, 1.0)
            check_same_shape(decoded, video)
            if start:  # the first call also warms up
                seconds += time.perf_counter() - began
        totals["psnr_db"] += psnr(decoded, video).tolist()
        totals["ssim"] += ssim(decoded, video).tolist()
        totals["edge_psnr_db"].append(mean_psnr(decoded, video, edges(video)))
        starry = [index for index, scene in enumerate(some) if _starry(scene)]
        if starry:
            totals["star_psnr_db"].append(mean_psnr(decoded[starry], video[starry], stars(video[starry])))
    figures = {name: _mean(values) for name, values in totals.items()}
    timed = max(0, len(scenes) - config.batch_size) * config.frames
    figures["decoded_frames_per_s"] = timed / seconds if seconds else float("nan")
    settings = {name: str(value) if name == "output" else value for name, value in asdict(config).items()}
    with atomic_file(config.output) as hidden:
        hidden.write_text(json.dumps({"settings": settings, **figures}, indent=1), encoding="utf-8")
    table = Table("figure", "mean")
    for name, value in figures.items():
        table.add_row(name, f"{value:.3f}")
    Console().print(table)
    print(config.output)
    return figures


def _starry(scene: Scene) -> bool:
    return scene.light == "night" and scene.place not in SUNLESS


def _mean(values: list[float]) -> float:
    kept = [value for value in values if value == value]
    return sum(kept) / len(kept) if kept else float("nan")

"""`videosyn evaluate seams`: what a video in pieces loses against the same video whole, at the borders and inside.

Ways: streaming (the default), divide and merge (the paper's) by each merge rule, tiles. Clips of the world go through
the VidVAE and back, each way; the whole-video result is the reference. Next on the path: `vidvae/divide.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor
from tqdm import tqdm

from videosyn.evaluation.document import Chart, Document, Film, Table, publish, said, settings_of
from videosyn.evaluation.options import SeamsConfig
from videosyn.evaluation.plots import whiskers
from videosyn.evaluation.sources import open_vae
from videosyn.sampling.pipeline import to_frames
from videosyn.vidvae.divide import DivideAndMerge, borders, decode_divided, encode_divided
from videosyn.vidvae.model import VidVAE
from videosyn.vidvae.tiles import Tiling, decode_tiled, encode_tiled, shared_pixels
from videosyn.world.render import render
from videosyn.world.scene import sample_scene

MOST_DB = 120.0
"""Stands for equal pixels."""


@dataclass(frozen=True)
class Way:
    """A way through the VidVAE and back, and where its seams are."""

    name: str
    through: Callable[[VidVAE, Tensor], Tensor]
    """video (B, 3, T, H, W) -> the same, encoded and decoded in pieces"""
    seams: Tensor
    """bool, to be broadcast to (T, H, W)"""


def run(config: SeamsConfig) -> dict[str, dict[str, float]]:
    """Measures, prints a table, writes report.json and report.html, and returns the figures by way."""
    vae = open_vae(config.model, config.device, config.dtype)
    ways = _ways(config, vae)
    sums = {way.name: _Sums() for way in ways}
    scenes = [sample_scene(config.seed * 1_000_000 + index, "held-out") for index in range(config.num_clips)]
    films: list[Film] = []
    for scene in tqdm(scenes, unit="clip", disable=None, file=sys.stderr):
        clip = render([scene], config.frames, config.height, config.width)
        weight = next(vae.parameters())
        video = (rearrange(clip, "b t h w c -> b c t h w").float() / 127.5 - 1.0).to(weight)
        with torch.inference_mode():
            whole = vae.decode_raw(vae.posterior(video).mode()).float()
            first = not films
            films += [Film.of("whole", to_frames(whole)[0])] * first
            for way in ways:
                made = way.through(vae, video).float()
                sums[way.name].add(made, whole, way.seams.to(whole.device))
                films += [Film.of(way.name, to_frames(made)[0])] * first
    figures = {name: each.figures() for name, each in sums.items()}
    document = Document("Seams", settings_of(config), {"ways": figures}, films=[("the first clip", films)])
    document.tables.append(_table(figures))
    for place in ("seams", "inside"):
        values = {name: each[f"psnr_db_{place}"] for name, each in figures.items()}
        points = {name: (value, value, value) for name, value in values.items()}
        document.charts.append(Chart(f"PSNR against the whole, {place}", whiskers(points, "dB")))
    publish(document, config.output)
    return figures


def _ways(config: SeamsConfig, vae: VidVAE) -> list[Way]:
    DivideAndMerge(config.segment_frames, config.overlap_frames).latent_frames(vae.time_factor)  # may refuse
    piece = config.segment_frames - 1

    def streamed(vae: VidVAE, video: Tensor) -> Tensor:
        return vae.decode(vae.encode(video, frames_per_piece=piece), frames_per_piece=piece)

    between = torch.zeros(config.frames, 1, 1, dtype=torch.bool)
    whole = piece // vae.time_factor * vae.time_factor
    between[whole - vae.time_factor + 1 :: whole] = True  # pieces end with a latent frame: 13, then 16 each
    ways = [Way("streaming", streamed, between)]
    for merge in ("mean", "fade", "earlier", "later"):
        rule = DivideAndMerge(config.segment_frames, config.overlap_frames, merge)

        def divided(vae: VidVAE, video: Tensor, rule: DivideAndMerge = rule) -> Tensor:
            return torch.cat(list(decode_divided(vae, encode_divided(vae, video, rule), rule)), 2)

        seams = torch.zeros(config.frames, 1, 1, dtype=torch.bool)
        seams[borders(config.frames, vae.time_factor, rule)] = True
        ways.append(Way(f"divide and merge, {merge}", divided, seams))
    tiling = Tiling(config.tile, config.overlap)

    def tiled(vae: VidVAE, video: Tensor) -> Tensor:
        return decode_tiled(vae, encode_tiled(vae, video, tiling), tiling)

    shared = shared_pixels(config.height, config.width, tiling, vae.space_factor)
    ways.append(Way(f"tiles of {config.tile} px", tiled, shared[None]))
    return ways


class _Sums:
    """Squared errors, and changes from frame to frame that are not the whole's, at seams and inside."""

    def __init__(self) -> None:
        self._sums = torch.zeros(2, 4, dtype=torch.float64)  # seams, inside; error, its count, flicker, its count

    def add(self, video: Tensor, whole: Tensor, seams: Tensor) -> None:
        error = (video - whole).square().mean(1)  # (B, T, H, W)
        flicker = ((video.diff(dim=2) - whole.diff(dim=2)) * 127.5).abs().mean(1)  # (B, T - 1, H, W), levels of 255
        at = seams.expand(error.shape[1:])  # (T, H, W)
        changes = at[1:] | at[:-1] if seams.shape[0] > 1 else at[1:]
        for row, (pixels, steps) in enumerate(((at, changes), (~at, ~changes))):
            for column, (values, where) in enumerate(((error, pixels), (flicker, steps))):
                chosen = values[:, where]
                self._sums[row, 2 * column] += chosen.double().sum().cpu()
                self._sums[row, 2 * column + 1] += chosen.numel()

    def figures(self) -> dict[str, float]:
        """PSNR in dB and flicker in levels of 255 against the whole-video result; nan where there is no such place."""
        found: dict[str, float] = {}
        for row, place in enumerate(("seams", "inside")):
            error, num_pixels, flicker, num_steps = self._sums[row].tolist()
            nothing = float("nan")
            found[f"psnr_db_{place}"] = _psnr_db(error / num_pixels) if num_pixels else nothing
            found[f"flicker_{place}"] = flicker / num_steps if num_steps else nothing
        return found


def _psnr_db(mean_square: float) -> float:
    """Of videos in [-1, 1]."""
    return min(MOST_DB, float(10 * torch.log10(torch.tensor(4.0 / max(mean_square, 1e-30), dtype=torch.float64))))


def _table(figures: Mapping[str, Mapping[str, float]]) -> Table:
    keys = ("psnr_db_seams", "psnr_db_inside", "flicker_seams", "flicker_inside")
    rows = [(name, *(said(each[key], 2) for key in keys)) for name, each in figures.items()]
    head = ("way", "PSNR at seams, dB", "inside", "flicker at seams, levels", "inside")
    return Table(
        "Against the whole-video result", head, rows, "Flicker: of changes from frame to frame, of 255 levels."
    )

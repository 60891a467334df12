"""How many videos to make at once, and what to say when memory does not suffice. The figures: `footprint.py`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from videosyn.core.errors import UserError
from videosyn.core.memory import available_cpu_bytes
from videosyn.core.runtime import is_out_of_memory
from videosyn.sampling.footprint import Footprint
from videosyn.sampling.model_index import Defaults
from videosyn.vidvae.tiles import Tiling

if TYPE_CHECKING:
    from videosyn.sampling.pipeline import VideoSynPipeline

MOST_AT_ONCE = 32  # more at once gain nothing on a CPU, and progress is shown less often
TILES_PX = (1024, 512, 256)  # sides of tiles, the largest that fits is taken
SHARE_TO_USE = 0.9  # of the memory that is free; the rest is for other programs and for fragments


def footprint(pipeline: VideoSynPipeline, cached: bool = False) -> Footprint:
    """The working memory of the pipeline's models, from their configs. cached: with a block cache."""
    number_bytes = torch.finfo(pipeline.dtype).bits // 8
    return Footprint(pipeline.vdit.config, pipeline.vae.config, number_bytes, pipeline.device.type, cached=cached)


@dataclass(frozen=True)
class Fit:
    """How a request fits into memory."""

    videos_at_once: int
    tiling: Tiling | None = None
    """Set where not even one video's frames can be decoded whole."""

    def note(self, asked: Defaults) -> str | None:
        """One line for the user where frames are not decoded whole, else None."""
        if self.tiling is None:
            return None
        return (
            f"frames of {asked.height}x{asked.width} do not fit into memory whole: decoded in tiles of "
            f"{self.tiling.tile_px} px that overlap by {self.tiling.overlap_px}"
        )


def fit(pipeline: VideoSynPipeline, asked: Defaults, num_videos: int, cached: bool = False) -> Fit:
    """How many of `num_videos` fit into memory together, at most MOST_AT_ONCE; of a single one, whether in tiles.

    A UserError where not even tiles fit.
    """
    available = _least(available_bytes(pipeline.device), pipeline)
    if available is None:
        return Fit(min(num_videos, MOST_AT_ONCE))
    model = footprint(pipeline, cached)
    size = (asked.num_frames, asked.height, asked.width)
    for batch in range(min(num_videos, MOST_AT_ONCE), 0, -1):
        if model.fits(available, batch, *size):
            return Fit(batch)
    for tile_px in TILES_PX:
        if tile_px < max(asked.height, asked.width) and model.fits(available, 1, *size, tile_px):
            unit = pipeline.vae.space_factor
            return Fit(1, Tiling(tile_px, max(1, tile_px // 8 // unit) * unit))
    raise _no_memory(model, available, asked)


def _least(available: int | None, pipeline: VideoSynPipeline) -> int | None:
    """Processes that share a film must divide the work alike: what the one with least memory has."""
    group = pipeline.vdit.process_group
    if group is None:
        return available
    least = torch.tensor(float("inf") if available is None else float(available), device=pipeline.device)
    import torch.distributed as dist

    dist.all_reduce(least, dist.ReduceOp.MIN, group)
    return None if least.isinf() else int(least)


@contextmanager
def no_memory_means_user_error(pipeline: VideoSynPipeline, asked: Defaults, cached: bool = False) -> Iterator[None]:
    """Turns the framework's out-of-memory error, CPU or accelerator, into a UserError that says what would fit."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        model = footprint(pipeline, cached)
        took = model.predicted_bytes(1, asked.num_frames, asked.height, asked.width)
        available = min(available_bytes(pipeline.device) or took, took - 1)  # it did not fit, whatever was predicted
        raise _no_memory(model, available, asked) from error


@contextmanager
def weights_that_do_not_fit_mean_user_error(folder: Path, device: torch.device, way_out: str) -> Iterator[None]:
    """The same while weights are read and brought to the device. way_out: what to do where that is an accelerator."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        fix = "free some memory first" if device.type == "cpu" else f"{way_out}, or --device cpu"
        raise UserError(f"out of memory: the weights of {folder} do not fit on {device}: {fix}") from error


def available_bytes(device: torch.device) -> int | None:
    """SHARE_TO_USE of the memory that is free on the device; None where it cannot be known."""
    if device.type == "cuda":
        free = (
            torch.cuda.mem_get_info(device)[0]
            + torch.cuda.memory_reserved(device)
            - torch.cuda.memory_allocated(device)
        )
    else:
        free = available_cpu_bytes()
    return None if free is None else int(SHARE_TO_USE * free)


def _no_memory(model: Footprint, available: int, asked: Defaults) -> UserError:
    size = (asked.num_frames, asked.height, asked.width)
    needed = model.predicted_bytes(1, *size) / 1e9
    return UserError(
        f"out of memory: {size[0]} frames of {size[1]}x{size[2]} need about {needed:.1f} GB, "
        f"{available / 1e9:.1f} GB are free: {model.what_fits(available, *size)} would fit"
    )

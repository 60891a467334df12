"""Whether a diffusers pipeline makes the frames and sizes that are asked for: many round them without a word, or fail
in the middle. Used by `foreign.py`."""

from __future__ import annotations

from math import lcm
from typing import Any

import numpy as np

from videosyn.core.errors import UserError
from videosyn.core.shapes import check_num_frames, check_size
from videosyn.sampling.families import family_of

_TIME = ("vae_scale_factor_temporal", "vae_temporal_compression_ratio", "vae_temporal_scale_factor")
_SPACE = ("vae_scale_factor_spatial", "vae_spatial_compression_ratio", "vae_spatial_scale_factor", "vae_scale_factor")
_OTHER_FRAMES = ("Allegro", "Helios")
"""Pipelines, by the beginning of their names, whose frames are not 1 + a multiple of what their VAEs pool by."""


def check_asked(pipeline: Any, num_frames: int | None, height: int | None, width: int | None) -> None:
    """Raises UserError for what the pipeline cannot make, as far as its family and its parts tell; None is not asked.

    Sides are multiples of what the VAE pools by times the denoiser's patch.
    """
    name = type(pipeline).__name__
    family = family_of(name)
    denoiser = getattr(pipeline, "transformer", None) or getattr(pipeline, "transformer_2", None)
    config = {} if denoiser is None else denoiser.config
    if num_frames is not None:
        pooled = 1 if name.startswith(_OTHER_FRAMES) else _first(pipeline, _TIME)
        check_num_frames(num_frames, lcm(family.time_factor, pooled))
        only = config.get("video_length")  # Latte has no more places in time, and no fewer
        if only is not None and num_frames not in (1, only):
            raise UserError(f"a {name} makes films of {only} frames, got {num_frames}: use {only}")
    patch = config.get("patch_size")
    sides = patch if isinstance(patch, list | tuple) else (patch, patch)  # (h, w) or (t, h, w)
    space = _first(pipeline, _SPACE)
    rows, columns = (lcm(family.size_multiple, space * side if isinstance(side, int) else 1) for side in sides[-2:])
    check_size(rows if height is None else height, rows, rows)
    check_size(columns, columns if width is None else width, columns)


def unlike_asked(films: np.ndarray, num_frames: int | None, height: int | None, width: int | None) -> tuple[str, ...]:
    """A note where films, uint8 (B, T, H, W, 3), are not what was asked for."""
    made = films.shape[1:4]
    asked = [there if each is None else each for each, there in zip((num_frames, height, width), made)]
    if list(made) == asked:
        return ()
    words = [f"{frames} frames of {rows}x{columns}" for frames, rows, columns in (made, asked)]
    return (f"the model made {words[0]}, not the {words[1]} that were asked for",)


def _first(pipeline: Any, names: tuple[str, ...]) -> int:
    """The first of these attributes that is a whole number; 1 where there is none."""
    found = (getattr(pipeline, name, None) for name in names)
    return next((value for value in found if isinstance(value, int) and value > 0), 1)

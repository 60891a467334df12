"""Frames that a film is to have: a first picture, a clip to go on from, a last picture. Next: `pipeline.py`.

One mechanism for all: their latents are clean from the start, the VDiT is told time 0 for them, and they stay as they
are while the other frames are drawn from noise (the timestep may differ per frame).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from videosyn.core.errors import UserError
from videosyn.core.shapes import check_left_to_make, frames_shared
from videosyn.vidvae.model import VidVAE
from videosyn.vidvae.tiles import Tiling, encode_tiled


@dataclass(frozen=True)
class Given:
    """What is given of a film of t latent frames."""

    latents: Tensor
    """(1, Z, t, h, w), normalised; zeros where nothing is given."""
    mask: Tensor
    """(1, t) bool: which latent frames are given."""
    before: np.ndarray | None = None
    """uint8 (n, H, W, 3): a clip's frames, all of them, which the film is put after."""
    num_shared: int = 0
    """How many of the clip's last frames the film begins with."""

    def finished(self, frames: np.ndarray) -> np.ndarray:
        """Films (B, T, H, W, 3) as they were made -> with the clip they go on from before them, as it was."""
        if self.before is None:
            return frames
        before = np.broadcast_to(self.before, (len(frames), *self.before.shape))
        return np.concatenate([before, frames[:, self.num_shared :]], axis=1)


def given_frames(
    vae: VidVAE,
    num_frames: int,
    height: int,
    width: int,
    image: np.ndarray | None = None,
    extend: np.ndarray | None = None,
    last_image: np.ndarray | None = None,
    tiling: Tiling | None = None,
) -> Given | None:
    """Pictures uint8 (H, W, 3) and a clip uint8 (n, H, W, 3) of the film's size -> what is given; None: nothing.

    A film that extends a clip begins with as many of its last frames as fit half of it, 1 + 4k. A last picture is
    shown for the film's last four frames: a latent frame stands for so many. tiling: where whole frames do not fit
    into memory. Raises UserError for other shapes, for
    both `image` and `extend`, and where nothing would be left to make.
    """
    if image is None and extend is None and last_image is None:
        return None
    if image is not None and extend is not None:
        raise UserError("image and extend both say how a film begins: give one of them")
    for name, picture, ndim in (("image", image, 3), ("extend", extend, 4), ("last_image", last_image, 3)):
        if picture is not None:
            _check(name, picture, ndim, height, width)
    num_clip = 0 if extend is None else len(extend)
    check_left_to_make(num_frames, image is not None, num_clip, last_image is not None, vae.time_factor)
    num_latents = 1 + (num_frames - 1) // vae.time_factor
    parameter = next(vae.parameters())
    grid = (height // vae.space_factor, width // vae.space_factor)
    latents = torch.zeros(
        1, vae.config.latent_channels, num_latents, *grid, device=parameter.device, dtype=parameter.dtype
    )
    mask = torch.zeros(1, num_latents, dtype=torch.bool, device=parameter.device)
    encode = vae.encode if tiling is None else partial(encode_tiled, vae, tiling=tiling)
    num_shared = frames_shared(num_frames, num_clip, vae.time_factor) if extend is not None else 0
    beginning = image[None] if image is not None else extend[-num_shared:] if extend is not None else None
    if beginning is not None:
        first = encode(to_video(beginning).to(parameter))
        latents[:, :, : first.shape[2]], mask[:, : first.shape[2]] = first, True
    if last_image is not None:
        still = np.broadcast_to(last_image, (1 + vae.time_factor, *last_image.shape))
        latents[:, :, -1:], mask[:, -1] = encode(to_video(still).to(parameter))[:, :, -1:], True
    return Given(latents, mask, extend, num_shared)


def to_video(frames: np.ndarray) -> Tensor:
    """uint8 (T, H, W, 3) -> video (1, 3, T, H, W) in [-1, 1], float32."""
    return rearrange(torch.from_numpy(np.array(frames)), "t h w c -> 1 c t h w").float() / 127.5 - 1


def _check(name: str, picture: np.ndarray, ndim: int, height: int, width: int) -> None:
    axes = "(height, width, 3)" if ndim == 3 else "(frames, height, width, 3)"
    if picture.dtype != np.uint8 or picture.ndim != ndim or picture.shape[-1] != 3 or not picture.size:
        raise UserError(f"{name} must be uint8 {axes}, got {picture.dtype} {picture.shape}")
    if picture.shape[-3:-1] != (height, width):
        rows, columns = picture.shape[-3:-1]
        raise UserError(f"{name} must have the film's size {height}x{width}, got {rows}x{columns}: resize it")

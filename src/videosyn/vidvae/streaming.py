"""Long videos in pieces, equal to the whole: every causal layer carries its last frames from piece to piece.

Memory is that of one piece, whatever the length. The state is made here, once a stream, and passed along: any number of
streams may run side by side on one model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from videosyn.core.shapes import check_num_frames, check_size
from videosyn.vidvae.causal import CausalState
from videosyn.vidvae.scratch import SCRATCH

if TYPE_CHECKING:
    from videosyn.vidvae.model import VidVAE


def encode_stream(vae: VidVAE, pieces: Iterable[Tensor], generator: torch.Generator | None = None) -> Iterator[Tensor]:
    """pieces (B, 3, any number of frames, H, W) of one video -> its latents (B, Z, n, h, w), piece by piece.

    A piece's frames that do not fill a latent frame wait for the next piece. Their sum must be 1 + 4k: otherwise a
    UserError, after the last piece. Samples with a `generator`, otherwise the mode.
    """
    state = CausalState()
    try:
        for frames in _whole_latent_frames(pieces, vae.time_factor):
            check_size(frames.shape[3], frames.shape[4], vae.space_factor)
            posterior = vae.posterior_piece(frames, state)
            yield vae.normalise(posterior.mode() if generator is None else posterior.sample(generator))
    finally:
        SCRATCH.clear()


def decode_stream(vae: VidVAE, pieces: Iterable[Tensor], state: CausalState | None = None) -> Iterator[Tensor]:
    """pieces (B, Z, any number of latent frames, h, w) of one video -> its frames (B, 3, n, H, W), piece by piece.

    state: of earlier pieces of the same video; changed in place. None: the video begins.
    """
    state = CausalState() if state is None else state
    try:
        for piece in pieces:
            if piece.shape[2]:
                yield vae.decode_raw(vae.denormalise(piece), state)
    finally:
        SCRATCH.clear()


def split_frames(x: Tensor, frames_per_piece: int) -> Iterator[Tensor]:
    """x (B, C, T, H, W) -> views of at most `frames_per_piece` frames, in order."""
    for start in range(0, x.shape[2], frames_per_piece):
        yield x[:, :, start : start + frames_per_piece]


def _whole_latent_frames(pieces: Iterable[Tensor], time_factor: int) -> Iterator[Tensor]:
    """The same frames in pieces that end with a latent frame: 1 + time_factor * k first, then multiples of it."""
    num_frames = 0
    waiting: list[Tensor] = []
    for piece in pieces:
        frames = torch.cat([*waiting, piece], 2)
        alone = int(num_frames == 0)  # the first frame of all is a latent frame by itself
        usable = max(0, alone + (frames.shape[2] - alone) // time_factor * time_factor)
        waiting = [frames[:, :, usable:].clone()]
        if usable:
            num_frames += usable
            yield frames[:, :, :usable]
    check_num_frames(num_frames + sum(frames.shape[2] for frames in waiting), time_factor)

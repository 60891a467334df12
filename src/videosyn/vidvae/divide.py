"""Divide and merge, the paper's way with long videos (section 3.1, Figure 4): segments that share their border frames.

Each segment is encoded or decoded as if it were a video of its own; what neighbours share is merged. Nothing is carried
across a border, so the result is near the whole-video result, not equal to it: `streaming.py` is, and is the default.
`videosyn evaluate seams` measures the difference. Memory is that of one segment, whatever the length.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from videosyn.core.errors import UserError
from videosyn.core.shapes import check_num_frames

if TYPE_CHECKING:
    from videosyn.vidvae.model import VidVAE


@dataclass(frozen=True)
class DivideAndMerge:
    """How a video is divided, and what becomes of the frames that two segments share."""

    segment_frames: int = 17
    """Frames of a segment, 1 + 4k."""
    overlap_frames: int = 1
    """Frames that neighbours share, 1 + 4k. The paper's: one."""
    merge: Literal["mean", "fade", "earlier", "later"] = "mean"
    """Of shared frames: the mean, a cross-fade, or one segment's alone. The paper leaves it open."""

    def __post_init__(self) -> None:
        if self.merge not in ("mean", "fade", "earlier", "later"):
            raise UserError(f"merge must be mean, fade, earlier or later, got {self.merge!r}")
        if not 1 <= self.overlap_frames < self.segment_frames:
            raise UserError(
                f"segments of {self.segment_frames} frames cannot share {self.overlap_frames}: share at least 1 and "
                f"fewer than a segment has"
            )

    def latent_frames(self, time_factor: int) -> tuple[int, int]:
        """A segment and an overlap in latent frames.

        Raises UserError where they are not 1 + 4k frames, or a frame would lie in three segments: no merge knows three.
        """
        segment, overlap = (
            1 + (check_num_frames(frames, time_factor) - 1) // time_factor
            for frames in (self.segment_frames, self.overlap_frames)
        )
        if 2 * overlap > segment:
            raise UserError(
                f"segments of {self.segment_frames} frames must share at most half of their latents, "
                f"got {self.overlap_frames} frames: share {1 + (segment // 2 - 1) * time_factor}"
            )
        return segment, overlap

    def weights(self, num_shared: int) -> Tensor:
        """The later segment's part of each shared frame, (num_shared,), 0 to 1."""
        match self.merge:
            case "mean":
                return torch.full((num_shared,), 0.5)
            case "fade":
                return torch.arange(1, num_shared + 1) / (num_shared + 1)
            case "earlier":
                return torch.zeros(num_shared)
            case _:
                return torch.ones(num_shared)


def encode_divided(
    vae: VidVAE, video: Tensor, rule: DivideAndMerge, generator: torch.Generator | None = None
) -> Tensor:
    """video (B, 3, T, H, W) in [-1, 1] -> normalised latents (B, Z, t, h, w), a segment at a time.

    Samples with a `generator`, otherwise the mode. Raises UserError where T is not 1 + 4k or a size does not divide.
    """
    vae.check_video(video)
    factor = vae.time_factor
    num_latents = 1 + (video.shape[2] - 1) // factor
    segment, overlap = rule.latent_frames(factor)

    def encoded() -> Iterator[Tensor]:
        for start, end in _segments(num_latents, segment, overlap):
            posterior = vae.posterior(video[:, :, factor * start : 1 + factor * (end - 1)])
            yield vae.normalise(posterior.mode() if generator is None else posterior.sample(generator))

    return torch.cat(list(_merged(encoded(), overlap, rule)), 2)


def decode_divided(vae: VidVAE, latents: Tensor, rule: DivideAndMerge) -> Iterator[Tensor]:
    """normalised latents (B, Z, t, h, w) -> the video's frames (B, 3, n, H, W) in order, a segment's at a time."""
    vae.check_latents(latents)
    segment, overlap = rule.latent_frames(vae.time_factor)
    decoded = (
        vae.decode_raw(vae.denormalise(latents[:, :, start:end]))
        for start, end in _segments(latents.shape[2], segment, overlap)
    )
    return _merged(decoded, 1 + (overlap - 1) * vae.time_factor, rule)


def borders(num_frames: int, time_factor: int, rule: DivideAndMerge) -> list[int]:
    """The frames that two segments of a video of T frames share."""
    segment, overlap = rule.latent_frames(time_factor)
    starts = [start for start, _ in _segments(1 + (num_frames - 1) // time_factor, segment, overlap)][1:]
    return [time_factor * start + frame for start in starts for frame in range(1 + time_factor * (overlap - 1))]


def _segments(num_latents: int, segment: int, overlap: int) -> Iterator[tuple[int, int]]:
    """Half-open spans of latent frames; neighbours share `overlap`; the last may be shorter."""
    start = 0
    while True:
        yield start, min(start + segment, num_latents)
        if start + segment >= num_latents:
            return
        start += segment - overlap


def _merged(parts: Iterator[Tensor], num_shared: int, rule: DivideAndMerge) -> Iterator[Tensor]:
    """Segments (B, C, n, H, W) whose neighbours share `num_shared` frames -> their frames in order, each once."""
    waiting: Tensor | None = None
    for part in parts:
        if waiting is not None:
            yield waiting[:, :, :-num_shared]
            weight = rule.weights(num_shared).to(part).view(1, 1, -1, 1, 1)
            shared = torch.lerp(waiting[:, :, -num_shared:], part[:, :, :num_shared], weight)
            part = torch.cat([shared, part[:, :, num_shared:]], 2)
        waiting = part
    if waiting is not None:
        yield waiting

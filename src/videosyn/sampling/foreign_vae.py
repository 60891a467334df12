"""Other people's VAEs: any diffusers `AutoencoderKL*`, for images or video, used as a VidVAE is. Next: `foreign.py`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from videosyn.core.config import read_json
from videosyn.core.errors import UserError
from videosyn.dataset.latent_cache import load_vae
from videosyn.sampling.foreign_loading import check_complete
from videosyn.sampling.model_index import is_foreign_vae
from videosyn.vidvae.model import VidVAE

IMAGE_VAES = ("AutoencoderKL", "AutoencoderKLFlux2", "AutoencoderKLHunyuanImage")


def load_any_vae(folder: str | os.PathLike) -> VidVAE | ForeignVae:
    """The VidVAE, or any of diffusers' AutoencoderKL*, in a folder, on the CPU in fp32. Raises UserError where it is
    neither."""
    return ForeignVae.from_pretrained(Path(folder)) if is_foreign_vae(Path(folder)) else load_vae(folder)


class ForeignVae(nn.Module):
    """A diffusers `AutoencoderKL*` as a VidVAE is used: video (B, 3, T, H, W) in [-1, 1] to normalised latents
    (B, Z, t, h, w) and back.

    Latents are normalised as its own pipelines do it, so that those of a cache are what its denoisers see. One for
    images takes a video frame by frame.
    """

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae
        self.of_images = type(vae).__name__ in IMAGE_VAES

    @classmethod
    def from_pretrained(cls, folder: Path) -> ForeignVae:
        """Raises UserError where the class is none of diffusers' VAEs, or a tensor is not accounted for."""
        name = str(read_json(folder / "config.json").get("_class_name"))
        try:
            import diffusers
        except ImportError as error:
            raise UserError(f"{folder} is a diffusers VAE: pip install 'videosyn[diffusers]'") from error
        found = getattr(diffusers, name, None) if name.startswith("AutoencoderKL") else None
        if found is None:
            raise UserError(f"{folder} holds a {name}, neither a VidVAE nor one of diffusers' AutoencoderKL*")
        try:
            vae = found.from_pretrained(folder, use_safetensors=True)
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise UserError(f"{folder} does not load: {' '.join(str(error).split())[:200]}") from error
        check_complete(vae, folder)
        return cls(vae.eval())

    @property
    def latent_channels(self) -> int:
        """Z."""
        return self._latent_sizes[0]

    @property
    def time_factor(self) -> int:
        """T = 1 + time_factor * (t - 1)."""
        return self._latent_sizes[1]

    @property
    def space_factor(self) -> int:
        """Pixels to a latent pixel, along height and along width."""
        return self._latent_sizes[2]

    @cached_property
    def _latent_sizes(self) -> tuple[int, int, int]:
        """Found by encoding a small black video: configs tell it under many names, and not always rightly."""
        frames, side = 17, 64
        video = next(self.vae.parameters()).new_zeros(1, 3, frames, side, side)
        with torch.no_grad():
            _, channels, latent_frames, height, _ = self.encode(video).shape
        return channels, 1 if latent_frames == frames else (frames - 1) // (latent_frames - 1), side // height

    def encode(self, video: Tensor) -> Tensor:
        """The posterior's modes, normalised. A UserError for sizes that it does not take."""
        with self._its_rules(video):
            if self.of_images:
                frames = [self.vae.encode(frame).latent_dist.mode() for frame in video.unbind(2)]
                raw = torch.stack(frames, 2)
            else:
                raw = self.vae.encode(video).latent_dist.mode()
        shift, scale = self._normalisation(raw)
        return (raw - shift) * scale

    def decode(self, latents: Tensor) -> Tensor:
        """Normalised latents -> video, not clamped."""
        shift, scale = self._normalisation(latents)
        raw = latents / scale + shift
        with self._its_rules(latents):
            if not self.of_images:
                return self.vae.decode(raw).sample
            return torch.stack([self.vae.decode(frame).sample for frame in raw.unbind(2)], 2)

    def _normalisation(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """(shift, scale), such that normalised = (raw - shift) * scale; each (1, Z or 1, 1, 1, 1).

        Means and spreads of the channels where the VAE has them, in its config or its buffers; else, or with them, one
        factor for all.
        """

        buffers = dict(self.vae.named_buffers(recurse=False))

        def find(name: str) -> Any:
            return buffers[name] if name in buffers else self.vae.config.get(name)

        def channels(value: Any) -> Tensor:
            per_frame = torch.as_tensor(value).to(like).reshape(1, -1, 1, 1, 1)
            if per_frame.numel() > like.shape[1]:  # Cosmos' differ from frame to frame
                per_frame = per_frame.view(1, like.shape[1], -1, 1, 1)[:, :, : like.shape[2]]
            return per_frame

        mean, spread, factor = find("latents_mean"), find("latents_std"), find("scaling_factor")
        scale = 1.0 if factor is None else float(factor)
        if mean is None or spread is None:
            shift = find("shift_factor")
            return channels(0.0 if shift is None else shift), channels(scale)
        return channels(mean), scale / channels(spread)

    @contextmanager
    def _its_rules(self, given: Tensor) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, TypeError, ValueError) as error:
            why = " ".join(str(error).split())[:150]
            raise UserError(f"a {type(self.vae).__name__} does not take {tuple(given.shape)}: {why}") from error

"""The flags of `videosyn convert`. Torch-free. Next: `convert.py`."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from videosyn.core.errors import UserError
from videosyn.core.files import check_writable


@dataclass(frozen=True)
class _Conversion:
    source: Annotated[Positional[Path], arg(metavar="SOURCE")]
    """Published weights: a diffusers folder, or a .safetensors, .pth or .ckpt file."""
    output: Annotated[Positional[Path], arg(metavar="OUTPUT")]
    """A new folder."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if isinstance(value := getattr(self, field.name), (str, Path)):
                object.__setattr__(self, field.name, type(value)(os.path.expanduser(value)))

    def check(self) -> None:
        """Raises UserError where the source is missing, the output is there already, or a number is not above 0."""
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, (int, float)) and not value > 0:
                raise UserError(f"{field.name.replace('_', '-')} must be above 0, got {value:g}: leave it out")
        if not self.source.exists():
            raise UserError(f"no weights at {self.source}: give a diffusers folder or a file of weights")
        if self.output.exists():
            raise UserError(f"{self.output} exists already: choose a new folder")
        check_writable(self.output)


@dataclass(frozen=True)
class ImageVaeOptions(_Conversion):
    """An image VAE of Stable Diffusion's kind, inflated to a VidVAE that compresses 4x8x8.

    Until it is trained on video it gives single images and still videos exactly as the image VAE does.
    """

    time_factor: Literal[1, 4] = 4
    """Frames a latent frame stands for. 1: the image VAE itself, frame by frame."""
    norm_groups: Annotated[int | None, arg(metavar="INT")] = None
    """Groups of its norms, where the source does not say; 32 is published."""
    scaling_factor: Annotated[float | None, arg(metavar="FLOAT")] = None
    """What its latents are multiplied by, where the source does not say; 0.18215 is published."""


@dataclass(frozen=True)
class TransformerOptions(_Conversion):
    """A published transformer as a VDiT, in a pipeline folder with its VAE and text encoder.

    A diffusers pipeline folder has both; for a file of weights name them.
    """

    vae: Annotated[Path | None, arg(metavar="PATH")] = None
    """Its image VAE (a diffusers folder or a file), or a VidVAE of ours."""
    text_encoder: Annotated[str | None, arg(metavar="PATH|ID")] = None
    """Its T5 encoder: a folder or an id on the Hugging Face hub."""
    heads: Annotated[int | None, arg(metavar="INT")] = None
    """Attention heads, where the source does not say; 16 is published."""
    base_size: Annotated[int | None, arg(metavar="PX")] = None
    """Edge of the image whose tokens stand one apart, where the source does not say; 512 is published."""
    dtype: Literal["as-is", "fp32", "bf16", "fp16"] = "as-is"
    """Number type of the transformer's and the VAE's weights."""

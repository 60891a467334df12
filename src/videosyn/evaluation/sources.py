"""Where the films to be judged come from: a model, the world's own renders, or those renders through a VidVAE. Next:
`adherence.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from videosyn.captioner.clip_captioner import MemoryCaptioner, open_captioner
from videosyn.core.errors import UserError
from videosyn.core.runtime import out_of_memory_means_user_error, pick_device, pick_dtype
from videosyn.dataset.latent_cache import load_vae
from videosyn.evaluation.notes import told
from videosyn.evaluation.options import AdherenceConfig
from videosyn.sampling.best_of import BestOf
from videosyn.sampling.foreign import open_pipeline
from videosyn.sampling.foreign_vae import ForeignVae, load_any_vae
from videosyn.sampling.model_index import find_model
from videosyn.sampling.pipeline import to_frames
from videosyn.vidvae.model import VidVAE
from videosyn.world.parsed import Parsed
from videosyn.world.render import render
from videosyn.world.scene import Scene


@dataclass(frozen=True)
class Asked:
    """A prompt, what it names, and the scene it describes where there is one."""

    prompt: str
    truth: Parsed
    scene: Scene | None


Source = Callable[[Sequence[Asked], int], np.ndarray]
"""Prompts and the first one's seed to films, uint8 (B, T, H, W, 3)."""


def open_source(config: AdherenceConfig) -> Source:
    """The source that a configuration names, ready to make films."""
    if config.source == "model":
        pipeline = open_pipeline(config.model, config.device, config.dtype)
        if config.best_of > 1:
            captioner = open_captioner("nano", config.device, config.dtype)
            assert isinstance(captioner, MemoryCaptioner)  # the shipped one is
            pipeline = BestOf(pipeline, captioner, config.best_of)
        return lambda asked, seed: (
            told(
                pipeline(
                    [each.prompt for each in asked],
                    num_frames=config.frames,
                    height=config.height,
                    width=config.width,
                    num_steps=config.steps,
                    guidance=config.guidance,
                    seed=seed,
                )
            ).frames
        )

    def rendered(asked: Sequence[Asked], seed: int) -> np.ndarray:
        scenes = [each.scene for each in asked if each.scene is not None]
        size = f"{config.frames} frames of {config.height}x{config.width}"
        with out_of_memory_means_user_error(size, "use fewer or smaller ones"):
            return render(scenes, config.frames, config.height, config.width).numpy()

    if config.source == "render":
        return rendered
    vae = open_any_vae(config.model, config.device, config.dtype)
    return lambda asked, seed: to_frames(reconstruct(vae, torch.from_numpy(rendered(asked, seed))))


def open_vae(model: str, device: str, dtype: str) -> VidVAE:
    """The VidVAE of a model (folder, hub id or "nano"), or of a folder that holds a VidVAE alone."""
    place = pick_device(device)
    return load_vae(_vae_folder(model)).eval().to(place, pick_dtype(dtype, place))


def open_any_vae(model: str, device: str, dtype: str) -> VidVAE | ForeignVae:
    """The same, and any of diffusers' AutoencoderKL*: of a pipeline folder, or alone in a folder."""
    place = pick_device(device)
    return load_any_vae(_vae_folder(model)).eval().to(place, pick_dtype(dtype, place))


def _vae_folder(model: str) -> Path:
    folder = find_model(model)
    return folder / "vae" if (folder / "vae").is_dir() else folder


@torch.inference_mode()
def reconstruct(vae: VidVAE | ForeignVae, clips: Tensor) -> Tensor:
    """uint8 clips (B, T, H, W, 3) through the VidVAE and back: video (B, 3, T, H, W) in [-1, 1]."""
    weight = next(vae.parameters())
    video = rearrange(clips, "b t h w c -> b c t h w").to(weight) / 127.5 - 1.0
    decoded = vae.decode(vae.encode(video))
    check_same_shape(decoded, video)
    return decoded


def check_same_shape(decoded: Tensor, video: Tensor) -> None:
    """Raises UserError where a VAE's own rule on frames or sizes gives a video of another shape back."""
    if decoded.shape != video.shape:
        raise UserError(
            f"{video.shape[2]} frames of {video.shape[3]}x{video.shape[4]} come back as {decoded.shape[2]} of "
            f"{decoded.shape[3]}x{decoded.shape[4]}: choose frames and sizes that the VAE takes"
        )

"""Arithmetic of the paper's VidVAE, counted by torch on tensors without storage. Next: `probe.py`."""

from __future__ import annotations

import dataclasses
import warnings

import torch
from torch.utils.flop_counter import FlopCounterMode

from videosyn.evaluation.footage import Shape
from videosyn.vidvae.config import VidVAEConfig
from videosyn.vidvae.model import VidVAE
from videosyn.vidvae.presets import XL


def vae_operations(shape: Shape, time_factor: int, config: VidVAEConfig = XL) -> tuple[int, int]:
    """Floating-point operations of (encoding, decoding) one video whole, convolutions and products: a multiplication
    and an addition count as two.

    time_factor: 1 does not compress time, else the config's own.
    """
    if time_factor == 1:
        config = dataclasses.replace(config, time_halvings=0)
    with torch.device("meta"):
        vae = VidVAE(config).eval()
        video = torch.empty(1, 3, shape.frames, shape.height, shape.width)
    with torch.enable_grad(), warnings.catch_warnings():  # with gradients norms take all frames in one call
        warnings.simplefilter("ignore")
        with FlopCounterMode(display=False) as encoding:
            latents = vae.posterior(video).mode()
        with FlopCounterMode(display=False) as decoding:
            vae.decode_raw(latents)
    return encoding.get_total_flops(), decoding.get_total_flops()

"""VidVAE as a diffusers autoencoder. As with diffusers' own, latents here are raw: not normalised."""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from diffusers.utils.accelerate_utils import apply_forward_hook
from torch import Tensor

from videosyn.core.config import from_dict
from videosyn.diffusers.twin import Twin, takes_fields_of
from videosyn.vidvae.causal import CausalState
from videosyn.vidvae.config import VidVAEConfig
from videosyn.vidvae.model import VidVAE
from videosyn.vidvae.streaming import split_frames


class AutoencoderVidVAE(VidVAE, Twin):
    """video (B, 3, 1 + 4k, H, W) in [-1, 1] <-> raw latents (B, Z, 1 + k, h, w), long videos in pieces, same result.

    `normalise` and `denormalise` go between raw latents and those that a VDiT sees (config: latents_mean, latents_std).
    """

    core_class = VidVAE
    config_class = VidVAEConfig
    _supports_gradient_checkpointing = False
    _no_split_modules = ("ResBlock", "Middle", "ShuffleDown", "ShuffleUp", "PoolDown", "RepeatUp")
    _group_offload_block_modules = ("encoder", "decoder")  # `encode` and `decode` do not pass through `forward`

    @takes_fields_of(VidVAEConfig)
    def __init__(self, **fields: Any) -> None:
        super().__init__(from_dict(VidVAEConfig, fields))

    @apply_forward_hook
    def encode(self, x: Tensor, return_dict: bool = True) -> AutoencoderKLOutput | tuple:
        """video -> `latent_dist`, the Gaussian over raw latents. A UserError where T is not 1 + 4k."""
        self.check_video(x)
        later = self._latent_frames_at_once(x, 1) * self.time_factor
        state = CausalState()
        pieces = [x[:, :, : 1 + later], *split_frames(x[:, :, 1 + later :], later)]
        posteriors = [self.posterior_piece(piece, state) for piece in pieces]
        moments = torch.cat([torch.cat([each.mean, each.logvar], 1) for each in posteriors], 2)  # (B, 2Z, t, h, w)
        distribution = DiagonalGaussianDistribution(moments)
        return AutoencoderKLOutput(latent_dist=distribution) if return_dict else (distribution,)

    @apply_forward_hook
    def decode(self, z: Tensor, return_dict: bool = True) -> DecoderOutput | tuple:
        """raw latents -> `sample`, the video, not clamped. A UserError for latents of other channels."""
        self.check_latents(z)
        state = CausalState()
        pieces = split_frames(z, self._latent_frames_at_once(z, self.space_factor))
        video = torch.cat([self.decode_raw(piece, state) for piece in pieces], 2)  # (B, 3, T, H, W)
        return DecoderOutput(sample=video) if return_dict else (video,)

    def forward(
        self,
        sample: Tensor,
        sample_posterior: bool = False,
        return_dict: bool = True,
        generator: torch.Generator | None = None,
    ) -> DecoderOutput | tuple:
        """video -> its reconstruction, from the posterior's mode or a sample of it."""
        distribution = self.encode(sample, return_dict=False)[0]
        latents = distribution.sample(generator) if sample_posterior else distribution.mode()
        return self.decode(latents, return_dict=return_dict)

    def _latent_frames_at_once(self, x: Tensor, factor: int) -> int:
        """How many latent frames of the batch stay below `piece_pixels`. x is `factor` times coarser than pixels."""
        pixels = x.shape[0] * x.shape[3] * x.shape[4] * factor**2 * self.time_factor
        return max(1, self.piece_pixels // pixels)

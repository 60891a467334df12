"""What a VidVAE brings to the loop: crops of clips, reconstruction loss, PSNR and SSIM on held-out clips."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from videosyn.core.model_folder import save_module
from videosyn.dataset.batches import ClipBatch, CropBatches, batch_sizes
from videosyn.dataset.buckets import Bucket, parse_buckets
from videosyn.dataset.latent_cache import video_from_frames
from videosyn.dataset.world_clips import VALIDATION_SEEDS, render_clips
from videosyn.training.options import VAETraining
from videosyn.training.quality import psnr, ssim
from videosyn.training.sheets import write_sheet
from videosyn.vidvae.losses import vae_loss
from videosyn.vidvae.model import VidVAE

NOT_MATRICES = ("encoder.conv_in", "decoder.post_quant_conv", "decoder.conv_out")
"""Layers on pixels and latents: AdamW's, as are all norms and biases. The encoder's last layers are Muon's: under AdamW
the latents grow and the divergence with them (image crops, 100 CPU seconds: 28.8 dB against 27.4)."""


class VAEStep:
    """Fulfils `loop.TrainingStep`."""

    def __init__(self, options: VAETraining, vae: VidVAE, clips: CropBatches) -> None:
        self.options, self.vae, self.clips = options, vae, clips
        weight = next(vae.parameters())
        self.device, self.dtype = weight.device, weight.dtype
        self._early = self._mix(parse_buckets(options.crops))
        self._late = self._mix(parse_buckets(options.late_crops))
        shape = parse_buckets(options.clips)[0]
        seeds = range(VALIDATION_SEEDS, VALIDATION_SEEDS + options.validation_clips)
        self.held_out = render_clips(seeds, shape, "held-out", options.fps, self.device)

    def parameters(self) -> dict[str, nn.Parameter]:
        return {name: parameter for name, parameter in self.vae.named_parameters() if parameter.requires_grad}

    def matrices(self) -> set[str]:
        named = self.parameters().items()
        return {name for name, parameter in named if parameter.ndim >= 2 and not name.startswith(NOT_MATRICES)}

    def batch(self, step: int, progress: float) -> ClipBatch:
        crops, sizes = self._late if progress >= 1 - self.options.late_fraction else self._early
        return self.clips.batch(step, crops, sizes)

    def loss(self, batch: ClipBatch, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        video = video_from_frames(batch.video.to(self.device), self.dtype)
        posterior = self.vae.posterior(video)
        kl = posterior.kl()
        reconstruction = self.vae.decode_raw(posterior.sample(generator))
        loss = vae_loss(reconstruction, video, kl)
        with torch.no_grad():
            quality = psnr(reconstruction, video).mean()
        return loss, {"kl": kl.item(), "psnr": quality.item()}

    def validate(self) -> dict[str, float]:
        scores = []
        for frames in self.held_out.split(4):
            video = video_from_frames(frames, self.dtype)
            reconstruction = self.vae.decode_raw(self.vae.posterior(video).mode()).clamp(-1, 1)
            scores.append(torch.stack([psnr(reconstruction, video), ssim(reconstruction, video)]))
        quality, similarity = torch.cat(scores, dim=1)
        return {
            "val/psnr": quality.mean().item(),
            "val/psnr_worst": quality.min().item(),
            "val/ssim": similarity.mean().item(),
        }

    def sheet(self, path: Path) -> None:
        video = video_from_frames(self.held_out[:6], self.dtype)
        reconstruction = self.vae.decode_raw(self.vae.posterior(video).mode())
        rows, titles = [], []
        for index, (before, after) in enumerate(zip(video, reconstruction)):
            rows += [before, after]
            titles += [f"held-out clip {index}", f"its reconstruction, {psnr(after[None], before[None]).item():.1f} dB"]
        write_sheet(path, rows, titles)

    def save(self, folder: Path) -> None:
        save_module(folder, self.vae, self.vae.config)

    def _mix(self, crops: tuple[Bucket, ...]) -> tuple[tuple[Bucket, ...], list[int]]:
        reference = parse_buckets(self.options.crops)[0]
        whole = self.options.batch_size * reference.volume
        sizes = batch_sizes(crops, whole, self.options.max_batch_size, lambda bucket: bucket.volume)
        return crops, sizes

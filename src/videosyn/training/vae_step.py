"""What a VidVAE brings to the loop: crops of clips, losses of the reconstruction, PSNR and SSIM on held-out clips."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from videosyn.core.errors import UserError
from videosyn.core.model_folder import save_module
from videosyn.dataset.batches import ClipBatch, Share, batch_sizes, check_shared
from videosyn.dataset.buckets import Bucket, parse_buckets
from videosyn.dataset.footage_batches import FootageBatch, FramesFromFiles
from videosyn.dataset.latent_cache import video_from_frames
from videosyn.dataset.world_clips import VALIDATION_SEEDS, render_clips
from videosyn.training.draws import Draws
from videosyn.training.footage_source import FootageSource
from videosyn.training.judges import PatchDiscriminator, PerceptualLoss, adaptive_weight, fixed, hinge_loss
from videosyn.training.options import VAETraining
from videosyn.training.quality import psnr, ssim
from videosyn.training.sheets import write_sheet
from videosyn.vidvae.losses import vae_loss
from videosyn.vidvae.model import VidVAE

NOT_MATRICES = ("encoder.conv_in", "decoder.post_quant_conv", "decoder.conv_out", "rival")
"""Layers on pixels and latents: AdamW's, as are all norms and biases. The encoder's last layers are Muon's: under AdamW
the latents grow and the divergence with them (image crops, 100 CPU seconds: 28.8 dB against 27.4)."""


VAEBatch = ClipBatch | FootageBatch


class Clips(Protocol):
    """Where batches come from: `CropBatches`, `FootageBatches`."""

    def batch(self, step: int, buckets: Sequence[Bucket], sizes: Sequence[int], share: Share) -> VAEBatch: ...


class VAEStep:
    """Fulfils `step.TrainingStep`."""

    def __init__(
        self,
        options: VAETraining,
        vae: VidVAE,
        clips: Clips,
        held_out: Sequence[Tensor],
        shapes: Collection[str] | None = None,
    ) -> None:
        """held_out: uint8 (B, T, H, W, 3) each, of any shapes. shapes: names of the crops that clips fit; None: all."""
        self.options, self.vae, self.clips, self.held_out = options, vae, clips, held_out
        weight = next(vae.parameters())
        self.device, self.dtype = weight.device, weight.dtype
        self.perceptual = PerceptualLoss(options.perceptual).to(self.device, self.dtype) if options.perceptual else None
        self.rival: PatchDiscriminator | None = None
        if options.adversarial_weight:
            torch.manual_seed(options.seed + 1)
            self.rival = PatchDiscriminator(options.discriminator_width).to(self.device, self.dtype)
        self._early = self._mix("crops", options.crops, shapes)
        self._late = self._mix("late_crops", options.late_crops, shapes)

    def check_shared_by(self, processes: int) -> None:
        """A UserError where so many processes cannot share a batch of each bucket."""
        for crops, sizes in (self._early, self._late):
            check_shared(crops, sizes, lambda _: processes)

    def parameters(self) -> dict[str, nn.Parameter]:
        """The VidVAE's, and those of its discriminator, which learns in the same step and is not saved with it."""
        named = dict(self.vae.named_parameters())
        if self.rival is not None:
            named |= {f"rival.{name}": parameter for name, parameter in self.rival.named_parameters()}
        return {name: parameter for name, parameter in named.items() if parameter.requires_grad}

    def matrices(self) -> set[str]:
        named = self.parameters().items()
        return {name for name, parameter in named if parameter.ndim >= 2 and not name.startswith(NOT_MATRICES)}

    def batch(self, step: int, progress: float, share: Share) -> VAEBatch:
        crops, sizes = self._late if progress >= 1 - self.options.late_fraction else self._early
        return self.clips.batch(step, crops, sizes, share)

    def loss(self, batch: VAEBatch, draws: Draws, progress: float) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        assert batch.video is not None
        video = video_from_frames(batch.video.to(self.device), self.dtype)
        posterior = self.vae.posterior(video)
        kl = posterior.kl()
        noise = draws.normal(*posterior.mean.shape[1:]).to(self.dtype)
        reconstruction = self.vae.decode_raw(posterior.mean + torch.exp(0.5 * posterior.logvar) * noise)
        loss = vae_loss(reconstruction, video, kl)
        figures: dict[str, float | Tensor] = {"kl": kl.detach()}
        if self.perceptual is not None:
            distance = self.perceptual(reconstruction, video)
            loss = loss + self.options.perceptual_weight * distance
            figures["perceptual"] = distance.detach()
        if self.rival is not None and progress >= self.options.adversarial_start:
            verdict = -fixed(self.rival, reconstruction).float().mean()
            weight = adaptive_weight(loss, verdict, self.vae.decoder.conv_out.weight)
            lesson = hinge_loss(self.rival(video), self.rival(reconstruction.detach()))
            rivalry = self.options.adversarial_weight * weight * verdict + lesson  # each has gradients of its own
            loss = loss + (rivalry - rivalry.detach())  # gradients alone, and NaN: no spike where it begins
            figures |= {"verdict": verdict.detach(), "lesson": lesson.detach(), "adaptive_weight": weight}
        with torch.no_grad():
            figures["psnr"] = psnr(reconstruction, video).mean()
        return loss, figures

    def validate(self) -> dict[str, float]:
        scores = []
        for frames in self.held_out:
            video = video_from_frames(frames.to(self.device), self.dtype)
            reconstruction = self.vae.decode_raw(self.vae.posterior(video).mode()).clamp(-1, 1)
            scores.append(torch.stack([psnr(reconstruction, video), ssim(reconstruction, video)]))
        if not scores:
            return {}
        quality, similarity = torch.cat(scores, dim=1)
        return {
            "val/psnr": quality.mean().item(),
            "val/psnr_worst": quality.min().item(),
            "val/ssim": similarity.mean().item(),
        }

    def sheet(self, path: Path) -> None:
        rows, titles = [], []
        for index, frames in enumerate([clip for some in self.held_out for clip in some.split(1)][:6]):
            video = video_from_frames(frames.to(self.device), self.dtype)
            reconstruction = self.vae.decode_raw(self.vae.posterior(video).mode())
            rows += [video[0], reconstruction[0]]
            titles += [f"held-out clip {index}", f"its reconstruction, {psnr(reconstruction, video).item():.1f} dB"]
        if not rows:
            return
        write_sheet(path, rows, titles)

    def save(self, folder: Path) -> None:
        save_module(folder, self.vae, self.vae.config)

    def _mix(
        self, name: str, texts: Sequence[str], shapes: Collection[str] | None
    ) -> tuple[tuple[Bucket, ...], list[int]]:
        crops = tuple(crop for crop in parse_buckets(texts) if shapes is None or crop.name in shapes)
        if not any(crop.share for crop in crops):
            raise UserError(f"no clip fits any of {name} {', '.join(texts)}: change them, or raise max_crop")
        reference = parse_buckets(self.options.crops)[0]
        whole = self.options.batch_size * reference.volume
        sizes = batch_sizes(crops, whole, self.options.max_batch_size, lambda bucket: bucket.volume)
        return crops, sizes


def held_out_world(options: VAETraining, device: torch.device) -> list[Tensor]:
    """Clips of the world whose combinations training never shows."""
    seeds = range(VALIDATION_SEEDS, VALIDATION_SEEDS + options.validation_clips)
    frames = render_clips(seeds, parse_buckets(options.clips)[0], "held-out", options.fps, device)
    return list(frames.split(4))


def held_out_footage(source: FootageSource, reader: FramesFromFiles) -> list[Tensor]:
    """Clips of the dataset that do not train."""
    batches = source.held_out_batches(reader, 1)
    return [batch.video for batch in batches if batch.video is not None]

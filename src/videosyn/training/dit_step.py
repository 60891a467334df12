"""What a VDiT and its text encoder bring to the loop: cached latents and captions, the objective's error."""

from __future__ import annotations

from pathlib import Path
from random import Random

import torch
from torch import Tensor, nn

from videosyn.dataset.batches import CaptionedLatents, LatentBatch, batch_sizes
from videosyn.dataset.buckets import Bucket, parse_buckets
from videosyn.dataset.latent_cache import encode_frames
from videosyn.dataset.world_clips import VALIDATION_SEEDS, render_clips, scenes_of
from videosyn.diffusion.flow import FlowMatching
from videosyn.sampling.model_index import Defaults, Trained
from videosyn.sampling.pipeline import VideoSynPipeline
from videosyn.text.nano import NanoTextEncoder
from videosyn.training.given import draw_given
from videosyn.training.naming import Namer
from videosyn.training.options import DiTTraining
from videosyn.training.sheets import write_sheet
from videosyn.vdit.model import VDiT
from videosyn.vidvae.model import VidVAE
from videosyn.world.caption import caption
from videosyn.world.footprint import named_cells

PROMPTS = (
    "a red ball bounces on the grass at sunset",
    "a blue cube spins in the snow at night",
    "a yellow house in the desert at noon, the camera pans left",
    "a purple boat moves left on the sea at sunset",
    "an orange cone to the left of a green cylinder in a studio",
    "a white person walks right in a meadow at noon, in cartoon style",
    "a pink rocket moves up in the desert at night, in pixel art style",
    "a red ring, a green tree and a blue diamond in an abstract world",
)
"""What every sample sheet shows."""

NOT_MATRICES = ("vdit.patch_embedder", "vdit.final", "vdit.time_embedder", "text.words", "text.places", "namer")
"""Embeddings, first and last layers: AdamW's, as are norms, biases and modulation tables."""


class DiTStep:
    """Fulfils `loop.TrainingStep`."""

    def __init__(
        self,
        options: DiTTraining,
        vdit: VDiT,
        text_encoder: NanoTextEncoder,
        vae: VidVAE,
        objective: FlowMatching,
        clips: CaptionedLatents,
    ) -> None:
        """`vdit` and `text_encoder` are trained together; `vae` decodes the sample sheets and is saved with them."""
        self.options, self.clips, self.objective = options, clips, objective
        self.vdit, self.text_encoder, self.vae = vdit, text_encoder, vae
        parameter = next(vdit.parameters())
        self.device = parameter.device
        self.namer = Namer(vdit).to(self.device, parameter.dtype) if options.naming_weight else None
        buckets = parse_buckets(options.buckets)
        self._mixed = self._mix(buckets)
        self._image_phase = self._mix(_with_images(buckets, options.image_phase_share))
        self.pipeline = VideoSynPipeline(
            vae,
            vdit,
            text_encoder,
            objective,
            Defaults(
                num_frames=buckets[0].frames,
                height=buckets[0].height,
                width=buckets[0].width,
                guidance=options.guidance,
                fps=options.fps,
            ),
            Trained(
                max_frames=max(bucket.frames for bucket in buckets),
                max_pixels=max(bucket.height * bucket.width for bucket in buckets),
            ),
        )
        self._validation = self._held_out(buckets[0])

    def parameters(self) -> dict[str, nn.Parameter]:
        parts: dict[str, nn.Module] = {"vdit": self.vdit, "text": self.text_encoder}
        if self.namer is not None:
            parts["namer"] = self.namer
        return {
            f"{part}.{name}": parameter
            for part, module in parts.items()
            for name, parameter in module.named_parameters()
            if parameter.requires_grad
        }

    def matrices(self) -> set[str]:
        named = self.parameters().items()
        return {
            name
            for name, parameter in named
            if parameter.ndim >= 2 and not name.startswith(NOT_MATRICES) and not name.endswith("table")
        }

    def batch(self, step: int, progress: float) -> LatentBatch:
        buckets, sizes = self._image_phase if progress < self.options.image_phase_fraction else self._mixed
        return self.clips.batch(step, buckets, sizes)

    def loss(self, batch: LatentBatch, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        error, weight = self._error(batch, generator, self.options.given_share)  # (B, t, h, w), (B, t, 1, 1)
        if batch.things is None:
            return (error * weight).mean() / weight.mean(), {}
        cells = batch.things.to(self.device)  # (B, 3, t, h, w)
        plain = (error * weight).mean() / weight.mean()
        weight = weight * (1.0 + (self.options.thing_weight - 1.0) * (cells[:, 0] > 0).float())  # (B, t, h, w)
        loss, figures = (error * weight).mean() / weight.mean(), {"plain_loss": plain.item()}
        if self.namer is not None:
            naming, shares = self.namer(cells)
            loss = loss + self.options.naming_weight * naming
            figures |= {"naming": naming.item(), **{f"named/{name}": share for name, share in shares.items()}}
        return loss, figures

    def validate(self) -> dict[str, float]:
        generator = torch.Generator(self.device).manual_seed(1)
        error = torch.cat([self._error(batch, generator)[0] for batch in self._validation])  # (N, t, h, w)
        cells = torch.cat([batch.things for batch in self._validation if batch.things is not None])
        there = (cells[:, 0] > 0).to(self.device)
        return {"val/loss": error.mean().item(), "val/things": error[there].mean().item()}

    def sheet(self, path: Path) -> None:
        films = self.pipeline(PROMPTS, num_steps=self.options.sheet_steps)
        rows = [torch.from_numpy(frames).permute(3, 0, 1, 2).float() / 127.5 - 1 for frames in films.frames]
        write_sheet(path, rows, PROMPTS)

    def save(self, folder: Path) -> None:
        self.pipeline.save_pretrained(folder)

    def _error(self, batch: LatentBatch, generator: torch.Generator, given_share: float = 0.0) -> tuple[Tensor, Tensor]:
        """Squared error of the prediction, a mean over channels, fp32 (B, t, h, w); and which frames count,
        fp32 (B, t, 1, 1): those that were not given. Times, noise and given frames: the generator.
        """
        latents = batch.latents.to(self.device).float()
        text = self.text_encoder.encode(batch.captions)
        num_tokens = self._tokens(latents.shape[2:])
        times = self.objective.draw_times(len(latents), num_tokens, generator, self.device)
        noise = torch.randn(latents.shape, generator=generator, device=self.device)
        given = draw_given(len(latents), latents.shape[2], given_share, generator) if given_share else None
        counts = torch.ones(len(latents), 1, 1, 1, device=self.device)
        if given is not None:
            times = times[:, None] * ~given  # (B, t)
            counts = (~given).float()[:, :, None, None]
        noisy = self.objective.corrupt(latents, noise, times)
        fps = torch.full((len(latents),), self.options.fps, device=self.device)
        prediction = self.vdit(noisy, self.objective.timestep(times), text.features, text.mask, fps)
        error = prediction.float() - self.objective.target(latents, noise, times)
        return error.square().mean(1), counts.expand(-1, latents.shape[2], -1, -1)

    def _tokens(self, latent_size: tuple[int, ...] | torch.Size) -> int:
        frames, height, width = latent_size
        return frames * height * width // self.vdit.config.patch_size**2

    def _mix(self, buckets: tuple[Bucket, ...]) -> tuple[tuple[Bucket, ...], list[int]]:
        def tokens(bucket: Bucket) -> int:
            time, space = self.vae.time_factor, self.vae.space_factor
            return self._tokens((1 + (bucket.frames - 1) // time, bucket.height // space, bucket.width // space))

        whole = self.options.batch_size * tokens(parse_buckets(self.options.buckets)[0])
        return buckets, batch_sizes(buckets, whole, self.options.max_batch_size, tokens)

    def _held_out(self, bucket: Bucket) -> list[LatentBatch]:
        """Clips whose combinations training never shows, and full captions, the same each time."""
        seeds = tuple(range(VALIDATION_SEEDS, VALIDATION_SEEDS + self.options.validation_clips))
        frames = render_clips(seeds, bucket, "held-out", self.options.fps, self.device)
        latents = encode_frames(self.vae, frames)
        captions = tuple(
            caption(scene, Random(scene.seed), bucket.frames, "full") for scene in scenes_of(seeds, "held-out")
        )
        things = torch.stack(
            [
                named_cells(scene, bucket.frames, bucket.height, bucket.width, self.options.fps)
                for scene in scenes_of(seeds, "held-out")
            ]
        )
        size = self.options.batch_size
        return [
            LatentBatch(bucket.name, 0, bucket.frames, seeds[low : low + size], captions[low : low + size], *parts)
            for low, *parts in zip(range(0, len(seeds), size), latents.split(size), things.split(size))
        ]


def _with_images(buckets: tuple[Bucket, ...], share: float) -> tuple[Bucket, ...]:
    """The same buckets with `share` of all batches given to images, if there are any."""
    images = sum(bucket.share for bucket in buckets if bucket.frames == 1)
    films = sum(bucket.share for bucket in buckets if bucket.frames > 1)
    if not images or not films:
        return buckets
    return tuple(
        Bucket(
            bucket.frames,
            bucket.height,
            bucket.width,
            bucket.share / images * share if bucket.frames == 1 else bucket.share / films * (1 - share),
        )
        for bucket in buckets
    )

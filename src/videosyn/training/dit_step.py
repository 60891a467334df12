"""What a VDiT and its text encoder bring to the loop: latents and captions, the objective's error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videosyn.core.model_folder import load_strict
from videosyn.dataset.batches import LatentBatch, Share, plan_batch
from videosyn.dataset.buckets import Bucket
from videosyn.dataset.footage_batches import FootageBatch
from videosyn.dataset.latent_cache import encode_frames
from videosyn.sampling.pipeline import VideoSynPipeline, pad_channels
from videosyn.text.features import TextEncoder, TextFeatures
from videosyn.text.nano import NanoTextEncoder
from videosyn.training.dit_batches import dit_batch_sizes, is_divided, latent_size, tokens_of, with_images
from videosyn.training.draws import Draws
from videosyn.training.given import draw_given
from videosyn.training.naming import Namer
from videosyn.training.options import DiTTraining
from videosyn.training.parallel import Team, whole_state
from videosyn.training.saving import save_model
from videosyn.training.sheets import write_sheet
from videosyn.vdit.model import VDiT

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
"""What a sample sheet shows of a model of the world."""

NOT_MATRICES = ("vdit.patch_embedder", "vdit.final", "vdit.time_embedder", "text.words", "text.places", "namer")
"""Embeddings, first and last layers: AdamW's, as are norms, biases and modulation tables."""
NOISE_LEVELS = 4
"""Parts of the times 0 to 1 whose errors are logged apart."""

DiTBatch = LatentBatch | FootageBatch


@dataclass(frozen=True)
class _Noisy:
    """What is drawn for the clips of a batch."""

    latents: Tensor
    """(B, Z + map_channels, t, h, w), clean, fp32."""
    noise: Tensor
    times: Tensor
    """(B,), or (B, t) with 0 where a frame is given."""
    levels: Tensor
    """(B,): each clip's time."""
    counts: Tensor
    """Bool (B, t): frames that are not given, whose error counts."""
    mean_count: Tensor
    """Part of the frames that count, over the batch of all processes."""
    order: Tensor
    """(whole, S), in 0 to 1: which of a frame's tokens come first where only some pass all blocks."""
    all_counts: Tensor
    """`counts` of the batch of all processes: (whole, t)."""
    own: slice
    """Which of that batch these clips are."""


class Clips(Protocol):
    """Where batches come from: `CaptionedLatents`, `FootageBatches`."""

    def batch(self, step: int, buckets: Sequence[Bucket], sizes: Sequence[int], share: Share) -> DiTBatch: ...


class DiTStep:
    """Fulfils `step.TrainingStep`."""

    def __init__(
        self,
        options: DiTTraining,
        pipeline: VideoSynPipeline,
        clips: Clips,
        buckets: tuple[Bucket, ...],
        held_out: Sequence[DiTBatch],
        prompts: Sequence[str] = PROMPTS,
        adapter: bool = False,
        team: Team | None = None,
    ) -> None:
        """The VDiT of `pipeline` is trained, or (`adapter`) what was put on it, and its text encoder where that is a
        small one; its VidVAE encodes what is not latents yet, decodes the sample sheets, and is saved with them.
        The processes of a `team` compute each clip together.
        """
        self.options, self.pipeline, self.clips, self.prompts = options, pipeline, clips, prompts
        self.vdit, self.vae, self.objective = pipeline.vdit, pipeline.vae, pipeline.objective
        self.text_encoder: TextEncoder = pipeline.text_encoder
        self.adapter, self.team, self._validation = adapter, team, held_out
        self._patch_size = self.vdit.config.patch_size
        parameter = next(self.vdit.parameters())
        self.device = parameter.device
        self.namer = Namer(self.vdit).to(self.device, parameter.dtype) if options.naming_weight else None
        self._mixed = self._mix(buckets)
        self._image_phase = self._mix(with_images(buckets, options.image_phase_share))

    def parameters(self) -> dict[str, nn.Parameter]:
        parts: dict[str, nn.Module] = {"vdit": self.vdit}
        if isinstance(self.text_encoder, NanoTextEncoder) and not self.adapter:
            parts["text"] = self.text_encoder
        if self.namer is not None:
            parts["namer"] = self.namer
        return {
            f"{part}.{name}": parameter
            for part, module in parts.items()
            for name, parameter in module.named_parameters()
            if parameter.requires_grad
        }

    def matrices(self) -> set[str]:
        if self.adapter:  # low-rank factors are no layers of their own: AdamW's
            return set()
        named = self.parameters().items()
        return {
            name
            for name, parameter in named
            if parameter.ndim >= 2 and not name.startswith(NOT_MATRICES) and not name.endswith("table")
        }

    def batch(self, step: int, progress: float, share: Share) -> DiTBatch:
        buckets, sizes = self._image_phase if progress < self.options.image_phase_fraction else self._mixed
        if self.team is not None:
            size = latent_size(plan_batch(buckets, sizes, self.options.seed, step).bucket, self.vae)
            share = self.team.share if is_divided(size, self._patch_size, self.team.size) else share
        return self.clips.batch(step, buckets, sizes, share)

    def loss(self, batch: DiTBatch, draws: Draws, progress: float) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        noisy = self._noisy(batch, draws, self.options.given_share)
        if self.team is None or not is_divided(noisy.latents.shape[2:], self._patch_size, self.team.size):
            return self._loss(batch, noisy)
        self.vdit.process_group = self.team.group
        try:
            loss, figures = self._loss(batch, noisy)
        finally:
            self.vdit.process_group = None
        return loss / self.team.size, figures

    def _loss(self, batch: DiTBatch, noisy: _Noisy) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        routed = self._routed(batch, noisy)  # (whole, K)
        own_routed = None if routed is None else routed[noisy.own]
        error, on_map, counts = self._error(batch, noisy, own_routed)  # (B, t, h, w)
        figures: dict[str, float | Tensor] = dict(_by_noise(error.detach(), counts, noisy.levels))
        plain = (error * counts / noisy.mean_count).mean()
        if on_map is not None:
            figures["map"] = (on_map.detach() * counts / noisy.mean_count).mean()
            error = error + self.options.map_weight * on_map
        things = batch.things if isinstance(batch, LatentBatch) else None
        if things is None:
            return (error * counts / noisy.mean_count).mean(), figures
        cells = things.to(self.device)  # (B, 3, t, h, w)
        there = self._everywhere(batch)
        assert there is not None
        weights = noisy.all_counts[:, :, None, None] * self._weight(there)  # (whole, t, h, w)
        loss = (error * counts * self._weight(cells[:, 0] > 0)).mean() / weights.mean()
        figures["plain_loss"] = plain.detach()
        if self.namer is not None:
            naming, shares = self.namer(cells, own_routed, self.namer.mean_weight(there, routed))
            loss = loss + self.options.naming_weight * naming
            figures |= {"naming": naming.detach(), **{f"named/{name}": share for name, share in shares.items()}}
        return loss, figures

    def validate(self) -> dict[str, float]:
        if not self._validation:
            return {}
        draws = [Draws(1 + place, batch.size, device=self.device) for place, batch in enumerate(self._validation)]
        errors = [self._error(batch, self._noisy(batch, draw, 0.0)) for batch, draw in zip(self._validation, draws)]
        on_maps = [on_map.flatten() for _, on_map, _ in errors if on_map is not None]
        errors = [error for error, _, _ in errors]  # each (B, t, h, w)
        figures = {"val/loss": torch.cat([error.flatten() for error in errors]).mean().item()}
        if on_maps:
            figures["val/map"] = torch.cat(on_maps).mean().item()
        things = [batch.things for batch in self._validation if isinstance(batch, LatentBatch)]
        if things and all(each is not None for each in things):
            there = torch.cat([each[:, 0] > 0 for each in things if each is not None]).to(self.device)
            figures["val/things"] = torch.cat(errors)[there].mean().item()
        return figures

    def sheet(self, path: Path) -> None:
        pipeline = self._whole()
        if pipeline is None or not self.prompts or not self.options.sheet_steps:
            return
        films = pipeline(self.prompts, num_steps=self.options.sheet_steps)
        rows = [torch.from_numpy(frames).permute(3, 0, 1, 2).float() / 127.5 - 1 for frames in films.frames]
        write_sheet(path, rows, self.prompts)

    def save(self, folder: Path) -> None:
        pipeline = self._whole()
        if pipeline is not None:
            save_model(pipeline, folder, self.options.text or self.options.init, self.adapter)

    def _whole(self) -> VideoSynPipeline | None:
        """The pipeline with undivided models; None on all processes but the first that divide them."""
        from torch.distributed.fsdp import FSDPModule

        if not isinstance(self.vdit, FSDPModule):
            return self.pipeline
        vdit_state = whole_state(self.vdit)
        text: TextEncoder = self.text_encoder
        if isinstance(text, NanoTextEncoder):
            text_state = whole_state(text)
            text = NanoTextEncoder(text.config, text.tokenizer)
            if text_state:
                load_strict(text, text_state, "the text encoder")
        if not vdit_state:
            return None
        like = next(self.vae.parameters())
        vdit = VDiT(self.vdit.config)
        load_strict(vdit, vdit_state, "the VDiT")
        if isinstance(text, NanoTextEncoder):
            text = text.to(like.device, like.dtype)
        vdit = vdit.to(like.device, like.dtype)
        return VideoSynPipeline(self.vae, vdit, text, self.objective, self.pipeline.defaults, self.pipeline.trained)

    def _noisy(self, batch: DiTBatch, draws: Draws, given_share: float) -> _Noisy:
        """Latents with noise: all that is drawn for a batch."""
        latents = self._latents(batch)
        channels, size = latents.shape[1], latents.shape[2:]
        num_tokens = tokens_of(size, self.vdit.config.patch_size)
        times = self.objective.draw_times(draws.whole, num_tokens, draws.generator, self.device)
        given = draw_given(draws.whole, size[0], given_share, draws.generator) if given_share else None
        noise, levels = draws.normal(channels, *size), draws.own(times)
        if given is None:
            given = torch.zeros(draws.whole, size[0], dtype=torch.bool, device=self.device)
            times = levels
        else:
            times = levels[:, None] * ~draws.own(given)  # (B, t)
            channels_of_latents = self.vdit.config.latent_channels  # of what is given no map is known
            latents[:, channels_of_latents:] *= ~draws.own(given)[:, None, :, None, None]
        places = tokens_of((1, size[1], size[2]), self._patch_size)
        order = torch.rand(draws.whole, places, generator=draws.generator, device=self.device)
        counts, own = ~given, slice(draws.first, draws.first + draws.size)
        return _Noisy(latents, noise, times, levels, counts[own], counts.float().mean(), order, counts, own)

    def _weight(self, there: Tensor) -> Tensor:
        """Of the error in each cell, by whether a thing is there."""
        return 1.0 + (self.options.thing_weight - 1.0) * there.float()

    def _everywhere(self, batch: DiTBatch) -> Tensor | None:
        """Where things are in the batch of all processes, bool (whole, t, h, w): so parts of it add up to the whole."""
        if not isinstance(batch, LatentBatch) or batch.things is None:
            return None
        return (batch.things[:, 0] > 0 if batch.everywhere is None else batch.everywhere[0]).to(self.device)

    def _routed(self, batch: DiTBatch, noisy: _Noisy) -> Tensor | None:
        """Which places (whole, K) of the batch of all processes pass the VDiT's middle blocks: where things are, and
        some others. None: all.
        """
        places = noisy.order.shape[1]
        kept = max(1, round(self.options.routed_share * places))
        if kept == places or self.vdit.process_group is not None or not self.vdit.middle:
            return None
        order = noisy.order
        if (things := self._everywhere(batch)) is not None:
            order = order + F.max_pool2d(things.float().amax(1), self._patch_size).flatten(1)  # (whole, S)
        return order.topk(kept, dim=1).indices.sort(dim=1).values

    def _error(
        self, batch: DiTBatch, noisy: _Noisy, routed: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """Squared error of the prediction, a mean over the latents' channels, fp32 (B, t, h, w); the same of the map,
        None where none is known; and which frames count, those that were not given, fp32 of that shape.
        """
        latents, times = noisy.latents, noisy.times
        text = self._text(batch.captions)
        rates = batch.fps if isinstance(batch, FootageBatch) else [self.options.fps] * len(latents)
        fps = torch.tensor(rates, dtype=torch.float32, device=self.device)
        corrupted = self.objective.corrupt(latents, noisy.noise, times)
        prediction = self.vdit(corrupted, self.objective.timestep(times), text.features, text.mask, fps, None, routed)
        prediction = prediction[:, : latents.shape[1]].float()  # of a model with learned variance, without it
        error = (prediction - self.objective.target(latents, noisy.noise, times)).square()
        channels = self.vdit.config.latent_channels
        maps = batch.maps if isinstance(batch, LatentBatch) else None
        counts = noisy.counts.float()[:, :, None, None]  # (B, t, 1, 1)
        on_map = None
        if maps is not None:  # of the clean map: an error of velocity, times the time
            on_map = error[:, channels:].mean(1) * times.view(len(times), -1, 1, 1).square()
        return error[:, :channels].mean(1), on_map, counts.expand(-1, -1, *latents.shape[3:])

    def _latents(self, batch: DiTBatch) -> Tensor:
        """(B, Z, t, h, w), normalised, fp32; after them the map, zeros where none is known."""
        if batch.latents is not None:
            latents = batch.latents.to(self.device).float()
        else:
            assert isinstance(batch, FootageBatch)
            assert batch.video is not None
            latents = encode_frames(self.vae, batch.video).float()
        if not self.vdit.config.map_channels:
            return latents
        maps = batch.maps if isinstance(batch, LatentBatch) else None
        return (
            pad_channels(latents, self.vdit.config.num_in_channels)
            if maps is None
            else torch.cat([latents, maps.to(latents)], 1)
        )

    def _text(self, captions: Sequence[str]) -> TextFeatures:
        """Features; where a caption is left out and the VDiT stores a null caption, that, as long as the others."""
        text = self.text_encoder.encode(captions)
        if not self.vdit.config.null_text_tokens or all(captions):
            return text
        left_out = torch.tensor([not caption for caption in captions], device=text.mask.device)
        length = text.mask.shape[1]
        null, _ = self.vdit.null_features(len(captions))
        null = null[:, :length].to(text.features)  # (B, L', E), L' at most the stored number
        null = torch.nn.functional.pad(null, (0, 0, 0, length - null.shape[1]))
        there = torch.arange(length, device=text.mask.device) < self.vdit.config.null_text_tokens
        features = torch.where(left_out[:, None, None], null, text.features)
        return TextFeatures(features, torch.where(left_out[:, None], there, text.mask))

    def _mix(self, buckets: tuple[Bucket, ...]) -> tuple[tuple[Bucket, ...], list[int]]:
        return buckets, dit_batch_sizes(self.options, buckets, self.vae, self.vdit.config.patch_size)


def _by_noise(error: Tensor, counts: Tensor, levels: Tensor) -> dict[str, Tensor]:
    """The error of the clips in each part of the times: its sum, and how many clips there are."""
    each = (error * counts).mean((1, 2, 3)) / counts.mean((1, 2, 3))  # (B,)
    part = (levels * NOISE_LEVELS).long().clamp(max=NOISE_LEVELS - 1)  # (B,)
    found = {}
    for index in range(NOISE_LEVELS):
        there = (part == index).float()
        found[f"loss/noise_{index + 1}of{NOISE_LEVELS}"] = torch.stack([(each * there).sum(), there.sum()])
    return found

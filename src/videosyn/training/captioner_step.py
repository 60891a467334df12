"""What a captioner brings to the loop: frames and captions, their likelihood, what it says of held-out clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from videosyn.captioner.frames import evenly_spaced
from videosyn.captioner.model import Captioner
from videosyn.captioner.storage import save_captioner
from videosyn.dataset.batches import Share, batch_sizes
from videosyn.dataset.buckets import Bucket
from videosyn.dataset.footage_batches import FootageBatch, FootageBatches
from videosyn.training.captioner_namer import Namer
from videosyn.training.captioner_options import CaptionerTraining
from videosyn.training.captioner_source import CaptionedFrames
from videosyn.training.draws import Draws
from videosyn.training.sheets import write_sheet
from videosyn.world.parsed import Parsed
from videosyn.world.parser import parse

NOT_MATRICES = (
    "namer",
    "vision.stem",
    "vision.places",
    "resampler.queries",
    "times",
    "memory.memory",
    "memory.keep",
    "memory.read.places",
    "memory.write.places",
    "language.model.embed_tokens",
    "language.lm_head",
)
"""Embeddings, first and last layers: AdamW's, as are norms and biases."""
NOISE = 0.08
"""Largest standard deviation of what is added to worn pictures, in levels of 0 to 1."""


class Clips(Protocol):
    """Where batches come from: `WorldFrames`, `FootageFrames`."""

    def batch(self, step: int, buckets: Sequence[Bucket], sizes: Sequence[int], share: Share) -> CaptionedFrames: ...


class FootageFrames:
    """Clips of a dataset as a captioner sees them. Fulfils `Clips`."""

    def __init__(self, batches: FootageBatches, num_frames: int, prompt: str) -> None:
        self.batches, self.num_frames, self.prompt = batches, num_frames, prompt

    def batch(self, step: int, buckets: Sequence[Bucket], sizes: Sequence[int], share: Share) -> CaptionedFrames:
        return frames_of(self.batches.batch(step, buckets, sizes, share), self.num_frames, self.prompt)


def frames_of(batch: FootageBatch, num_frames: int, prompt: str) -> CaptionedFrames:
    """At most `num_frames` frames of each clip, spread evenly."""
    assert batch.video is not None
    count = batch.video.shape[1]
    numbers = evenly_spaced(count, num_frames)
    times = torch.tensor([number / max(1, count - 1) for number in numbers]).expand(batch.size, -1)
    prompts = (prompt,) * batch.size
    return CaptionedFrames(
        batch.bucket,
        batch.step,
        batch.names,
        prompts,
        batch.captions,
        batch.video[:, numbers],
        times,
        first=batch.first,
        whole=batch.whole,
    )


class CaptionerStep:
    """Fulfils `step.TrainingStep`."""

    def __init__(
        self,
        options: CaptionerTraining,
        model: Captioner,
        clips: Clips,
        buckets: Sequence[Bucket],
        held_out: Sequence[tuple[CaptionedFrames, tuple[Parsed, ...]]],
    ) -> None:
        """held_out: clips, and what there is to say of each where the world made them; else an empty tuple."""
        self.options, self.model, self.clips, self.buckets, self.held_out = (
            options,
            model,
            clips,
            tuple(buckets),
            held_out,
        )
        weight = model.weight
        self.namer = Namer(model).to(weight.device, weight.dtype) if options.naming_weight else None
        num_frames = model.config.num_frames
        first = min(buckets[0].frames, num_frames) * buckets[0].height * buckets[0].width
        self._sizes = batch_sizes(
            buckets,
            options.batch_size * first,
            options.max_batch_size,
            lambda bucket: min(bucket.frames, num_frames) * bucket.height * bucket.width,
        )

    def parameters(self) -> dict[str, nn.Parameter]:
        """The captioner's, and those of the lesson in naming, which are not saved with it."""
        named = dict(self.model.named_parameters())
        if self.namer is not None:
            named |= {f"namer.{name}": parameter for name, parameter in self.namer.named_parameters()}
        return {name: parameter for name, parameter in named.items() if parameter.requires_grad}

    def matrices(self) -> set[str]:
        named = self.parameters().items()
        return {name for name, parameter in named if parameter.ndim >= 2 and not name.startswith(NOT_MATRICES)}

    def batch(self, step: int, progress: float, share: Share) -> CaptionedFrames:
        return self.clips.batch(step, self.buckets, self._sizes, share)

    def loss(
        self, batch: CaptionedFrames, draws: Draws, progress: float
    ) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        weight = self.model.weight
        pictures = self.model.pictures(batch.frames)  # (B, T, 3, H, W)
        if self.options.worn_share:
            pictures = worn(pictures, draws, self.options.worn_share, self.model.config.image_std)
        losses = self.model(pictures, batch.times.to(weight.device), batch.prompts, batch.captions)
        if self.namer is None or batch.cells is None or batch.places is None:
            return losses.mean(), {}
        lesson, figures = self.namer(batch.cells.to(weight.device), batch.places.to(weight.device))
        caption_loss = losses.mean()
        return caption_loss + self.options.naming_weight * lesson, {"caption": caption_loss.detach(), **figures}

    def validate(self) -> dict[str, float]:
        losses, total = [], 0
        counts: dict[str, int] = dict.fromkeys(("exact", "things", "motion", "rest"), 0)
        for batch, truths in self.held_out:
            memory = self._watch(batch)
            losses.append(self.model.likelihood(memory, batch.prompts, batch.captions))
            for truth, text in zip(truths, self.model.say(memory, batch.prompts[0]) if truths else ()):
                total += 1
                for name, right in _compare(truth, parse(text)).items():
                    counts[name] += right
        if not losses:
            return {}
        shares = {f"val/{name}": count / total for name, count in counts.items()} if total else {}
        return {"val/loss": torch.cat(losses).mean().item(), **shares}

    def sheet(self, path: Path) -> None:
        rows, titles = [], []
        for batch, _ in self.held_out[:1]:
            said = self.model.say(self._watch(batch), batch.prompts[0])
            for frames, caption in list(zip(batch.frames, said))[:12]:
                rows.append(rearrange(frames.float() / 127.5 - 1, "t h w c -> c t h w"))
                titles.append(caption)
        if rows:
            write_sheet(path, rows, titles)

    def save(self, folder: Path) -> None:
        save_captioner(folder, self.model)

    def _watch(self, batch: CaptionedFrames) -> Tensor:
        numbers = evenly_spaced(batch.frames.shape[1], self.model.config.num_frames)
        times = batch.times[:, numbers].to(self.model.weight.device)
        return self.model.watch(self.model.pictures(batch.frames[:, numbers]), times)


def _compare(truth: Parsed, said: Parsed) -> dict[str, bool]:
    """What of a dense caption is right: the kinds and colours in their order, the first motion, place to style."""

    def rest(each: Parsed) -> tuple[str | None, ...]:
        return each.place, each.light, each.camera, each.style

    right = {
        "things": [(thing.kind, thing.colour) for thing in truth.things]
        == [(thing.kind, thing.colour) for thing in said.things],
        "motion": [thing.motion for thing in truth.things] == [thing.motion for thing in said.things],
        "rest": rest(truth) == rest(said),
    }
    return {"exact": all(right.values()) and truth.relation == said.relation, **right}


def worn(pictures: Tensor, draws: Draws, share: float, std: tuple[float, float, float]) -> Tensor:
    """Pictures (B, T, 3, H, W), of which a share is blurred and noisy, each clip in one way."""
    whole, device = draws.whole, pictures.device
    chosen, blur, noise = torch.rand(3, whole, generator=draws.generator, device=draws.device)
    chosen, blur, noise = (draws.own(each).to(device) for each in (chosen, blur, noise))
    mark = (chosen < share).view(-1, 1, 1, 1, 1)
    frames = pictures.flatten(0, 1)
    soft = F.avg_pool2d(F.pad(frames, (1, 1, 1, 1), mode="replicate"), 3, stride=1).view_as(pictures)
    mixed = torch.lerp(pictures, soft, blur.view(-1, 1, 1, 1, 1).to(pictures.dtype))
    grain = draws.normal(*pictures.shape[1:]).to(pictures) * (noise * NOISE / std[1]).view(-1, 1, 1, 1, 1).to(pictures)
    return torch.where(mark, mixed + grain, pictures)

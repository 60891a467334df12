"""Other people's models: any diffusers text-to-video pipeline folder, used as ours is. Next: `pipeline.py`, ours.

diffusers and transformers are imported only when such a folder is opened. Their loader warns about weights that are
missing and goes on; here every tensor of denoiser, VAE and text encoders has to be in the files, and nothing else.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import nn

from videosyn.core.errors import UserError
from videosyn.core.runtime import is_out_of_memory, pick_device, pick_dtype
from videosyn.sampling.families import family_of
from videosyn.sampling.fitting import weights_that_do_not_fit_mean_user_error
from videosyn.sampling.foreign_loading import check_complete, text_encoders
from videosyn.sampling.foreign_preview import ForeignPreview
from videosyn.sampling.foreign_sizes import check_asked, unlike_asked
from videosyn.sampling.foreign_vae import ForeignVae
from videosyn.sampling.model_index import find_model, is_foreign
from videosyn.sampling.output import VideoOutput, together
from videosyn.sampling.pipeline import VideoSynPipeline, checked_prompts, seeds_of_films

if TYPE_CHECKING:
    from diffusers.pipelines.pipeline_utils import DiffusionPipeline

FRAMES = ("num_frames", "video_length", "frames")
"""What pipelines call the number of a film's frames; the last two are Latte's and SanaVideo's."""
ALONE = ("LattePipeline",)
"""Pipelines whose films change with the prompts beside theirs: they see the padding of texts made equally long."""
STRICT = ("transformer", "transformer_2", "unet", "vae")
"""Parts whose files must hold all their tensors and no others."""


def open_pipeline(name: str, device: str = "auto", dtype: str = "auto") -> VideoSynPipeline | ForeignPipeline:
    """The shipped model, a folder or a hub id: ours, or a diffusers pipeline. Raises UserError where it is neither."""
    folder = find_model(name)
    if is_foreign(folder):
        return ForeignPipeline.from_pretrained(folder, device, dtype)
    return VideoSynPipeline.from_pretrained(folder, device, dtype)


class ForeignPipeline:
    """A diffusers text-to-video pipeline, called as `VideoSynPipeline` is."""

    def __init__(self, pipeline: DiffusionPipeline) -> None:
        self.pipeline = pipeline
        self.name = type(pipeline).__name__
        call: Callable[..., Any] = pipeline.__call__  # pyright: ignore[reportAttributeAccessIssue]
        self._accepts = inspect.signature(call).parameters
        frames_name = next((name for name in FRAMES if name in self._accepts), None)
        if frames_name is None or "prompt" not in self._accepts:
            raise UserError(f"a {self.name} makes no films from prompts: give a text-to-video pipeline")
        self._frames_name = frames_name
        if "image" in self._accepts and self._accepts["image"].default is inspect.Parameter.empty:
            raise UserError(f"a {self.name} needs a picture: give a text-to-video pipeline")

    @classmethod
    def from_pretrained(cls, folder: Path, device: str = "auto", dtype: str = "auto") -> ForeignPipeline:
        """Raises UserError where a part is missing or damaged, a class unknown, or a tensor not accounted for."""
        try:
            from diffusers.pipelines.pipeline_utils import DiffusionPipeline
            from diffusers.utils import logging
        except ImportError as error:
            raise UserError(f"{folder} is a diffusers pipeline: pip install 'videosyn[diffusers]'") from error
        place = pick_device(device)
        logging.disable_progress_bar()
        number = pick_dtype(dtype, place)
        try:
            readers = text_encoders(folder, number)
            pipeline = DiffusionPipeline.from_pretrained(folder, dtype=number, use_safetensors=True, **readers)
        except (OSError, ValueError, AttributeError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
            raise UserError(f"{folder} does not load: {' '.join(str(error).split())[:200]}") from error
        for name in STRICT:
            part = getattr(pipeline, name, None)
            if isinstance(part, nn.Module):
                check_complete(part, folder / name)
        pipeline.set_progress_bar_config(disable=True)
        with weights_that_do_not_fit_mean_user_error(folder, place, "use a smaller model"):
            return cls(pipeline.to(place))

    def batches(
        self,
        prompt: str | Sequence[str],
        num_frames: int | None = None,
        height: int | None = None,
        width: int | None = None,
        num_steps: int | None = None,
        guidance: float | None = None,
        negative_prompt: str | None = None,
        seed: int | Sequence[int] = 0,
        num_videos: int = 1,
        fps: float | None = None,
        cache_threshold: float | None = None,
        progress: Callable[[int, int], None] | None = None,
        preview: Callable[[range, Callable[[], np.ndarray]], None] | None = None,
        batch: int = 1,
        **others: Any,
    ) -> Iterator[VideoOutput]:
        """As `VideoSynPipeline`'s; what is None is the pipeline's own default. Its own rules on sizes hold.

        cache_threshold: of diffusers' first-block cache, the same criterion as ours. preview: as there, from the second
        step on; pictures() raises UserError where the latents or the VAE are of an unknown kind. batch: films that are
        made together, at most; fewer where memory, or the pipeline, does not take as many.

        Raises UserError for what it does not take.
        """
        for name, value in others.items():
            if value is not None:
                raise UserError(f"a {self.name} does not take {name.replace('_', '-')}: leave it out")
        steps = self._accepts["num_inference_steps"].default if num_steps is None else num_steps
        prompts = [each for each in checked_prompts(prompt, num_videos, steps) for _ in range(num_videos)]
        check_asked(self.pipeline, num_frames, height, width)
        seeds = seeds_of_films(seed, len(prompts))
        asked = {
            self._frames_name: num_frames,
            "height": height,
            "width": width,
            "num_inference_steps": num_steps,
            "guidance_scale": guidance,
            "negative_prompt": negative_prompt,
            "frame_rate": fps if "frame_rate" in self._accepts else None,
            # SanaVideo would make another size, and resize.
            "use_resolution_binning": False if "use_resolution_binning" in self._accepts else None,
        }
        asked = {name: value for name, value in asked.items() if value is not None}
        for name in asked:
            if name not in self._accepts:
                raise UserError(f"a {self.name} does not take {name.replace('_', '-')}: leave it out")
        start, notes = 0, ()
        batch = 1 if self.name in ALONE else batch
        self._cache(cache_threshold)
        while start < len(prompts):
            now = range(start, min(start + batch, len(prompts)))

            def told(step: int, shown: ForeignPreview, now: range = now) -> None:
                if preview is not None and shown.ready:
                    preview(now, shown.pictures)
                if progress is not None:
                    progress(now.start * steps + (step + 1) * len(now), len(prompts) * steps)

            try:
                frames = self._films(prompts[now.start : now.stop], seeds[now.start : now.stop], told, **asked)
            except UserError:
                if len(now) == 1:
                    raise
                batch = len(now) // 2
                notes = ("films were made fewer at a time than asked for: together they did not fit",)
                continue
            start = now.stop
            said = (*notes, *unlike_asked(frames, num_frames, height, width))
            yield VideoOutput(frames, fps or self._fps(), prompts[now.start : start], seeds[now.start : start], said)

    __call__ = together(batches)

    @property
    def device(self) -> torch.device:
        return self.pipeline.device

    @property
    def dtype(self) -> torch.dtype:
        return self.pipeline.dtype

    def unknown_words(self, prompts: Sequence[str]) -> list[str]:
        """None: its text encoder knows subwords."""
        return []

    def _films(
        self, prompts: list[str], seeds: list[int], told: Callable[[int, ForeignPreview], None], **asked: Any
    ) -> np.ndarray:
        """uint8 (B, T, H, W, 3). told: called after every step that the pipeline tells of."""
        size = [asked.get(name) for name in (self._frames_name, "height", "width")]
        shown = ForeignPreview(self.pipeline, lambda latents: self._vae.decode(latents), size)

        def after_step(pipeline: Any, step: int, timestep: Any, kept: dict[str, Any]) -> dict[str, Any]:
            shown.see(step, kept.get("latents"))
            told(step, shown)
            return kept

        generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        if "callback_on_step_end" in self._accepts:
            return self._batch(prompts, generators, {**asked, "callback_on_step_end": after_step})
        with _watched_steps(self.pipeline, after_step):
            return self._batch(prompts, generators, asked)

    def _batch(self, prompts: list[str], generators: list[torch.Generator], asked: dict[str, Any]) -> np.ndarray:
        if len(prompts) == 1:
            return self._called(prompt=prompts[0], generator=generators[0], **asked)
        if "negative_prompt" in asked:
            asked["negative_prompt"] = [asked["negative_prompt"]] * len(prompts)
        try:
            return self._called(prompt=prompts, generator=generators, **asked)
        except (TypeError, IndexError, RuntimeError) as error:
            raise UserError(f"a {self.name} does not take {len(prompts)} prompts at once") from error

    @cached_property
    def _vae(self) -> ForeignVae:
        return ForeignVae(getattr(self.pipeline, "vae"))  # noqa: B009, which parts there are differs

    def _called(self, **arguments: Any) -> np.ndarray:
        call: Any = self.pipeline
        try:
            output = call(output_type="np", **arguments)
        except ValueError as error:  # its own rules
            raise UserError(f"{self.name}: {' '.join(str(error).split())[:200]}") from error
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise UserError(f"out of memory: {self.name} takes no less for this many frames of this size") from error
        frames = getattr(output, "frames", None)
        if frames is None:
            raise UserError(f"a {self.name} makes pictures, no films: give a text-to-video pipeline")
        return (np.asarray(frames, np.float32) * 255).round().clip(0, 255).astype(np.uint8)

    def _cache(self, threshold: float | None) -> None:
        """Switches the denoiser's first-block cache on, or off again."""
        denoiser: Any = getattr(self.pipeline, "transformer", None)
        if getattr(denoiser, "is_cache_enabled", False):
            denoiser.disable_cache()
        if not threshold:
            return
        from diffusers.hooks.first_block_cache import FirstBlockCacheConfig

        try:
            denoiser.enable_cache(FirstBlockCacheConfig(threshold=threshold))
        except (AttributeError, ValueError, KeyError) as error:
            raise UserError(f"a {self.name} has no first-block cache: leave out cache-threshold") from error

    def _fps(self) -> float:
        own = self._accepts["frame_rate"].default if "frame_rate" in self._accepts else None
        return float(own or family_of(self.name).fps)


@contextmanager
def _watched_steps(pipeline: Any, after_step: Callable[..., Any]) -> Iterator[None]:
    """Within the block `after_step` is told of the scheduler's steps, as a callback would be: for pipelines that take
    none (HunyuanVideo-1.5)."""
    scheduler = pipeline.scheduler
    step, done = scheduler.step, 0

    def watched(*given: Any, **options: Any) -> Any:
        nonlocal done
        result = step(*given, **options)
        latents = result[0] if isinstance(result, tuple) else result.prev_sample
        if done < len(scheduler.timesteps):
            after_step(pipeline, done, scheduler.timesteps[done], {"latents": latents})
        done += 1
        return result

    scheduler.step = watched
    try:
        yield
    finally:
        del scheduler.step  # the class's is seen again

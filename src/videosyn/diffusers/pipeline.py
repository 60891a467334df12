"""prompt -> frames, as diffusers' text-to-video pipelines do it. Its models: `autoencoder.py`, `transformer.py`."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from diffusers.utils.outputs import BaseOutput
from diffusers.utils.torch_utils import randn_tensor
from diffusers.video_processor import VideoProcessor
from PIL import Image
from torch import Tensor

from videosyn.core import config as config_io
from videosyn.core.errors import UserError
from videosyn.core.shapes import check_num_frames, check_size, latent_shape
from videosyn.diffusers.autoencoder import AutoencoderVidVAE
from videosyn.diffusers.folder import model_folder, number_type
from videosyn.diffusers.lora import VideoSynLoraMixin
from videosyn.diffusers.prompt_encoder import PromptEncoder
from videosyn.diffusers.schedulers import (
    Objective,
    from_entries,
    load_scheduler,
    make_scheduler,
    note_scheduler,
    set_timesteps,
    to_entries,
)
from videosyn.diffusers.transformer import VDiTTransformer3DModel
from videosyn.diffusers.twin import check_hub_options, check_saving
from videosyn.diffusion.guidance import Guidance
from videosyn.sampling.model_index import Defaults, ModelIndex, Trained
from videosyn.sampling.parts import check_parts
from videosyn.sampling.pipeline import VideoSynPipeline, null_caption
from videosyn.sampling.storage import OBJECTIVE, OBJECTIVE_CONFIG, TEXT, VAE, VDIT, save_pipeline
from videosyn.text.features import TextFeatures

OUTPUT_TYPES = ("pil", "np", "pt", "latent")


@dataclass
class VideoSynPipelineOutput(BaseOutput):
    """frames: "pil" a list of lists of images; "np" (N, T, H, W, 3) and "pt" (N, T, 3, H, W) in [0, 1]; or latents."""

    frames: list[list[Image.Image]] | np.ndarray | Tensor


class VideoSynDiffusionPipeline(DiffusionPipeline, VideoSynLoraMixin):
    """The twin of `VideoSynPipeline`: same folders, and with the default scheduler the same films.

    But for `ddpm`, which draws noise on its way, here from the caller's generator.
    """

    model_cpu_offload_seq = "text_encoder->transformer->vae"
    _exclude_from_cpu_offload = ("text_encoder",)  # from the sequential kind: tokens follow its weights' device
    _callback_tensor_inputs = ("latents",)

    def __init__(
        self,
        vae: AutoencoderVidVAE,
        transformer: VDiTTransformer3DModel,
        text_encoder: PromptEncoder,
        scheduler: SchedulerMixin,
        videosyn_objective: dict[str, Any] | None = None,
        videosyn_defaults: dict[str, Any] | None = None,
        videosyn_trained: dict[str, Any] | None = None,
    ) -> None:
        """The last three as in the folder's JSON: what the transformer was trained for (default: FlowMatching), what a
        call that leaves something out gets, what the model has seen. Raises UserError where the parts do not belong
        together.
        """
        check_parts(
            *(vae.config.latent_channels, transformer.config.latent_channels),
            *(text_encoder.width, transformer.config.text_width),
        )
        super().__init__()
        self.register_modules(vae=vae, transformer=transformer, text_encoder=text_encoder, scheduler=scheduler)
        self.register_to_config(
            videosyn_objective=videosyn_objective or {"_class_name": "FlowMatching"},
            videosyn_defaults=videosyn_defaults or {},
            videosyn_trained=videosyn_trained or {},
        )
        self.video_processor = VideoProcessor(vae_scale_factor=vae.space_factor)
        self._interrupt, self._current_timestep = False, None

    @property
    def objective(self) -> Objective:
        """What the transformer was trained for."""
        return from_entries(self.config["videosyn_objective"], "videosyn_objective")

    @property
    def defaults(self) -> Defaults:
        """What a call that leaves something out gets."""
        return config_io.from_dict(Defaults, self.config["videosyn_defaults"], "videosyn_defaults")

    @classmethod
    def from_core(cls, pipeline: VideoSynPipeline) -> Self:
        """A twin that shares the pipeline's models."""
        return cls(
            AutoencoderVidVAE.from_core(pipeline.vae),
            VDiTTransformer3DModel.from_core(pipeline.vdit),
            PromptEncoder(pipeline.text_encoder),  # pyright: ignore[reportArgumentType]  # one of the two in any folder
            make_scheduler(pipeline.objective, pipeline.defaults.sampler),
            to_entries(pipeline.objective),
            config_io.to_dict(pipeline.defaults),
            config_io.to_dict(pipeline.trained),
        )

    def to_core(self) -> VideoSynPipeline:
        """Our own pipeline, sharing this one's models. It samples with the sampler of `defaults`."""
        trained = config_io.from_dict(Trained, self.config["videosyn_trained"], "videosyn_trained")
        parts = self.vae.to_core(), self.transformer.to_core(), self.text_encoder.encoder
        return VideoSynPipeline(*parts, self.objective, self.defaults, trained)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike = "nano",
        *,
        dtype: torch.dtype | None = None,
        torch_dtype: torch.dtype | None = None,
        **options: Any,
    ) -> Self:
        """The shipped model "nano", a folder that either world wrote, or a hub id. Strict: all weights fit.

        dtype (or torch_dtype): default float32. vae, transformer, text_encoder or scheduler given here are used as
        they are (a quantised transformer, say); other options: see `folder.py`.
        """
        given = {name: options.pop(name) for name in (VAE, VDIT, TEXT, OBJECTIVE) if name in options}
        folder = model_folder(pretrained_model_name_or_path, **options)
        number = number_type(dtype, torch_dtype)
        index = ModelIndex.load(folder)
        path = folder / OBJECTIVE / OBJECTIVE_CONFIG
        objective = from_entries(config_io.read_json(path), path)
        classes = {VAE: AutoencoderVidVAE, VDIT: VDiTTransformer3DModel, TEXT: PromptEncoder}
        parts = {
            name: given[name] if name in given else part.from_pretrained(folder, subfolder=name, dtype=number)
            for name, part in classes.items()
        }
        if OBJECTIVE not in given:
            given[OBJECTIVE] = load_scheduler(path, objective, index.defaults.sampler)
        pipeline = cls(
            **parts,
            scheduler=given[OBJECTIVE],
            videosyn_objective=to_entries(objective),
            videosyn_defaults=config_io.to_dict(index.defaults),
            videosyn_trained=config_io.to_dict(index.trained),
        )
        pipeline.register_to_config(_name_or_path=os.fspath(pretrained_model_name_or_path))
        return pipeline

    def save_pretrained(
        self,
        save_directory: str | os.PathLike,
        *,
        int8: bool = False,
        safe_serialization: bool = True,
        variant: str | None = None,
        push_to_hub: bool = False,
        **hub: Any,
    ) -> None:
        """Writes the folder that either world reads; the scheduler in use is kept as a note. int8: a quarter as large.

        push_to_hub: afterwards also to the hub, as `repo_id` (default: the folder's name) with the other options.
        """
        check_saving(safe_serialization, variant)
        check_hub_options(push_to_hub, hub)
        save_pipeline(self.to_core(), save_directory, int8)
        note_scheduler(Path(save_directory) / OBJECTIVE / OBJECTIVE_CONFIG, self.scheduler)
        if push_to_hub:
            self.push_to_hub(hub.pop("repo_id", Path(save_directory).name), **hub)

    @property
    def current_timestep(self) -> Tensor | None:
        """The timestep being computed; None outside a call. Caches ask for it."""
        return self._current_timestep

    @property
    def interrupt(self) -> bool:
        """Set `_interrupt` in a callback to skip the remaining steps."""
        return self._interrupt

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | Sequence[str],
        negative_prompt: str | Sequence[str] | None = None,
        num_frames: int | None = None,
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        num_videos_per_prompt: int = 1,
        fps: float | None = None,
        generator: torch.Generator | list[torch.Generator] | None = None,
        latents: Tensor | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        callback_on_step_end: Callable[[Any, int, Tensor, dict[str, Any]], dict[str, Any] | None] | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
    ) -> VideoSynPipelineOutput | tuple:
        """Generates `num_videos_per_prompt` films for each prompt. What is None comes from `defaults`.

        num_frames: 1 + 4k. height, width: pixels, multiples of one token's side. guidance_scale: 1 switches it off.
        generator: one, or one a film; a film with `torch.Generator().manual_seed(s)` is our own pipeline's with seed s.
        latents: noise (N, Z + map_channels, t, h, w) to begin with.
        callback_on_step_end(pipe, step, timestep, {"latents": ...}).
        Raises UserError for values out of range.
        """
        asked = self.defaults.updated(
            num_frames=num_frames, height=height, width=width, num_steps=num_inference_steps, guidance=guidance_scale
        ).updated(fps=fps)
        prompts, negatives = _prompts(prompt, negative_prompt, num_videos_per_prompt)
        if output_type not in OUTPUT_TYPES:
            raise UserError(f"output_type must be one of {', '.join(OUTPUT_TYPES)}, got {output_type!r}")
        if set(callback_on_step_end_tensor_inputs) - set(self._callback_tensor_inputs):
            raise UserError(
                f"callbacks can have {self._callback_tensor_inputs}, not {callback_on_step_end_tensor_inputs}"
            )
        device, shape = self._execution_device, self._latent_shape(asked)  # (Z, t, h, w)
        num_tokens = math.prod(shape[1:]) // self.transformer.config.patch_size**2
        set_timesteps(self.scheduler, self.objective, asked.num_steps, num_tokens, device)
        timesteps = self.scheduler.timesteps
        self._interrupt = False

        text = self._encode(prompts, device)  # (N, L, E)
        null = null_caption(self.transformer, text) if negative_prompt is None else None
        if null is None:
            null = text if asked.guidance == 1 else self._encode(negatives, device)
        rate = torch.full((len(prompts),), asked.fps, device=device)
        predict = Guidance(
            self._transform,
            *(text.features, text.mask),
            *(null.features, null.mask),
            asked.guidance,
            fps=rate,
            channels=getattr(self.objective, "guided_channels", 0),
            learned_variance=self.scheduler.config.get("variance_type") == "learned_range",
        )
        noisy = self._begin((len(prompts), *shape), generator, latents, device)  # (N, Z, t, h, w), float32
        told = 1000 / self.scheduler.config["num_train_timesteps"]  # models are told times in [0, 1000]
        chance = {"generator": generator} if "generator" in inspect.signature(self.scheduler.step).parameters else {}
        with self.progress_bar(total=len(timesteps)) as bar:  # pyright: ignore[reportCallIssue]
            for step, timestep in enumerate(timesteps):
                if self.interrupt:
                    continue
                self._current_timestep = timestep
                with self.transformer.cache_context("cond_uncond"):
                    prediction = predict(self._scaled(noisy, timestep), timestep.float().expand(len(noisy)) * told)
                noisy = self.scheduler.step(prediction.float(), timestep, noisy, **chance, return_dict=False)[0]
                if callback_on_step_end is not None:
                    changed = callback_on_step_end(self, step, timestep, {"latents": noisy}) or {}
                    noisy = changed.get("latents", noisy)
                bar.update()
        self._current_timestep = None

        noisy = noisy[:, : self.vae.config.latent_channels]  # what comes after them is a map of what lies where
        frames = noisy if output_type == "latent" else self._decode(noisy, output_type)
        self.maybe_free_model_hooks()
        return VideoSynPipelineOutput(frames=frames) if return_dict else (frames,)

    def _transform(self, *arguments: Any) -> Tensor:
        return self.transformer(*arguments, return_dict=False)[0]

    def _encode(self, prompts: list[str], device: torch.device) -> TextFeatures:
        text = self.text_encoder(prompts)
        return TextFeatures(text.features.to(device), text.mask.to(device))

    def _begin(self, shape: tuple[int, ...], generator: Any, latents: Tensor | None, device: torch.device) -> Tensor:
        """Pure noise of `shape`, or the latents given, in float32 and in the scheduler's scale."""
        if isinstance(generator, list) and len(generator) != shape[0]:
            raise UserError(f"generators must be one, or one for each of the {shape[0]} films, got {len(generator)}")
        if latents is None:
            latents = randn_tensor(shape, generator=generator, device=device, dtype=torch.float32)
        elif latents.shape != shape:
            raise UserError(f"latents must be {shape}, got {tuple(latents.shape)}")
        return latents.to(device, torch.float32) * getattr(self.scheduler, "init_noise_sigma", 1.0)

    def _scaled(self, latents: Tensor, timestep: Tensor) -> Tensor:
        """Latents as the model must see them; only some schedulers have a scale of their own."""
        scale = getattr(self.scheduler, "scale_model_input", None)
        return latents if scale is None else scale(latents, timestep)

    def _decode(self, latents: Tensor, output_type: str) -> Any:
        raw = self.vae.denormalise(latents.to(self.vae.dtype))
        video = self.vae.decode(raw, return_dict=False)[0]  # (N, 3, T, H, W)
        return self.video_processor.postprocess_video(video.float(), output_type=output_type)

    def _latent_shape(self, asked: Defaults) -> tuple[int, int, int, int]:
        time, space = self.vae.time_factor, self.vae.space_factor
        check_num_frames(asked.num_frames, time)
        check_size(asked.height, asked.width, space * self.transformer.config.patch_size)
        size = (asked.num_frames, asked.height, asked.width)
        channels = self.transformer.config.latent_channels + self.transformer.config.get("map_channels", 0)
        return channels, *latent_shape(*size, time, space)


def _prompts(
    prompt: str | Sequence[str], negative: str | Sequence[str] | None, num_each: int
) -> tuple[list[str], list[str]]:
    """The prompt and the negative prompt of every film."""
    prompts = [prompt] if isinstance(prompt, str) else list(prompt)
    if not prompts or not all(each.strip() for each in prompts):
        raise UserError("a prompt must not be empty: say what the film shows, such as 'a red ball bounces'")
    negatives = [negative or ""] * len(prompts) if negative is None or isinstance(negative, str) else list(negative)
    if len(negatives) != len(prompts):
        raise UserError(f"negative_prompt must be one, or one for each of {len(prompts)} prompts, got {len(negatives)}")
    if num_each < 1:
        raise UserError(f"num_videos_per_prompt must be at least 1, got {num_each}")
    return [each for each in prompts for _ in range(num_each)], [each for each in negatives for _ in range(num_each)]

"""prompt -> text -> latents -> video: the whole path is `VideoSynPipeline.batches`. Folders: `storage.py`."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from videosyn.core.errors import UserError
from videosyn.core.shapes import check_num_frames, check_size, latent_shape
from videosyn.diffusion.epsilon import EpsilonDDPM
from videosyn.diffusion.flow import FlowMatching
from videosyn.diffusion.guidance import Guidance
from videosyn.diffusion.objective import per_frame
from videosyn.sampling.adapter import read_adapter
from videosyn.sampling.block_cache import maybe_cached_blocks
from videosyn.sampling.fitting import Fit, fit, no_memory_means_user_error
from videosyn.sampling.given import given_frames
from videosyn.sampling.memory_mode import MemoryMode
from videosyn.sampling.model_index import Defaults, Trained, find_model
from videosyn.sampling.output import VideoOutput, together
from videosyn.sampling.parts import check_parts
from videosyn.sampling.preview import Watched
from videosyn.sampling.solvers import solve
from videosyn.sampling.text_on_demand import batch_of, encode_prompts, padded
from videosyn.text.features import TextEncoder, TextFeatures, cut_prompts
from videosyn.text.nano import NanoTextEncoder
from videosyn.vdit.model import VDiT
from videosyn.vidvae.model import VidVAE
from videosyn.vidvae.tiles import decode_tiled

COMPILED_TEXT_TOKENS = 32
"""Compiled blocks get texts of a multiple of so many tokens."""
SHAPES_COMPILED = 64
"""A process may compile for so many shapes; torch's own limit is 8, and ends the call."""


class VideoSynPipeline:
    """A VidVAE, a VDiT, a text encoder and an objective, used together. Models are in eval mode and on one device."""

    def __init__(
        self,
        vae: VidVAE,
        vdit: VDiT,
        text_encoder: TextEncoder,
        objective: FlowMatching | EpsilonDDPM,
        defaults: Defaults | None = None,
        trained: Trained | None = None,
        memory: MemoryMode | None = None,
    ) -> None:
        """`defaults`: what a call that leaves something out gets; `trained`: what the model has seen; `memory`: how
        `from_pretrained` was asked to keep the weights. Raises UserError where the parts do not belong together.
        """
        check_parts(
            *(vae.config.latent_channels, vdit.config.latent_channels),
            *(getattr(text_encoder, "width", None), vdit.config.text_width),
        )
        self.vae = vae.eval()
        self.vdit = vdit.eval()
        self.text_encoder = text_encoder
        self.objective = objective
        self.defaults = defaults or Defaults()
        self.trained = trained or Trained()
        self.memory = memory or MemoryMode()
        self.compiled = False

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike = "nano",
        device: str = "auto",
        dtype: str = "auto",
        memory: str = "full",
        lora: str | os.PathLike | None = None,
        lora_scale: float = 1.0,
    ) -> VideoSynPipeline:
        """The shipped model "nano", a folder, or a hub id. Strict: all weights fit, or a UserError.

        dtype: "auto" is bf16 on CUDA and on CPUs that compute in it, else fp32. memory: how the weights are kept, one
        of "full", "free-text", "int8", "fp8", "offload", "int8-offload", "fp8-offload" (`memory_mode.py`). lora: the
        file of an adapter, or its folder, added to the VDiT's weights times lora_scale.
        """
        from videosyn.sampling.storage import load_pipeline

        adapter = None if lora is None else (read_adapter(lora), lora_scale)
        return load_pipeline(cls, find_model(os.fspath(name)), device, dtype, MemoryMode.named(memory), adapter)

    def save_pretrained(self, folder: str | os.PathLike, int8: bool = False) -> None:
        """Writes the folder that `from_pretrained` reads, in the diffusers layout. int8: a quarter of fp32's size."""
        from videosyn.sampling.storage import save_pipeline

        save_pipeline(self, folder, int8)

    def compile(self, backend: str = "inductor") -> None:
        """Has torch compile the VDiT's block, which is the same for all, at the next call; each new shape anew. So that
        there are few, texts are padded, and a cache computes all films of a batch or none.

        A block whose weights visit the device, or lie in 8 bits, is not for the compiler: a UserError.
        """
        if self.memory.offload or self.memory.eight_bits is not None:
            raise UserError("only whole weights on the device are compiled: load with memory='full' or 'free-text'")
        from torch._dynamo import config as compiler  # seconds to import; only who compiles pays

        compiler.recompile_limit = max(compiler.recompile_limit, SHAPES_COMPILED)
        for block in self.vdit.blocks:
            block.compile(backend=backend, fullgraph=True, dynamic=False)
        self.compiled = True

    @torch.inference_mode()
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
        sampler: str | None = None,
        guidance_interval: tuple[float, float] | None = None,
        shift: float | None = None,
        cache_threshold: float | None = None,
        image: np.ndarray | None = None,
        extend: np.ndarray | None = None,
        last_image: np.ndarray | None = None,
        progress: Callable[[int, int], None] | None = None,
        preview: Callable[[range, Callable[[], np.ndarray]], None] | None = None,
        on_note: Callable[[str], None] | None = None,
    ) -> Iterator[VideoOutput]:
        """Generates `num_videos` films for each prompt. What is None comes from `self.defaults`. Called, the pipeline
        gives all films together; this gives them in order, as many at a time as are made together, and keeps none.

        num_frames: 1 + 4k (any number, where the VidVAE takes frame by frame). height, width: pixels, multiples of
        `size_multiple`. guidance: 1 switches it off.
        seed: film i draws its noise from seed + i, on the CPU, so neither the batch nor the device changes it; or a
        seed for each film.
        guidance_interval: times, within 0, clean, to 1, noise, between which to guide: outside, steps cost half.
        shift: how much more of a flow's steps to spend where noise is strong; default as in training.
        cache_threshold: blocks are not computed again while the first one's contribution changes by less than this
        share from step to step (`block_cache.py`). progress(done, total): after every step.
        image, last_image: the first and the last picture, uint8 (height, width, 3). extend: a clip to go on from, uint8
        (frames, height, width, 3); the film is the clip and then new frames (`given.py` says how many).
        preview(films, pictures): after every step, which films are under way; pictures() decodes a frame from the
        middle of each as it looks now, uint8 (len(films), height, width, 3). Either callback may raise to stop.
        on_note: called with each of the output's notes before the first step.
        Raises UserError for values out of range, and where memory does not suffice.
        """
        asked = self.defaults.updated(
            num_frames=num_frames, height=height, width=width, num_steps=num_steps, guidance=guidance, fps=fps
        )
        asked = asked.updated(sampler=sampler)
        prompts = [each for each in checked_prompts(prompt, num_videos, asked.num_steps) for _ in range(num_videos)]
        seeds = seeds_of_films(seed, len(prompts))
        epsilon = self.objective if isinstance(self.objective, EpsilonDDPM) else None
        if epsilon is not None:
            epsilon.check_steps(asked.sampler, asked.num_steps)
        shape = self._latent_shape(asked)  # (Z, t, h, w)
        num_tokens = math.prod(shape[1:]) // self.vdit.config.patch_size**2
        with no_memory_means_user_error(self, asked), cut_prompts() as cut:
            read = encode_prompts(self.text_encoder, [*prompts, negative_prompt or ""])
        cached = bool(cache_threshold)
        how = fit(self, asked, len(prompts), cached)
        size = (asked.num_frames, asked.height, asked.width)
        with no_memory_means_user_error(self, asked):
            given = given_frames(self.vae, *size, image, extend, last_image, how.tiling)
        batch = how.videos_at_once
        starts = range(0, len(prompts), batch)
        report = _Progress(progress, len(starts) * (asked.num_steps + 1))
        notes = (*cut.values(), *filter(None, [how.note(asked)]))
        if on_note is not None:
            for note in notes:
                on_note(note)
        own_notes = {each: note for each, note in cut.items() if each != negative_prompt}
        for start in starts:
            some, some_seeds = prompts[start : start + batch], seeds[start : start + batch]
            with no_memory_means_user_error(self, asked, cached):
                text = batch_of(read, some, self.device)  # (B, L, E)
                negative = null_caption(self.vdit, text) if negative_prompt is None else None
                if negative is None:
                    negative = batch_of(read, [negative_prompt or ""] * len(some), self.device)
                if self.compiled:
                    text, negative = padded(text, COMPILED_TEXT_TOKENS), padded(negative, COMPILED_TEXT_TOKENS)
                predict = Guidance(
                    self.vdit,
                    *(text.features, text.mask),
                    *(negative.features, negative.mask),
                    asked.guidance,
                    _timesteps(guidance_interval),
                    fps=torch.full((len(some),), asked.fps, device=self.device),
                    channels=epsilon.guided_channels if epsilon else 0,
                    learned_variance=epsilon is not None and epsilon.learns_variance_of(asked.sampler),
                )
                watched = Watched(predict, self.objective)
                films_now = range(start, start + len(some))

                def show(step: int, watched: Watched = watched, films_now: range = films_now) -> None:
                    if preview is not None:
                        preview(films_now, lambda: self._pictures(watched, how))
                    report.step()

                noise = draw_noise(shape, some_seeds).to(self.device)  # (B, Z + map, t, h, w)
                mask = None
                if given is not None:
                    mask = given.mask.expand(len(some), -1)  # (B, t)
                    clean = pad_channels(given.latents.float(), shape[0])  # of what is given the map says nothing
                    noise = torch.where(per_frame(mask), clean, noise)
                with maybe_cached_blocks(self.vdit, cache_threshold, together=self.compiled):
                    latents = solve(
                        self.objective,
                        asked.sampler,
                        predict if preview is None else watched,
                        noise,
                        asked.num_steps,
                        num_tokens,
                        show,
                        mask,
                        some_seeds,
                        shift,
                    )
                frames = self._frames(latents.to(self.dtype), how)  # (B, T, H, W, 3)
                frames = frames if given is None else given.finished(frames)
            report.step()
            yield VideoOutput(frames, asked.fps, some, some_seeds, notes, own_notes)

    __call__ = together(batches)

    @property
    def device(self) -> torch.device:
        return next(self.vdit.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.vdit.parameters()).dtype

    @property
    def size_multiple(self) -> int:
        """Pixels a side that height and width must be multiples of: one token."""
        return self.vae.space_factor * self.vdit.config.patch_size

    def unknown_words(self, prompts: Sequence[str]) -> list[str]:
        """The words that the text encoder never learned, each once, in order; none for encoders that know subwords."""
        if not isinstance(self.text_encoder, NanoTextEncoder):
            return []
        tokenizer = self.text_encoder.tokenizer
        return list(dict.fromkeys(word for prompt in prompts for word in tokenizer.unknown_words(prompt)))

    def _pictures(self, watched: Watched, how: Fit) -> np.ndarray:
        """uint8 (B, H, W, 3): the middle latent frame of films under way, decoded alone, in tiles where the film is."""
        estimate = watched.estimate()
        middle = estimate.shape[2] // 2
        return self._frames(estimate[:, :, middle : middle + 1].to(self.dtype), how)[:, 0]

    def _frames(self, latents: Tensor, how: Fit) -> np.ndarray:
        """latents (B, Z, t, h, w) -> uint8 (B, T, H, W, 3). Beside them the video is there a piece at a time.

        Channels after the first Z, a map of what lies where, are left out.
        """
        latents = latents[:, : self.vae.config.latent_channels]
        if how.tiling is None:
            pieces = self.vae.decode_pieces(latents)
        else:
            pieces = decode_tiled(self.vae, latents, how.tiling, device=torch.device("cpu")).split(8, 2)
        num_frames = 1 + (latents.shape[2] - 1) * self.vae.time_factor
        return joined_frames(pieces, num_frames)

    def _latent_shape(self, asked: Defaults) -> tuple[int, int, int, int]:
        check_num_frames(asked.num_frames, self.vae.time_factor)
        check_size(asked.height, asked.width, self.size_multiple)
        size = (asked.num_frames, asked.height, asked.width)
        return self.vdit.config.num_in_channels, *latent_shape(*size, self.vae.time_factor, self.vae.space_factor)


def _timesteps(interval: tuple[float, float] | None) -> tuple[float, float]:
    """Times in [0, 1] -> the timesteps in [0, 1000] that models are told."""
    low, high = interval or (0.0, 1.0)
    if not 0 <= low <= high <= 1:
        raise UserError(f"guidance interval must be two ordered times within 0 and 1, got {low:g} {high:g}: use 0 0.9")
    return 1000 * low, 1000 * high


def pad_channels(latents: Tensor, channels: int) -> Tensor:
    """(B, Z, t, h, w) -> (B, channels, t, h, w), zeros after the first Z."""
    return torch.nn.functional.pad(latents, (0, 0) * 3 + (0, channels - latents.shape[1]))


def null_caption(vdit: VDiT, text: TextFeatures) -> TextFeatures | None:
    """The VDiT's own null caption, of which it looks at as much as each prompt is long, as in training; None: it has
    none, and the empty prompt stands for it. text: the prompts' features (B, L, E).
    """
    if not vdit.config.null_text_tokens:
        return None
    features, _ = vdit.null_features(len(text.mask))
    length = min(text.mask.shape[1], features.shape[1])
    return TextFeatures(features[:, :length].to(text.features.device), text.mask[:, :length])


def draw_noise(shape: tuple[int, ...], seeds: Sequence[int]) -> Tensor:
    """One standard normal tensor of `shape` a seed, float32, on the CPU: (len(seeds), *shape)."""
    return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


def to_frames(video: Tensor) -> np.ndarray:
    """video (B, 3, T, H, W) in [-1, 1] -> uint8 (B, T, H, W, 3); what lies outside is clipped."""
    levels = (video.float() * 127.5).add_(127.5).round_().clamp_(0, 255).to(torch.uint8)
    return rearrange(levels, "b c t h w -> b t h w c").contiguous().cpu().numpy()


def joined_frames(pieces: Iterable[Tensor], num_frames: int) -> np.ndarray:
    """Pieces (B, 3, n, H, W) of a video of so many frames, in order -> uint8 (B, num_frames, H, W, 3)."""
    joined, done = np.empty(0), 0
    for piece in pieces:
        frames = to_frames(piece)
        if not done:
            joined = np.empty((len(frames), num_frames, *frames.shape[2:]), np.uint8)
        joined[:, done : done + frames.shape[1]] = frames
        done += frames.shape[1]
    return joined


def seeds_of_films(seed: int | Sequence[int], num_films: int) -> list[int]:
    """seed, seed + 1, ... or the given ones, of which there must be one a film."""
    if isinstance(seed, int | np.integer):
        return [int(seed) + index for index in range(num_films)]
    if len(seed) != num_films:
        raise UserError(f"seeds must be one a film, got {len(seed)} for {num_films} films: give {num_films}")
    return [int(each) for each in seed]


def checked_prompts(prompt: str | Sequence[str], num_videos: int, num_steps: int) -> list[str]:
    """The prompts of a call. A UserError where there is none, one is empty, or a number is below 1."""
    prompts = [prompt] if isinstance(prompt, str) else list(prompt)
    if not prompts or not all(each.strip() for each in prompts):
        raise UserError("a prompt must not be empty: say what the film shows, such as 'a red ball bounces'")
    for name, value in (("num_videos", num_videos), ("num_steps", num_steps)):
        if value < 1:
            raise UserError(f"{name} must be at least 1, got {value}: use 1 or more")
    return prompts


class _Progress:
    """Counts steps over all batches, for a callback that may be None."""

    def __init__(self, callback: Callable[[int, int], None] | None, total: int) -> None:
        self.callback, self.total, self.done = callback, total, 0

    def step(self, *_: int) -> None:
        self.done += 1
        if self.callback is not None:
            self.callback(self.done, self.total)

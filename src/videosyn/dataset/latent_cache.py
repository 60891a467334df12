"""Latents of world clips, encoded once and trained on many times. Next: `batches.py`.

    scenes -> render -> VidVAE.encode -> shards of latents and seeds -> memory, grouped by shape

Latents are normalised, in bf16, at the posterior's mode. A cache knows which VAE made it and refuses another.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from videosyn.core.config import load_json, save_json
from videosyn.core.errors import UserError
from videosyn.core.files import atomic_file
from videosyn.core.model_folder import CONFIG_NAME, load_state, load_strict
from videosyn.core.runtime import pick_dtype
from videosyn.dataset.buckets import Bucket, counts_by_share
from videosyn.dataset.shards import SHARD_SIZE, Shard, check_manifest, fill, plan_shards, read_shard, write_shard
from videosyn.dataset.world_clips import TRAIN_SEEDS, render_clips
from videosyn.vidvae.config import VidVAEConfig
from videosyn.vidvae.model import VidVAE
from videosyn.world.scene import Split

ENCODE_VOLUME = 1_300_000
"""Pixels encoded at once on a CPU (8 clips of 17x96x96): more only costs memory. An accelerator takes 16 times that."""


class Vae(Protocol):
    """What fills a cache: a VidVAE, or another VAE that is called as one."""

    @property
    def latent_channels(self) -> int: ...
    @property
    def time_factor(self) -> int: ...
    @property
    def space_factor(self) -> int: ...
    def encode(self, video: Tensor, /) -> Tensor: ...
    def parameters(self) -> Iterator[nn.Parameter]: ...
    def to(self, device: str, dtype: torch.dtype, /) -> Any: ...


def video_from_frames(frames: Tensor, dtype: torch.dtype) -> Tensor:
    """uint8 (B, T, H, W, 3) -> video (B, 3, T, H, W) in [-1, 1], channels last in memory."""
    return frames.permute(0, 4, 1, 2, 3).to(dtype).div_(127.5).sub_(1.0)


@torch.no_grad()
def encode_frames(vae: Vae, frames: Tensor) -> Tensor:
    """uint8 (B, T, H, W, 3) -> normalised latents (B, Z, t, h, w) in the VAE's dtype."""
    weight = next(vae.parameters())
    limit = ENCODE_VOLUME * (1 if weight.device.type == "cpu" else 16)
    chunk = max(1, limit // frames[0, ..., 0].numel())
    pieces = [vae.encode(video_from_frames(part.to(weight.device), weight.dtype)) for part in frames.split(chunk)]
    return torch.cat(pieces)


def calibrate(
    vae: VidVAE, bucket: Bucket, num_clips: int = 256, fps: float = 8, first_seed: int = TRAIN_SEEDS
) -> VidVAE:
    """-> the same VidVAE whose config knows the mean and spread of each raw latent channel over clips of the world."""
    device = next(vae.parameters()).device
    seeds = range(first_seed, first_seed + num_clips)
    return calibrate_on(
        vae, (render_clips(seeds[low : low + 8], bucket, "train", fps, device) for low in range(0, num_clips, 8))
    )


@torch.no_grad()
def calibrate_on(vae: VidVAE, clips: Iterable[Tensor]) -> VidVAE:
    """The same over any clips, uint8 (B, T, H, W, 3) each."""
    weight = next(vae.parameters())
    total = torch.zeros(2, vae.config.latent_channels, dtype=torch.float64)
    count = 0
    for frames in clips:
        video = video_from_frames(frames.to(weight.device), weight.dtype)
        raw = vae.posterior(video).mode().double().cpu().transpose(0, 1).flatten(1)
        total += torch.stack([raw.sum(1), raw.square().sum(1)])
        count += raw.shape[1]
    mean = total[0] / count
    std = (total[1] / count - mean.square()).clamp(min=1e-12).sqrt()
    config = dataclasses.replace(vae.config, latents_mean=tuple(mean.tolist()), latents_std=tuple(std.tolist()))
    calibrated = VidVAE(config).to(weight.device, weight.dtype)
    calibrated.load_state_dict(vae.state_dict())
    return calibrated.eval()


def calibrate_folder(
    folder: str | os.PathLike,
    bucket: Bucket,
    num_clips: int = 256,
    fps: float = 8,
    device: str = "cpu",
    dtype: str = "auto",
    clips: Iterable[Tensor] | None = None,
) -> None:
    """Measures mean and spread of the latents of the VidVAE saved in `folder` and writes them into its config.

    On `clips`, uint8 (B, T, H, W, 3) each; None: on `num_clips` of the world, of the bucket's shape.
    """
    vae = load_vae(folder).to(device, pick_dtype(dtype, torch.device(device)))
    config = (calibrate(vae, bucket, num_clips, fps) if clips is None else calibrate_on(vae, clips)).config
    with atomic_file(Path(folder) / CONFIG_NAME) as hidden:
        save_json(config, hidden)


def load_vae(folder: str | os.PathLike) -> VidVAE:
    """The VidVAE of a model folder, on the CPU in fp32, strictly. A UserError for anything missing or foreign."""
    vae = VidVAE(load_json(VidVAEConfig, Path(folder) / CONFIG_NAME))
    load_strict(vae, load_state(folder), folder)
    return vae.eval()


def fingerprint(folder: str | os.PathLike) -> str:
    """Of the config and weights in a model folder; another model, another fingerprint."""
    digest = hashlib.sha256()
    for path in sorted(Path(folder).glob("*.json")) + sorted(Path(folder).glob("*.safetensors")):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def write_latents(
    folder: str | os.PathLike,
    vae_folder: str | os.PathLike,
    buckets: Sequence[Bucket],
    num_clips: int,
    num_images: int = 0,
    split: Split = "train",
    first_seed: int = TRAIN_SEEDS,
    fps: float = 8,
    workers: int = 2,
    device: str = "cpu",
    dtype: str = "auto",
    shard_size: int = SHARD_SIZE,
    rendered: str | os.PathLike | None = None,
    on_shard: Callable[[int, int], None] | None = None,
    load: Callable[[str | os.PathLike], Vae] = load_vae,
) -> list[Shard]:
    """Renders and encodes clips into shards: `latents` bf16 (n, Z, t, h, w) and `seeds` int64 (n,).

    `num_clips` are split over the buckets of several frames by share, `num_images` over those of one frame. Shards that
    exist are kept, so a killed run goes on where it was, and a larger number adds to what is there.
    Shards of pixels that the folder `rendered` has (`write_clips`, same seeds) are not rendered again.
    `on_shard(done, total)` is called as they come. On an accelerator everything runs in this process.
    `load`, importable by name, opens `vae_folder`.
    """
    films = tuple(bucket for bucket in buckets if bucket.frames > 1)
    images = tuple(bucket for bucket in buckets if bucket.frames == 1)
    counts = counts_by_share([bucket.share for bucket in films], num_clips)
    if images:
        counts += counts_by_share([bucket.share for bucket in images], num_images)
    manifest = {
        "kind": "latents",
        "vae": fingerprint(vae_folder),
        "split": split,
        "first_seed": first_seed,
        "fps": fps,
    }
    check_manifest(folder, manifest)
    shards = plan_shards(folder, films + images, counts, shard_size, first_seed)
    on_cpu = torch.device(device).type == "cpu"
    setup = (load, os.fspath(vae_folder), split, fps, device, dtype, None if rendered is None else Path(rendered))
    done = sum(shard.path.exists() for shard in shards)
    for _ in fill(shards, _encode_shard, _load_encoder, setup, workers if on_cpu else 0):
        done += 1
        if on_shard is not None:
            on_shard(done, len(shards))
    return shards


@dataclasses.dataclass(frozen=True)
class _Encoder:
    """What a process that fills a cache holds."""

    vae: Vae
    split: Split
    fps: float
    device: str
    rendered: Path | None


_encoder: _Encoder | None = None


def _load_encoder(
    load: Callable[[str], Vae],
    vae_folder: str,
    split: Split,
    fps: float,
    device: str,
    dtype: str,
    rendered: Path | None,
) -> None:
    global _encoder
    vae = load(vae_folder).to(device, pick_dtype(dtype, torch.device(device)))
    _encoder = _Encoder(vae, split, fps, device, rendered)


def _encode_shard(shard: Shard) -> None:
    assert _encoder is not None, "fill() calls _load_encoder first"
    pixels = None if _encoder.rendered is None else dataclasses.replace(shard, path=_encoder.rendered / shard.path.name)
    if pixels is not None and pixels.path.exists():
        frames = read_shard(pixels)["video"]
    else:
        frames = render_clips(shard.seeds, shard.bucket, _encoder.split, _encoder.fps, _encoder.device)
    write_shard(shard, {"latents": encode_frames(_encoder.vae, frames).to("cpu", torch.bfloat16)})


class LatentCache:
    """Latents in memory, grouped by shape, with the seeds of their scenes."""

    def __init__(self, shards: Sequence[Shard], split: Split) -> None:
        self.split: Split = split
        pieces: dict[str, list[dict[str, Tensor]]] = {}
        sizes: dict[str, tuple[int, int]] = {}
        for shard in shards:
            pieces.setdefault(shard.bucket.name, []).append(read_shard(shard))
            sizes[shard.bucket.name] = (shard.bucket.height, shard.bucket.width)
        self._clips = {
            name: (torch.cat([one["latents"] for one in part]), torch.cat([one["seeds"] for one in part]))
            for name, part in pieces.items()
        }
        self._images: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}
        for size in set(sizes.values()):
            same = [self._clips[name] for name in self._clips if sizes[name] == size]
            # The first latent frame of a clip is what its first frame alone would give: the VidVAE is causal.
            first_frames = torch.cat([latents[:, :, :1] for latents, _ in same])
            self._images[size] = (first_frames, torch.cat([seeds for _, seeds in same]))

    @property
    def nbytes(self) -> int:
        return sum(latents.nbytes for latents, _ in (*self._clips.values(), *self._images.values()))

    def clips(self, bucket: Bucket) -> tuple[Tensor, Tensor]:
        """-> latents (N, Z, t, h, w) and seeds (N,) of a shape; of one frame: images and all clips' first frames."""
        if bucket.frames == 1:
            found = self._images.get((bucket.height, bucket.width))
        else:
            found = self._clips.get(bucket.name)
        if found is None:
            raise UserError(f"the cache has no clips for bucket {bucket.name}: it has {', '.join(self._clips)}")
        return found

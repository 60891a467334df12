"""The Frechet distance between two crowds of videos, by the features of a video model that a user names, in memory that
does not grow with their number.

Unterthiner et al. 2018 (FVD) take an I3D network's features, which is published as code and not as weights alone; here
the features are those of any transformers video model (VideoMAE, TimeSformer, ViViT, V-JEPA 2), and figures are only to
be compared with figures of the same model. Next: `reconstruction.py`.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from videosyn.core.errors import UserError
from videosyn.core.pretrained import load_strictly
from videosyn.core.runtime import pick_device

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Crowd:
    """Mean and covariance of vectors, one after the other; (D,) and (D, D) are all that is kept."""

    def __init__(self) -> None:
        self.count = 0
        self._sum = np.zeros(0)
        self._products = np.zeros((0, 0))

    def add(self, vectors: np.ndarray) -> None:
        """(N, D)."""
        vectors = vectors.astype(np.float64)
        if not self.count:
            self._sum, self._products = np.zeros(vectors.shape[1]), np.zeros((vectors.shape[1],) * 2)
        self.count += len(vectors)
        self._sum += vectors.sum(0)
        self._products += vectors.T @ vectors

    @property
    def mean(self) -> np.ndarray:
        return self._sum / max(1, self.count)

    @property
    def covariance(self) -> np.ndarray:
        mean = self.mean
        return (self._products - self.count * np.outer(mean, mean)) / (self.count - 1)


def frechet(one: Crowd, other: Crowd) -> float:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^1/2) (Dowson and Landau 1982); nan below two vectors a side."""
    if min(one.count, other.count) < 2:
        return float("nan")
    a, b = one.covariance, other.covariance
    values, vectors = np.linalg.eigh(a)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T  # of a symmetric matrix that is positive, up to rounding
    between = np.sqrt(np.linalg.eigvalsh(root @ b @ root).clip(0)).sum()
    gap = one.mean - other.mean
    return max(0.0, float(gap @ gap + np.trace(a) + np.trace(b) - 2 * between))


class VideoFeatures:
    """A transformers video model by folder or hub id; `__call__`: video (B, 3, T, H, W) in [-1, 1] -> (B, D).

    Frames are chosen evenly to the model's number, scaled to its size; the feature is the mean of its last tokens.
    """

    def __init__(self, model: str, device: str = "auto") -> None:
        from transformers import AutoConfig, AutoModel

        try:
            config = AutoConfig.from_pretrained(model)
        except (OSError, ValueError) as error:
            raise UserError(f"video-model: cannot load {model!r}: give a folder or a hub id of weights") from error
        self.frames = getattr(config, "num_frames", None) or getattr(config, "frames_per_clip", None)
        size = getattr(config, "image_size", None) or getattr(config, "crop_size", None)
        if not self.frames or not size:
            raise UserError(f"video-model: {model} is a {config.model_type}, no video model: give a VideoMAE, say")
        self.size_px = size if isinstance(size, int) else size[0]
        self.device = pick_device(device)
        self.model = load_strictly(
            AutoModel, model, "video-model", ("decoder", "encoder_to_decoder", "mask_token", "classifier", "fc_norm")
        )
        self.model.to(self.device)

    def __call__(self, video: Tensor) -> np.ndarray:
        chosen = torch.linspace(0, video.shape[2] - 1, self.frames).round().long()
        frames = rearrange(video[:, :, chosen].float(), "b c t h w -> (b t) c h w").to(self.device)
        frames = F.interpolate(frames, (self.size_px, self.size_px), mode="bilinear", antialias=True)
        mean, std = (torch.tensor(each, device=self.device).view(1, 3, 1, 1) for each in (_MEAN, _STD))
        pixels = rearrange((frames / 2 + 0.5 - mean) / std, "(b t) c h w -> b t c h w", b=video.shape[0])
        with torch.inference_mode():
            tokens = self.model(pixels).last_hidden_state  # (B, N, D)
        return tokens.mean(1).float().cpu().numpy()

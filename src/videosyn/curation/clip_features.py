"""CLIP's image features of kept frames, by weights that the user names. Next: `dedup.py`, `aesthetics.py`.

Features stay in the work folder, features/<model>/<source>/<start>-<end>.npz, so that deduplication and aesthetics
with the same weights look at a frame once. Pictures are prepared as CLIP's own code does it, with Pillow.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from videosyn.core.pretrained import load_strictly
from videosyn.curation.pictures import open_picture
from videosyn.curation.records import Clip
from videosyn.curation.work import Work

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

_BATCH = 32
_BLOCK = 512
"""Clips compared together."""
_MEAN, _STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Of CLIP's training pictures, as its preprocessor_config.json says too."""
_NOT_FOR_PICTURES = ("text_model.", "text_projection.", "logit_scale", "vision_model.embeddings.position_ids")
"""What a whole CLIP has beside its image half."""


class ClipFeatures:
    """CLIP's image half. `width`: length of a feature."""

    def __init__(self, model: str, device: str = "auto") -> None:
        """model: folder or hub id of CLIP weights. UserError where they are missing or do not fit."""
        from transformers import CLIPVisionModelWithProjection

        from videosyn.core.runtime import pick_device

        self.device = pick_device(device)
        self.model = load_strictly(CLIPVisionModelWithProjection, model, "aesthetics or dedup", _NOT_FOR_PICTURES)
        self.model.to(self.device)
        self.width = int(self.model.config.projection_dim)
        self._prepare = _Preparation.of(model, int(self.model.config.image_size))
        self._folder = f"features/{hashlib.blake2b(model.encode(), digest_size=6).hexdigest()}"

    def of_pictures(self, pictures: Sequence[Image]) -> np.ndarray:
        """Pictures of any size, RGB -> (N, D) float32, as CLIP's projection gives them, not normalised."""
        import torch

        rows = []
        for start in range(0, len(pictures), _BATCH):
            batch = np.stack([self._prepare(picture) for picture in pictures[start : start + _BATCH]])
            with torch.inference_mode():
                features = self.model(pixel_values=torch.from_numpy(batch).to(self.device)).image_embeds
            rows.append(features.float().cpu().numpy())
        return np.concatenate(rows) if rows else np.zeros((0, self.width), np.float32)

    def of_clip(self, clip: Clip, work: Work) -> np.ndarray:
        """The features of a clip's kept frames, (number of frames, D); from the work folder if they are there."""
        name = f"{self._folder}/{clip.source}/{clip.start_frame}-{clip.end_frame}.npz"
        if work.exists(name):
            return work.read_arrays(name)["features"]
        pictures = [open_picture(work, frame, 2 * self._prepare.size_px) for frame in clip.frames]
        features = self.of_pictures(pictures)
        work.write_arrays(name, {"features": features})
        return features

    def of_clips(self, clips: Sequence[Clip], work: Work) -> np.ndarray:
        """A vector of length 1 for each clip, the mean of its frames' directions: (N, D) float32; 0 without frames."""
        vectors = np.zeros((len(clips), self.width), np.float32)
        for row, clip in enumerate(clips):
            features = self.of_clip(clip, work)
            if len(features):
                vectors[row] = unit(unit(features).mean(axis=0))
        return vectors


def unit(vectors: np.ndarray) -> np.ndarray:
    """(..., D) -> the same directions with length 1; 0 stays 0."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.maximum(lengths, 1e-12)


def repeats(vectors: np.ndarray, max_cosine: float, device: torch.device) -> dict[int, tuple[int, float]]:
    """Vectors (N, D) of length 1 -> number -> (earlier number that it repeats, cosine).

    Only vectors that repeat none are compared with. Exact: one product of matrices a block of vectors, on `device`.
    """
    import torch

    found: dict[int, tuple[int, float]] = {}
    kept_vectors = torch.zeros(vectors.shape, dtype=torch.float32, device=device)
    kept: list[int] = []
    for start in range(0, len(vectors), _BLOCK):
        block = torch.from_numpy(vectors[start : start + _BLOCK]).to(device)
        among = (block @ block.T).cpu().numpy()
        best = np.full(len(block), -2.0)
        best_of = np.zeros(len(block), np.int64)
        if kept:
            cosine, place = (block @ kept_vectors[: len(kept)].T).max(dim=1)
            best, best_of = cosine.cpu().numpy().astype(np.float64), np.asarray(kept)[place.cpu().numpy()]
        new: list[int] = []
        for row in range(len(block)):
            cosine, first = float(best[row]), int(best_of[row])
            if new:
                nearest = max(new, key=lambda other: (among[row, other], -other))
                if among[row, nearest] > cosine:
                    cosine, first = float(among[row, nearest]), start + nearest
            if cosine > max_cosine:
                found[start + row] = (first, cosine)
            else:
                kept_vectors[len(kept) + len(new)] = block[row]
                new.append(row)
        kept += [start + row for row in new]
    return found


class _Preparation:
    """A picture -> CLIP's input (3, S, S) float32: shorter side to S, middle cut out, levels normalised."""

    def __init__(self, size_px: int, mean: Sequence[float], std: Sequence[float]) -> None:
        self.size_px = size_px
        self.mean, self.std = np.asarray(mean, np.float32), np.asarray(std, np.float32)

    @classmethod
    def of(cls, model: str, size_px: int) -> _Preparation:
        """As the model's preprocessor_config.json says; CLIP's own levels where it has none."""
        from transformers.image_processing_base import ImageProcessingMixin

        try:
            stated, _ = ImageProcessingMixin.get_image_processor_dict(model)
        except OSError:
            stated = {}
        return cls(size_px, stated.get("image_mean") or _MEAN, stated.get("image_std") or _STD)

    def __call__(self, picture: Image) -> np.ndarray:
        from PIL import Image

        scale = self.size_px / min(picture.size)
        width, height = (max(self.size_px, int(side * scale)) for side in picture.size)
        picture = picture.resize((width, height), Image.Resampling.BICUBIC)
        left, top = (width - self.size_px) // 2, (height - self.size_px) // 2
        picture = picture.crop((left, top, left + self.size_px, top + self.size_px))
        levels = (np.asarray(picture, np.float32) / 255 - self.mean) / self.std
        return np.ascontiguousarray(levels.transpose(2, 0, 1))

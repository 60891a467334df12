"""Dimensions of VBench that need weights, by transformers models that a user names, to VBench's definitions.

Pictures are prepared as VBench prepares them: resized without antialiasing, rounded to levels, CLIP's cut square,
DINO's not. (For films that are not square DINO's own code stretches its position table by a hair more than transformers
does.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from videosyn.core.errors import UserError
from videosyn.core.pretrained import load_strictly
from videosyn.core.runtime import pick_device
from videosyn.curation.aesthetics import load_head

_CLIP = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_BATCH = 32


def consistency(features: Tensor) -> float:
    """Features of a film's frames in order (T, D) -> the mean over frames of the cosines with the first and the one
    before, each at least 0. 1 for a film whose frames look alike; nan for one frame.
    """
    unit = F.normalize(features.float(), dim=-1)
    if len(unit) < 2:
        return float("nan")
    first = (unit[1:] @ unit[0]).clamp_min(0)
    before = (unit[1:] * unit[:-1]).sum(-1).clamp_min(0)
    return float(((first + before) / 2).mean())


class Dino:
    """DINO's ViT: the class token of each frame. Score: subject_consistency."""

    def __init__(self, model: str, device: str) -> None:
        self.device = pick_device(device)
        self.model = load_strictly(_NoPooler, model, "dino", ("pooler.",)).to(self.device)

    def __call__(self, frames: Sequence[np.ndarray]) -> float:
        """uint8 frames (H, W, 3)."""
        size = self.model.config.image_size
        features = [
            self.model(pixels, interpolate_pos_encoding=True).last_hidden_state[:, 0]
            for pixels in _pixels(frames, size, "bilinear", _IMAGENET, square=False, device=self.device)
        ]
        return consistency(torch.cat(features))


class Clip:
    """A whole CLIP. Scores: background_consistency, aesthetic_quality with a head, appearance_style with words."""

    def __init__(self, model: str, device: str, head: str = "") -> None:
        from transformers import CLIPModel

        self.name, self.device = model, pick_device(device)
        self.model = load_strictly(CLIPModel, model, "clip").to(self.device)
        self.head = load_head(head).to(self.device) if head else None
        if self.head is not None and next(self.head.parameters()).shape[1] != self.model.config.projection_dim:
            raise UserError(f"{head} does not fit {model}: LAION's head wants CLIP ViT-L/14")
        self._words: dict[str, Tensor] = {}

    def background_consistency(self, frames: Sequence[np.ndarray]) -> float:
        return consistency(self._features(frames))

    def aesthetic_quality(self, frames: Sequence[np.ndarray]) -> float:
        """The head's mean score, of 10."""
        assert self.head is not None
        with torch.inference_mode():
            return float(self.head(F.normalize(self._features(frames), dim=-1)).mean()) / 10

    def appearance_style(self, frames: Sequence[np.ndarray], style: str) -> float:
        """Mean over the frames of their logit with the words, of 100."""
        image = F.normalize(self._features(frames), dim=-1)
        scale = float(self.model.logit_scale.exp())
        return float((image @ self._text(style)).mean()) * scale / 100

    def _features(self, frames: Sequence[np.ndarray]) -> Tensor:
        size = self.model.config.vision_config.image_size
        found = []
        for pixels in _pixels(frames, size, "bicubic", _CLIP, square=True, device=self.device):
            vision = self.model.vision_model(pixel_values=pixels).pooler_output
            found.append(self.model.visual_projection(vision).float())
        return torch.cat(found)

    def _text(self, words: str) -> Tensor:
        if words not in self._words:
            from transformers import AutoTokenizer

            try:
                tokenizer = AutoTokenizer.from_pretrained(self.name)
            except (OSError, ValueError) as error:
                raise UserError(
                    f"{self.name} has no tokenizer, which appearance_style needs: copy its files"
                ) from error
            tokens = tokenizer([words], return_tensors="pt", truncation=True).to(self.device)
            with torch.inference_mode():
                text = self.model.text_model(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask)
                projected = self.model.text_projection(text.pooler_output).float()
            self._words[words] = F.normalize(projected[0], dim=-1)
        return self._words[words]


class _NoPooler:
    """A ViT as DINO has it, without transformers' pooler."""

    @staticmethod
    def from_pretrained(model: str, **how: Any) -> Any:
        from transformers import ViTModel

        return ViTModel.from_pretrained(model, add_pooling_layer=False, **how)


def _pixels(
    frames: Sequence[np.ndarray],
    size: int,
    mode: str,
    levels: tuple[tuple[float, ...], tuple[float, ...]],
    square: bool,
    device: torch.device,
) -> Iterator[Tensor]:
    """Batches (n, 3, h, w): the shorter side made `size`, the middle cut out if `square`."""
    height, width = frames[0].shape[:2]
    short = min(height, width)
    sides = int(size * height / short), int(size * width / short)
    top, left = (round((side - size) / 2.0) for side in sides)
    mean, std = (torch.tensor(each, device=device).view(1, 3, 1, 1) for each in levels)
    for start in range(0, len(frames), _BATCH):
        part = torch.from_numpy(np.stack(frames[start : start + _BATCH])).to(device)
        x = rearrange(part, "t h w c -> t c h w").float()
        with torch.inference_mode():
            x = F.interpolate(x, sides, mode=mode, align_corners=False, antialias=False).round().clamp(0, 255)
            x = x[:, :, top : top + size, left : left + size] if square else x
            yield (x / 255 - mean) / std

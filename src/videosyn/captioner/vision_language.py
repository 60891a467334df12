"""Captions by a vision language model of transformers, from a folder or the hub. Next: `frames.py`.

A clip is shown as a few pictures with a question, in the model's own chat template: its video processor would need
torchvision.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from videosyn.core.errors import UserError
from videosyn.core.pretrained import load_strictly, place

PROMPT = "Describe this video in detail, in one paragraph."


class VisionLanguageModel:
    """A ClipCaptioner. Greedy, so that doing a clip again says the same."""

    def __init__(
        self, name: str, device: str = "auto", dtype: str = "auto", max_tokens: int = 200, num_frames: int = 8
    ) -> None:
        """Loads processor and weights. UserError where they are missing, or do not make a captioner."""
        from transformers import AutoModelForImageTextToText, AutoProcessor

        from videosyn.core.runtime import pick_device, pick_dtype

        local = Path(name).expanduser()
        path = str(local) if local.is_dir() else name
        self.name = local.name if local.is_dir() else name
        self.num_frames, self.look_px, self.max_tokens = num_frames, 960, max_tokens
        where = pick_device(device)
        try:
            self._processor: Any = AutoProcessor.from_pretrained(path)
        except (OSError, ValueError, ImportError, KeyError) as error:
            line = (str(error) or type(error).__name__).strip().splitlines()[0]
            raise UserError(
                "a captioner must be nano, a folder of train captioner, or a vision language model's folder or hub "
                f"id, got {name!r} ({line})"
            ) from error
        if not getattr(self._processor, "chat_template", None):
            raise UserError(f"{name} has no chat template: name a model that is tuned to follow prompts")
        self._model: Any = load_strictly(AutoModelForImageTextToText, path, "captioner")
        place(self._model, where, pick_dtype(dtype, where))

    def caption(
        self,
        clips: Sequence[np.ndarray],
        prompt: str | None = None,
        times: Sequence[Sequence[float]] | None = None,
    ) -> list[str]:
        """Such models are not told the times of what they see."""
        return [self._caption(clip, PROMPT if prompt is None else prompt) if len(clip) else "" for clip in clips]

    def _caption(self, frames: np.ndarray, prompt: str) -> str:
        import torch
        from PIL import Image

        pictures = [{"type": "image", "image": Image.fromarray(frame)} for frame in frames]
        given = self._processor.apply_chat_template(
            [{"role": "user", "content": [*pictures, {"type": "text", "text": prompt}]}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        ).to(self._model.device)
        given = {
            key: value.to(self._model.dtype) if torch.is_tensor(value) and value.is_floating_point() else value
            for key, value in given.items()
        }
        with torch.inference_mode():
            tokens = self._model.generate(**given, max_new_tokens=self.max_tokens, do_sample=False)
        answer = tokens[:, given["input_ids"].shape[1] :]
        text = self._processor.batch_decode(answer, skip_special_tokens=True)[0]
        return " ".join(text.split())

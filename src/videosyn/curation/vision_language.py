"""Captions by a vision language model from a folder or the hub, through transformers. Next: `captions.py`.

A clip is shown as a few pictures with a question, in the model's own chat template: its video processor would need
torchvision.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from videosyn.core.errors import UserError
from videosyn.curation.config import CaptionsConfig
from videosyn.curation.pictures import evenly, open_picture
from videosyn.curation.records import Clip
from videosyn.curation.work import Work

LOOK_PX = 960
"""Pictures are decoded at least this large: more than such models look at."""


class VisionLanguageModel:
    """A Captioner. Greedy, so that doing a clip again says the same. A clip without kept frames gets no caption."""

    def __init__(self, config: CaptionsConfig, device: str = "auto") -> None:
        self.config, self.device = config, device
        local = Path(config.captioner).expanduser()
        self.path = str(local) if local.is_dir() else config.captioner
        self.name = local.name if local.is_dir() else config.captioner
        self._processor: Any = None
        self._model: Any = None

    def setup(self) -> None:
        """Loads processor and weights. UserError where they are missing, or do not make a captioner."""
        from transformers import AutoModelForImageTextToText, AutoProcessor

        from videosyn.core.runtime import pick_device, pick_dtype
        from videosyn.curation.clip_features import load_strictly

        device = pick_device(self.device)
        try:
            self._processor = AutoProcessor.from_pretrained(self.path)
        except (OSError, ValueError, ImportError, KeyError) as error:
            line = (str(error) or type(error).__name__).strip().splitlines()[0]
            raise UserError(
                f"captions.captioner must be none, sidecar, or a vision language model's folder or hub id, "
                f"got {self.config.captioner!r} ({line})"
            ) from error
        if not getattr(self._processor, "chat_template", None):
            raise UserError(
                f"{self.config.captioner} has no chat template: name a model that is tuned to follow prompts"
            )
        model = load_strictly(AutoModelForImageTextToText, self.path, "captions.captioner")
        self._model = model.to(device=device, dtype=pick_dtype("auto", device))

    def caption(self, clip: Clip, work: Work) -> str:
        import torch

        frames = evenly(clip.frames, self.config.num_frames)
        if not frames:
            return ""
        pictures = [{"type": "image", "image": open_picture(work, frame, LOOK_PX)} for frame in frames]
        question = {"type": "text", "text": self.config.prompt}
        given = self._processor.apply_chat_template(
            [{"role": "user", "content": [*pictures, question]}],
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
            tokens = self._model.generate(**given, max_new_tokens=self.config.max_tokens, do_sample=False)
        answer = tokens[:, given["input_ids"].shape[1] :]
        return self._processor.batch_decode(answer, skip_special_tokens=True)[0].strip()

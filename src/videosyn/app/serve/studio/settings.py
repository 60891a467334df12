"""The sliders of a film's settings, with what the model and the service allow as their ends."""

from __future__ import annotations

from typing import Any

import gradio as gr

from videosyn.app.serve.documents import Video
from videosyn.app.serve.models import ServedModel
from videosyn.app.serve.service import Service

MOST_GUIDANCE = 12.0
MOST_FPS = 30


class FilmSettings:
    """Frames, size, rate, steps, guidance: the components, in the order of `names`."""

    names = ("num_frames", "height", "width", "fps", "num_steps", "guidance")

    def __init__(self, service: Service, model: ServedModel, only: tuple[str, ...] = names) -> None:
        self.only = only
        self._service = service
        self.components = [
            gr.Slider(label=_LABELS[name], interactive=True, min_width=240, **self._range(name, model)) for name in only
        ]

    def for_model(self, model: ServedModel) -> list[Any]:
        """The sliders for another model: its ends, and its own values."""
        return [gr.Slider(**self._range(name, model)) for name in self.only]

    def of_film(self, video: Video, model: ServedModel | None) -> list[Any]:
        """The sliders as a film had them; between the ends of its model, where that is still served."""
        ranges = [self._range(name, model) if model is not None else {} for name in self.only]
        return [gr.Slider(**each | {"value": getattr(video, name)}) for name, each in zip(self.only, ranges)]

    def values(self, shown: tuple[float, ...]) -> dict[str, Any]:
        """What the sliders say, as a request wants it."""
        return {name: float(x) if name in ("fps", "guidance") else round(x) for name, x in zip(self.only, shown)}

    def _range(self, name: str, model: ServedModel) -> dict[str, Any]:
        limits, value = self._service.limits, getattr(model.defaults, name)
        if name == "num_frames":
            step = model.time_factor
            most = limits.frames
            if model.index is not None and model.index.trained.max_frames:
                most = min(most, max(value, 2 * model.index.trained.max_frames))
            return {"minimum": 1, "maximum": 1 + (most - 1) // step * step, "step": step, "value": value}
        if name in ("height", "width"):
            step = model.size_multiple
            most = limits.side_px
            if model.index is not None and model.index.trained.max_pixels:
                most = min(most, max(value, round(2 * model.index.trained.max_pixels**0.5)))
            return {"minimum": step, "maximum": most // step * step, "step": step, "value": value}
        if name == "fps":
            return {"minimum": 1, "maximum": max(MOST_FPS, value), "step": 1, "value": value}
        if name == "num_steps":
            return {"minimum": 1, "maximum": limits.steps, "step": 1, "value": value}
        return {"minimum": 0, "maximum": MOST_GUIDANCE, "step": 0.1, "value": value}


_LABELS = {
    "num_frames": "Frames",
    "height": "Height, pixels",
    "width": "Width, pixels",
    "fps": "Frames a second",
    "num_steps": "Steps: more are finer and slower",
    "guidance": "Guidance: how strongly the prompt pulls",
}

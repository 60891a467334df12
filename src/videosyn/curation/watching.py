"""Captions by a model: nano's captioner, one that was trained here, or a vision language model. Next: `captions.py`."""

from __future__ import annotations

import numpy as np

from videosyn.captioner.clip_captioner import ClipCaptioner, open_captioner
from videosyn.curation.config import CaptionsConfig
from videosyn.curation.pictures import evenly, open_picture
from videosyn.curation.records import Clip
from videosyn.curation.work import Work


class Watcher:
    """A Captioner that is shown a clip's kept frames. A clip without any gets no caption."""

    def __init__(self, config: CaptionsConfig, device: str = "auto") -> None:
        self.config, self.device = config, device
        self._model: ClipCaptioner | None = None

    @property
    def name(self) -> str:
        """Known after `setup`."""
        return self.config.captioner if self._model is None else self._model.name

    def setup(self) -> None:
        """Loads the weights. UserError where they are missing, or do not make a captioner."""
        self._model = open_captioner(self.config.captioner, self.device, max_tokens=self.config.max_tokens)

    def caption(self, clip: Clip, work: Work) -> str:
        assert self._model is not None, "setup comes first"
        frames = evenly(clip.frames, self.config.num_frames)
        if not frames:
            return ""
        seen = np.stack([np.asarray(open_picture(work, frame, self._model.look_px)) for frame in frames])
        span_s = max(clip.end_s - clip.start_s, 1e-6)
        times = [[min(1.0, max(0.0, (frame.time_s - clip.start_s) / span_s)) for frame in frames]]
        return self._model.caption([seen], self.config.prompt or None, times)[0]

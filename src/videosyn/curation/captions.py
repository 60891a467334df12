"""A clip's caption, from whoever is asked (paper section 4, stage 6). Next: `write.py`.

A captioner is an object that loads what it needs and then says one caption a clip; the config names it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from videosyn.curation.config import CurationConfig
from videosyn.curation.records import Clip
from videosyn.curation.stages import Resources
from videosyn.curation.work import Work


class Captioner(Protocol):
    @property
    def name(self) -> str:
        """What the clip's label `captioner` says."""
        ...

    def setup(self) -> None:
        """Loads models. Raises UserError where weights are missing."""
        ...

    def caption(self, clip: Clip, work: Work) -> str:
        """One caption, on one line; empty where it has nothing to say."""
        ...


class Nobody:
    """No captions."""

    name = "none"

    def setup(self) -> None:
        """Nothing to load."""

    def caption(self, clip: Clip, work: Work) -> str:
        return ""


class Captions:
    """A ClipStage: `caption`, and the label `captioner`. Score `caption_words`. It rejects nothing."""

    name = "captions"
    version = "1"

    def __init__(self, config: CurationConfig) -> None:
        self.captioner = captioner_of(config)
        self._is_model = config.captions.is_model

    @property
    def resources(self) -> Resources:
        if self._is_model:
            return Resources(cpus=1.0, memory_bytes=8_000_000_000, gpu=True, time_limit_s=600.0)
        return Resources(cpus=0.2, memory_bytes=200_000_000, time_limit_s=60.0)

    def setup(self) -> None:
        self.captioner.setup()

    def process(self, clip: Clip, work: Work) -> Clip:
        caption = " ".join(self.captioner.caption(clip, work).split())
        return replace(
            clip,
            caption=caption,
            scores={**clip.scores, "caption_words": float(len(caption.split()))},
            labels={**clip.labels, "captioner": self.captioner.name},
        )


def captioner_of(config: CurationConfig) -> Captioner:
    """The captioner that the config names. Cheap: weights are loaded by its `setup`."""
    if config.captions.captioner == "none":
        return Nobody()
    if config.captions.captioner == "sidecar":
        from videosyn.curation.sidecars import Sidecars

        return Sidecars()
    from videosyn.curation.watching import Watcher

    return Watcher(config.captions, config.device)

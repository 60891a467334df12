"""What curation passes from stage to stage. Torch-free; JSON through `core.config`. Next: `config.py`, `stages.py`.

A clip is virtual until the end: a source and a span of its frames. Frame indices count decoded frames from 0 in
presentation order; spans are half open, [start_frame, end_frame).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Source:
    """An input file, known by its content."""

    id: str
    """First 16 hex digits of the content's BLAKE2b."""
    path: str
    """Where it was given: a local path or an fsspec URL."""
    size_bytes: int
    licence: str = ""
    """From a sidecar or the container's tags; empty: unknown."""
    codec: str = ""
    width_px: int = 0
    """As shown, after rotation."""
    height_px: int = 0
    rotation_deg: int = 0
    """How far the decoder's frames must be turned counterclockwise to be upright: 0, 90, 180, 270."""
    fps: float = 0.0
    """Mean frames a second."""
    num_frames: int = 0
    """As the container says; 0: it does not. The scan counts what decodes."""
    duration_s: float = 0.0


@dataclass(frozen=True)
class Frame:
    """A full-resolution frame kept on the way of the one decode."""

    index: int
    time_s: float
    file: str
    """Relative to the work folder."""


@dataclass(frozen=True)
class Clip:
    """A piece of a source on its way through the stages. `rejected_by` is the stage that dropped it, empty: alive."""

    id: str
    source: str
    start_frame: int
    end_frame: int
    start_s: float
    end_s: float
    frames: tuple[Frame, ...] = ()
    """Kept frames inside the span, in order."""
    scores: dict[str, float] = field(default_factory=dict)
    """Every number a stage measured, by name: `motion`, `aesthetic`, `text_area`, ..."""
    labels: dict[str, str] = field(default_factory=dict)
    """Every word a stage said: `aesthetic_model`, `captioner`, `duplicate_of`, `file_name`, ..."""
    caption: str = ""
    rejected_by: str = ""
    reason: str = ""
    """One line: the rule and the value."""

    @property
    def num_frames(self) -> int:
        return self.end_frame - self.start_frame

    @property
    def duration_s(self) -> float:
        return self.end_s - self.start_s


def clip_id(source: str, start_frame: int, end_frame: int) -> str:
    """16 hex digits that name a span of a source; the same in every run."""
    return hashlib.blake2b(f"{source}:{start_frame}:{end_frame}".encode(), digest_size=8).hexdigest()

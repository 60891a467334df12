"""videosyn: a prompt in, a film out; footage in, a trained model out.

Importing this package imports no torch: the names below are loaded when first used. Next: `sampling/pipeline.py`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from videosyn.core.errors import UserError
    from videosyn.core.video_file import read_metadata, read_video, write_video
    from videosyn.sampling.output import VideoOutput
    from videosyn.sampling.pipeline import VideoSynPipeline

__version__ = "0.1.0"

_HOMES = {
    "UserError": "videosyn.core.errors",
    "VideoOutput": "videosyn.sampling.output",
    "VideoSynPipeline": "videosyn.sampling.pipeline",
    "read_metadata": "videosyn.core.video_file",
    "read_video": "videosyn.core.video_file",
    "write_video": "videosyn.core.video_file",
}

__all__ = ["UserError", "VideoOutput", "VideoSynPipeline", "__version__", "read_metadata", "read_video", "write_video"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)

"""What is measured in the pixels of a clip: motion, looks, overlaid text, hashes to find duplicates by.

The measures are those of curation, so that an audit asks whether its thresholds did what they should. Next:
`captions.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from videosyn.core.errors import UserError
from videosyn.curation.alignment import Track
from videosyn.curation.config import CurationConfig
from videosyn.curation.photometric import photometric_score
from videosyn.evaluation.footage import frames_of

if TYPE_CHECKING:
    from videosyn.curation.ocr import TextReader

SMALL_PX = 256
"""Longer side at which curation looks at motion and hashes."""
LOOKS = 3
"""Frames of a clip that are looked at closely."""
CONFIG = CurationConfig()
"""Its thresholds are those that a clip is held against."""


def track_of(frames: Sequence[np.ndarray], fps: float) -> Track:
    """Hashes of small grey frames, a few a second."""
    from videosyn.curation.shots import perceptual_hash

    times = np.arange(len(frames), dtype=np.float32) / (fps or 8.0)
    hashes = np.array([perceptual_hash(frame) for frame in frames], np.uint64)
    return Track.of(times, hashes, np.array([frame.std() for frame in frames], np.float32))


def motion_of(frames: Sequence[np.ndarray]) -> float:
    """Mean share of pixels that move from one small grey frame to the next; nan for one frame."""
    from videosyn.curation.motion import moving_share

    shares = [moving_share(one, other, CONFIG.motion.threshold) for one, other in pairwise(frames)]
    return float(np.mean(shares)) if shares else float("nan")


def small_grey(frame: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3) -> (h, w) grey, the longer side SMALL_PX at most, every n-th pixel as curation takes them."""
    step = -(-max(frame.shape[:2]) // SMALL_PX)
    part = frame[step // 2 :: step, step // 2 :: step].astype(np.float32)
    return (part @ np.array([0.299, 0.587, 0.114], np.float32)).round().astype(np.uint8)


def grey_frames(path: Path) -> list[np.ndarray]:
    """All frames of a clip, small and grey."""
    return [small_grey(frame) for frame in frames_of(path)]


def whole_frames(path: Path, num_frames: int) -> list[np.ndarray]:
    """LOOKS frames spread over a clip of so many, as they are."""
    return _some(path, np.linspace(0, num_frames - 1, LOOKS + 2)[1:-1])


def frames_to_caption(path: Path, num_frames: int, wanted: int) -> np.ndarray:
    """At most `wanted` frames of a clip of so many, the first and the last among them, uint8 (T, H, W, 3)."""
    return np.stack(_some(path, np.linspace(0, num_frames - 1, min(num_frames, wanted))))


def _some(path: Path, places: np.ndarray) -> list[np.ndarray]:
    wanted = set(places.round().astype(int).tolist())
    return [np.ascontiguousarray(frame) for place, frame in enumerate(frames_of(path)) if place in wanted]


def photometric(frames: Sequence[np.ndarray]) -> float:
    """Mean photometric score, 0 to 10."""
    return float(np.mean([photometric_score(Image.fromarray(frame)) for frame in frames]))


class OverlaidText:
    """The pixels of overlaid text in the frame that has most, and of the largest line, at curation's reference size."""

    def __init__(self) -> None:
        from videosyn.curation.ocr import TextReader

        try:
            self._reader: TextReader = TextReader()
        except UserError as error:
            raise UserError(
                "overlaid text needs rapidocr: pip install 'videosyn[curate]', or --no-read-text"
            ) from error

    def __call__(self, frames: Sequence[np.ndarray]) -> tuple[float, bool]:
        """uint8 frames (H, W, 3) -> area, and whether curation would drop the clip."""
        from videosyn.curation.overlaid_text import overlaid, reference_scale, too_much

        area = line = 0.0
        for frame in frames:
            scale = reference_scale(CONFIG.text, *frame.shape[:2])
            areas = [box.area_px * scale for box in overlaid(self._reader, frame, CONFIG.text)]
            area, line = max(area, sum(areas)), max([line, *areas])
        return area, bool(too_much(CONFIG.text, area, line))

"""Where text stands in a picture, and what it says: PP-OCRv6 through rapidocr and onnxruntime.

The models lie inside rapidocr's wheel, so nothing is fetched. One thread; sessions are made once. Next:
`overlaid_text.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videosyn.core.errors import UserError

if TYPE_CHECKING:
    import numpy as np

DETECTION_PX = 512 * 288
"""Pictures are shrunk to at most so many pixels before text is looked for: the cost is proportional to them."""
_MODELS = {"Det": "PP-OCRv6_det_small.onnx", "Rec": "PP-OCRv6_rec_small.onnx"}


@dataclass(frozen=True, eq=False)
class Box:
    """A place that looks like text."""

    corners: np.ndarray
    """(4, 2) float32 x, y in the picture's pixels: top left, top right, bottom right, bottom left."""
    certainty: float
    """Of the detection, 0 to 1."""

    @property
    def width_px(self) -> float:
        return _length(self.corners[1] - self.corners[0])

    @property
    def height_px(self) -> float:
        return _length(self.corners[3] - self.corners[0])

    @property
    def area_px(self) -> float:
        """The shoelace formula."""
        x, y = self.corners.T
        return float(abs((x * (_next(y) - _before(y))).sum()) / 2)

    @property
    def slant_deg(self) -> float:
        """How far its upper edge is from level, 0 to 180."""
        import math

        across, down = self.corners[1] - self.corners[0]
        return abs(math.degrees(math.atan2(float(down), float(across))))


@dataclass(frozen=True)
class Reading:
    """What the recognition made of a box."""

    text: str
    score: float
    """Mean certainty of its characters, 0 to 1."""


class TextReader:
    """Finds and reads text. Raises UserError where rapidocr or its models are missing."""

    def __init__(self) -> None:
        try:
            import rapidocr
        except ImportError as error:
            raise UserError("overlaid text needs rapidocr: pip install 'videosyn[curate]'") from error
        folder = Path(rapidocr.__file__).parent / "models"
        paths = {part: folder / name for part, name in _MODELS.items()}
        for path in paths.values():
            if not path.exists():
                raise UserError(f"rapidocr is here without its model {path.name}: install rapidocr 3.10")
        threads = "EngineConfig.onnxruntime.{}_op_num_threads"
        self._engine = rapidocr.RapidOCR(
            params={
                "Global.log_level": "critical",
                "Global.use_cls": False,
                "Global.use_preprocess_img": False,
                "Global.use_vertical_padding": False,
                "Det.limit_type": "min",
                "Det.limit_side_len": 32,
                "Det.model_path": str(paths["Det"]),
                "Rec.model_path": str(paths["Rec"]),
                threads.format("intra"): 1,
                threads.format("inter"): 1,
            }
        )

    def find(self, picture: np.ndarray) -> list[Box]:
        """A picture (H, W, 3) uint8 RGB -> boxes in its own pixels, in reading order."""
        import cv2
        import numpy as np

        height, width = picture.shape[:2]
        scale = min(1.0, (DETECTION_PX / (height * width)) ** 0.5)
        small_height, small_width = max(1, round(height * scale)), max(1, round(width * scale))
        if min(small_height, small_width) < 16:
            return []
        small = cv2.resize(picture, (small_width, small_height), interpolation=cv2.INTER_AREA)
        found: Any = self._engine(np.ascontiguousarray(small[:, :, ::-1]), use_det=True, use_cls=False, use_rec=False)
        if getattr(found, "boxes", None) is None:
            return []
        back = np.array([width / small_width, height / small_height], np.float32)
        return [
            Box(np.asarray(corners, np.float32) * back, float(score))
            for corners, score in zip(found.boxes, found.scores)
        ]

    def read(self, picture: np.ndarray, boxes: Sequence[Box]) -> list[Reading]:
        """What stands in each box of a picture (H, W, 3) uint8 RGB. Where nothing can be read: "" with score 0."""
        import numpy as np

        if not boxes:
            return []
        corners = np.stack([box.corners for box in boxes])
        crops = self._engine.crop_text_regions(np.ascontiguousarray(picture[:, :, ::-1]), corners)
        found = self._engine.recognize_txt(crops)
        return [Reading(text, float(score)) for text, score in zip(found.txts or (), found.scores or ())]


def _length(step: np.ndarray) -> float:
    return float((step**2).sum() ** 0.5)


def _next(values: np.ndarray) -> np.ndarray:
    import numpy as np

    return np.roll(values, -1)


def _before(values: np.ndarray) -> np.ndarray:
    import numpy as np

    return np.roll(values, 1)

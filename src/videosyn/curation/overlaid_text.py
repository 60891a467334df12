"""Subtitles, titles, watermarks: clips that show overlaid text go (paper section 4, stage 5). Next: `captions.py`.

The paper drops a clip where text boxes cover 20,000 pixels. Taken plainly that rule misfires both ways: what is found
as text is often none, letters on things are no overlay, and a line of subtitles in 720p is smaller than that. So a box
counts here only if it is a level line, crisp, and can be read, and one line of some size is enough.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from videosyn.curation.config import CurationConfig, TextConfig
from videosyn.curation.ocr import Box, Reading, TextReader
from videosyn.curation.pictures import open_picture
from videosyn.curation.records import Clip, Frame
from videosyn.curation.stages import Resources, rejected
from videosyn.curation.textlike import LOOK_PX, most_telling
from videosyn.curation.work import Work

if TYPE_CHECKING:
    import numpy as np

MAX_FRAMES = 3
"""Frames of a clip that are read at most."""
_LOOK_PX = 1280
"""Frames are looked at with a longer side of at least this where they have it: enough to read subtitles."""
_MAX_LINES = 8
"""Lines of a frame that are read at most, the largest first."""
_MIN_ASPECT = 2.4
"""A line is at least so many times as wide as high, margins that the detection adds included: five letters or so."""
_MAX_SLANT_DEG = 8.0
_MIN_CRISPNESS = 2.5
"""Letters' edges take at most 1 / 2.5 of their height: overlaid ones do (4 and more), letters out of focus do not."""
_BOX_TO_LETTERS = 2.3
"""How many times as high as its letters a box is, by the detection's margins."""
_FOREIGN_CONFIDENCE = 0.5
"""Scripts that the recognition does not know come out as blanks between words, or as similar letters, less sure."""
_FOREIGN_ASPECT = 3.0
_UNREADABLE_CERTAINTY = 0.6
_UNREADABLE_ASPECT = 8.0
"""A crisp level line as long as that, found with that certainty, counts though nothing can be read, such as Arabic."""


class OverlaidText:
    """A ClipStage. Scores: `text_area`, the pixels of text in the frame that has most, and `text_line`, the largest
    line's, both at the reference size. What comes after a line that decides is not looked at, and not counted.
    """

    name = "text"
    version = "1"
    resources = Resources(cpus=1.0, memory_bytes=700_000_000, time_limit_s=120.0)

    def __init__(self, config: CurationConfig) -> None:
        self.config = config.text
        self._reader: TextReader | None = None

    def setup(self) -> None:
        """Loads the models. UserError where rapidocr is missing."""
        self._reader = TextReader()

    def process(self, clip: Clip, work: Work) -> Clip:
        import numpy as np

        assert self._reader is not None, "setup() comes first"
        config = self.config
        area_px = line_px = 0.0
        for frame in frames_to_read(clip.frames, work):
            picture = np.asarray(open_picture(work, frame, _LOOK_PX if config.confirm else 0))
            scale = reference_scale(config, *picture.shape[:2])
            in_frame_px = 0.0
            for box in overlaid(self._reader, picture, config):
                in_frame_px += box.area_px * scale
                area_px, line_px = max(area_px, in_frame_px), max(line_px, box.area_px * scale)
                if config.confirm and too_much(config, area_px, line_px):
                    break  # reading is dear
            if too_much(config, area_px, line_px):
                break
        scores = {**clip.scores, "text_area": round(area_px, 1), "text_line": round(line_px, 1)}
        clip = replace(clip, scores=scores)
        reason = too_much(config, area_px, line_px)
        return rejected(clip, self.name, reason) if reason else clip


def too_much(config: TextConfig, area_px: float, line_px: float) -> str:
    """The rule that is broken, with the value; empty: none. `area_px` in a frame, `line_px` its largest line."""
    if area_px > config.max_area_px:
        return f"overlaid text covers {area_px:.0f} px, over text.max_area_px {config.max_area_px}"
    if config.confirm and line_px > config.max_line_px:
        return f"a line of text covers {line_px:.0f} px, over text.max_line_px {config.max_line_px}"
    return ""


def reference_scale(config: TextConfig, height_px: int, width_px: int) -> float:
    """Factor from pixels of a frame to pixels of the reference: 16:9 at `reference_height_px`, equal in area."""
    reference = config.reference_height_px
    return reference * reference * 16 / 9 / (height_px * width_px) if reference else 1.0


def overlaid(reader: TextReader, picture: np.ndarray, config: TextConfig) -> Iterator[Box]:
    """The boxes of a picture (H, W, 3) uint8 RGB that count as overlaid text, the largest first, each read when it is
    asked for; without `confirm` all.
    """
    boxes = sorted(reader.find(picture), key=lambda box: -box.area_px)
    if not config.confirm:
        yield from boxes
        return
    lines = [box for box in boxes if _is_line(box) and crispness(picture, box) >= _MIN_CRISPNESS]
    for box in lines[:_MAX_LINES]:
        if confirmed(box, reader.read(picture, [box])[0], config):
            yield box


def confirmed(box: Box, reading: Reading, config: TextConfig) -> bool:
    """Whether a crisp level line is text: it reads as such, or is in a script that the recognition does not know."""
    aspect = box.width_px / max(box.height_px, 1.0)
    if reading.score >= config.min_confidence and sum(map(str.isalnum, reading.text)) >= config.min_characters:
        return True
    if reading.score >= _FOREIGN_CONFIDENCE and reading.text and aspect >= _FOREIGN_ASPECT:
        return True
    return box.certainty >= _UNREADABLE_CERTAINTY and aspect >= _UNREADABLE_ASPECT


def crispness(picture: np.ndarray, box: Box) -> float:
    """How many times the box's sharpest upright edges fit into its letters' height. `picture`: (H, W, 3) uint8 RGB."""
    import numpy as np

    left, top = np.floor(box.corners.min(axis=0)).astype(int).clip(min=0)
    right, bottom = np.ceil(box.corners.max(axis=0)).astype(int) + 1
    grey = picture[top:bottom, left:right].astype(np.float32).mean(axis=2)
    if min(grey.shape) < 2:
        return 0.0
    low, high = np.percentile(grey, (1, 99))
    steepest = np.percentile(np.abs(np.diff(grey, axis=1)), 98)
    return float(steepest / max(high - low, 1.0) * box.height_px / _BOX_TO_LETTERS)


def frames_to_read(frames: Sequence[Frame], work: Work) -> list[Frame]:
    """At most MAX_FRAMES of a clip's kept frames: those whose strokes say most."""
    import numpy as np

    if len(frames) <= MAX_FRAMES:
        return list(frames)
    greys = [np.asarray(open_picture(work, frame, LOOK_PX).convert("L")) for frame in frames]
    return [frames[place] for place in most_telling(greys, MAX_FRAMES)]


def _is_line(box: Box) -> bool:
    return box.width_px >= _MIN_ASPECT * box.height_px and box.slant_deg <= _MAX_SLANT_DEG

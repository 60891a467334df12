"""Kept frames as pictures, for the stages that look at them. Next: `aesthetics.py`, `overlaid_text.py`."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from videosyn.curation.records import Frame
from videosyn.curation.work import Work

if TYPE_CHECKING:
    from PIL.Image import Image


def open_picture(work: Work, frame: Frame, at_least_px: int = 0) -> Image:
    """A kept frame, RGB, upright.

    at_least_px: how long the longer side must be; JPEG then decodes at 1/2, 1/4 or 1/8 of the size where that is
    enough, several times faster. 0: the whole size.
    """
    from PIL import Image

    picture = Image.open(io.BytesIO(work.read(frame.file)))
    if at_least_px:
        scale = at_least_px / max(picture.size)
        if scale < 1:
            picture.draft("RGB", (round(picture.width * scale), round(picture.height * scale)))
    return picture.convert("RGB")


def evenly(frames: Sequence[Frame], count: int) -> list[Frame]:
    """At most `count` of the frames, in order, spread evenly: of seven, three are the second, fourth and sixth."""
    if len(frames) <= count:
        return list(frames)
    return [frames[int((place + 0.5) * len(frames) / count)] for place in range(count)]

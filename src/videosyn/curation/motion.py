"""How much moves: per frame in the scan, per clip as a stage that also re-clips (paper section 4, stage 4)."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

from videosyn.curation.config import CurationConfig
from videosyn.curation.records import Clip
from videosyn.curation.scan import Scan
from videosyn.curation.stages import Resources, rejected
from videosyn.curation.work import Work

if TYPE_CHECKING:
    import numpy as np


def moving_share(previous: np.ndarray, luma: np.ndarray, threshold: float) -> float:
    """Two small grey pictures (H, W) uint8 of the whole range -> the share of pixels that moved, 0 to 1.

    Difference, threshold to a mask, median blur and opening against speckle, mean.
    """
    import cv2
    import numpy as np

    difference = cv2.absdiff(luma, previous)
    _, mask = cv2.threshold(difference, threshold, 1, cv2.THRESH_BINARY)
    mask = cv2.medianBlur(mask, 3)
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    return cv2.countNonZero(mask) / mask.size


class Motion:
    """A ClipStage: the mean of the scan's motion. Static clips go; clips with an abrupt change keep their longest part.

    A clip that is cut keeps its id; its label `reclipped` is the span it had.
    """

    name = "motion"
    version = "1"
    resources = Resources(cpus=0.2, memory_bytes=300_000_000, time_limit_s=120.0)

    def __init__(self, config: CurationConfig) -> None:
        self.config = config.motion
        self.min_seconds = config.shots.min_seconds
        self._scan: tuple[str, str, Scan] | None = None

    def setup(self) -> None:
        """Nothing to load."""

    def process(self, clip: Clip, work: Work) -> Clip:
        scan = self._scan_of(clip, work)
        parts = self._parts(scan, clip)
        start, end = max(parts, key=lambda part: part[1] - part[0])
        inner = scan.motion[clip.start_frame + 1 : clip.end_frame]  # the first frame's motion is against another shot
        curve = scan.motion[start + 1 : end]
        score = float(curve.mean()) if len(curve) else 0.0
        peak = float(inner.max()) if len(inner) else 0.0
        clip = replace(clip, scores={**clip.scores, "motion": score, "motion_peak": peak})
        if len(parts) > 1:
            start_s = float(scan.time_s[start])
            end_s = float(scan.time_s[end]) if end < scan.num_frames else scan.end_s
            if end_s - start_s < self.min_seconds:
                reason = f"abrupt changes leave {end_s - start_s:.2f} s, under shots.min_seconds {self.min_seconds:g}"
                return rejected(clip, self.name, reason)
            clip = replace(
                clip,
                start_frame=start,
                end_frame=end,
                start_s=start_s,
                end_s=end_s,
                frames=tuple(frame for frame in clip.frames if start <= frame.index < end),
                labels={**clip.labels, "reclipped": f"{clip.start_frame}-{clip.end_frame}"},
            )
        if score < self.config.min_score:
            return rejected(clip, self.name, f"motion {score:.4f} is under {self.config.min_score:g}")
        return clip

    def _parts(self, scan: Scan, clip: Clip) -> list[tuple[int, int]]:
        """The clip's frames between abrupt changes: half-open spans."""
        curve = scan.motion[clip.start_frame + 1 : clip.end_frame]
        borders = [
            clip.start_frame + 1 + position for position in abrupt(curve, self.config.peak, self.config.peak_rise)
        ]
        edges = [clip.start_frame, *borders, clip.end_frame]
        return list(itertools.pairwise(edges))

    def _scan_of(self, clip: Clip, work: Work) -> Scan:
        if self._scan is None or self._scan[:2] != (work.root, clip.source):
            self._scan = (work.root, clip.source, Scan.load(work, work.source(clip.source)))
        return self._scan[2]


def abrupt(curve: np.ndarray, peak: float, peak_rise: float) -> list[int]:
    """Positions whose motion exceeds `peak`, and that of all but one of its four neighbours by `peak_rise`.

    The exception is for a flash, which changes the picture twice; motion that sets in and goes on is no such peak.
    """
    found: list[int] = []
    for position in range(len(curve)):
        near = [float(curve[other]) for other in range(position - 2, position + 3) if 0 <= other < len(curve)]
        near.remove(float(curve[position]))
        calm = sorted(near)[-2] if len(near) > 1 else 0.0
        if curve[position] > peak and curve[position] - calm > peak_rise:
            found.append(position)
    return found

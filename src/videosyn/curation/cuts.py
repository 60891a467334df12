"""Hard cuts: PySceneDetect proposes, a comparison of the pictures before and after decides. Next: `shots.py`.

A detector looks at the change from one frame to the next, so a flash, a fast pan and a page turned on a screen look
like cuts. Here a proposed cut must also change the picture for good: for most blocks of the new picture there is no
place nearby in the old one that looks like it, neighbouring frames of the same shot are far more alike, and the old
picture does not come back. All of it is local, so that it is the same however a source is divided.
"""

from __future__ import annotations

import itertools
from collections import deque
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from videosyn.curation.config import ShotsConfig
from videosyn.curation.decode import full_luma

if TYPE_CHECKING:
    import numpy as np

LOOK = 8
"""Frames before and after a frame that decide whether a shot begins there."""

_PROPOSE = {"adaptive": (1.8, 12.0), "content": (15.0, 15.0)}
"""Where proposals are confirmed, thresholds below PySceneDetect's own: (threshold, smallest content value)."""
_THUMB_PX = 64
_BLOCK_PX = 8
_REACH_PX = 6
"""How far a block may have moved from one frame to the next; of a thumbnail 64 pixels long, a tenth of the picture."""
_BLOCK_CHANGED = 8.0
"""Root mean square difference of a block, in levels of 255, from which on it shows something else."""
_MIN_CHANGED = 0.3
"""Part of the blocks that must have changed."""
_MIN_RISE = 1.8
"""How many times larger the change must be than the largest of the calmer side's,"""
_MIN_RISE_ROUGH = 1.15
"""and of the rougher side's: a camera that begins to whip is no cut."""
_SAME = 0.15
"""A picture that comes back within LOOK frames differs from the one before in no more blocks than this."""
_STILL = 1.0
"""Change, in levels of 255, of a screen on which nothing moves."""
_PAGE_STAYS = 0.2
"""Part of the blocks that stay as they are when only a page is turned on a screen."""
_DIMMED = 16.0
"""Levels by which all of a picture may become brighter or darker from one frame to the next, as lamps and fades do."""


class CutFinder:
    """Takes frames one by one, gives their cut strengths LOOK frames later."""

    def __init__(self, config: ShotsConfig, fps: float) -> None:
        self.confirm = config.confirm
        self._detector = _detector(config)
        self._fps = Fraction(fps if fps > 0 else 25.0).limit_denominator(1001)
        self._pictures: deque[tuple[np.ndarray, np.ndarray]] = deque(maxlen=2 * LOOK + 1)
        self._thumbs: dict[int, np.ndarray] = {}
        self._num = 0
        self._proposed: set[int] = set()

    def push(self, luma: np.ndarray, chroma: np.ndarray) -> float | None:
        """Planes of limited range (`Sampler.planes`) -> the strength of the frame LOOK before; None: there is none."""
        from scenedetect import FrameTimecode

        time = FrameTimecode(self._num, self._fps)
        self._proposed.update(cut.frame_num for cut in self._detector.process_frame(time, _bgr(luma, chroma)))
        self._pictures.append((luma, chroma))
        self._num += 1
        return self._decide(self._num - 1 - LOOK) if self._num > LOOK else None

    def finish(self) -> list[float]:
        """The strengths of the last frames, when no more come."""
        return [self._decide(index) for index in range(max(0, self._num - LOOK), self._num)]

    def _decide(self, index: int) -> float:
        if index not in self._proposed:
            return 0.0
        self._proposed.discard(index)
        strength = self._confirmed(index) if self.confirm else 1.0
        self._thumbs = {key: thumb for key, thumb in self._thumbs.items() if key >= index - LOOK}
        return strength

    def _confirmed(self, cut: int) -> float:
        """Part of the picture that changed for good at frame `cut`; 0 where it is no cut."""
        import numpy as np

        old, new = self._thumb(cut - 1), self._thumb(cut)
        blocks = np.minimum(_change(old, new), _change(_dimmed(old, new), new))
        changed = float(np.mean(blocks > _BLOCK_CHANGED))
        if changed < _MIN_CHANGED:
            return 0.0
        first, last = self._num - len(self._pictures), self._num - 1
        before = [self._mean_change(index) for index in range(max(cut - 3, first + 1), cut)]
        after = [self._mean_change(index) for index in range(cut + 1, min(cut + 3, last) + 1)]
        calmer, rougher = sorted((max(before, default=0.0), max(after, default=0.0)))
        if blocks.mean() < max(_MIN_RISE * calmer, _MIN_RISE_ROUGH * rougher):
            return 0.0  # fast motion
        turned = float(np.mean(blocks < _STILL))
        if max(before + after, default=0.0) < _STILL and turned > _PAGE_STAYS:
            return 0.0  # a page on a screen
        flash_begins = ((past, future) for past in (cut - 1, cut - 2) for future in range(cut + 1, cut + LOOK))
        flash_ends = ((past, future) for future in (cut, cut + 1) for past in range(cut - 2, cut - LOOK - 1, -1))
        for past, future in itertools.chain(flash_begins, flash_ends):
            if first <= past and future <= last and self._same(past, future):
                return 0.0  # a flash
        return changed

    def _same(self, past: int, future: int) -> bool:
        import numpy as np

        old, new = self._thumb(past), self._thumb(future)
        if np.mean(_least_change(old, new) > _BLOCK_CHANGED) > _SAME:
            return False  # as most pictures of different shots: their blocks need not be searched for
        return bool(np.mean(_change(old, new) > _BLOCK_CHANGED) <= _SAME)

    def _mean_change(self, index: int) -> float:
        return float(_change(self._thumb(index - 1), self._thumb(index)).mean())

    def _thumb(self, index: int) -> np.ndarray:
        if index not in self._thumbs:
            self._thumbs[index] = _thumbnail(*self._pictures[index - self._num + len(self._pictures)])
        return self._thumbs[index]


def _detector(config: ShotsConfig) -> Any:
    """PySceneDetect's detector, with no minimum length: `clips.py` knows how long a clip must be."""
    from scenedetect import AdaptiveDetector, ContentDetector

    threshold, least = _PROPOSE[config.detector] if config.confirm else (0.0, 15.0)
    threshold = config.threshold or threshold
    if config.detector == "adaptive":
        return AdaptiveDetector(adaptive_threshold=threshold or 3.0, min_content_val=least, min_scene_len=0)
    return ContentDetector(threshold=threshold or 27.0, min_scene_len=0)


def _bgr(luma: np.ndarray, chroma: np.ndarray) -> np.ndarray:
    import cv2
    import numpy as np

    rows, columns = (max(2, side // 4 * 2) for side in luma.shape)
    half = [
        cv2.resize(luma, (columns, rows), interpolation=cv2.INTER_AREA).reshape(-1),
        *(cv2.resize(plane, (columns // 2, rows // 2), interpolation=cv2.INTER_AREA).reshape(-1) for plane in chroma),
    ]
    planes = np.concatenate(half).reshape(rows * 3 // 2, columns)
    return cv2.cvtColor(planes, cv2.COLOR_YUV2BGR_I420)


def _thumbnail(luma: np.ndarray, chroma: np.ndarray) -> np.ndarray:
    """Planes -> (H, W, 3) float32 in levels of 255, 64 pixels long, both sides multiples of a block."""
    import cv2
    import numpy as np

    rows, columns = luma.shape
    scale = _THUMB_PX / max(rows, columns)
    size = tuple(max(2, round(side * scale / _BLOCK_PX)) * _BLOCK_PX for side in (columns, rows))
    planes = [cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in (full_luma(luma), *chroma)]
    return np.stack(planes, axis=-1).astype(np.float32)


def _dimmed(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """The old thumbnail, as bright as the new one, as far as a lamp or a fade goes from one frame to the next."""
    import numpy as np

    step = float(np.clip(new[..., 0].mean() - old[..., 0].mean(), -_DIMMED, _DIMMED))
    return old + np.array([step, 0, 0], np.float32)


def _change(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Two thumbnails -> (blocks,): how far each block of the new one is from the likest place nearby in the old one."""
    import cv2
    import numpy as np

    rows, columns, _ = new.shape
    reach = _REACH_PX
    around = cv2.copyMakeBorder(old, reach, reach, reach, reach, cv2.BORDER_REPLICATE)
    least = [
        cv2.matchTemplate(
            around[top : top + _BLOCK_PX + 2 * reach, left : left + _BLOCK_PX + 2 * reach],
            new[top : top + _BLOCK_PX, left : left + _BLOCK_PX],
            cv2.TM_SQDIFF,
        ).min()
        for top in range(0, rows, _BLOCK_PX)
        for left in range(0, columns, _BLOCK_PX)
    ]
    return np.sqrt(np.maximum(least, 0) / _BLOCK_PX**2)


def _least_change(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """A lower bound of `_change`, (rows, columns) of blocks: no place is more alike than its mean colour allows."""
    import cv2
    import numpy as np

    half, size = _BLOCK_PX // 2, (_BLOCK_PX, _BLOCK_PX)
    margin = _REACH_PX + half
    around = cv2.copyMakeBorder(old, margin, margin, margin, margin, cv2.BORDER_REPLICATE)
    means = cv2.blur(around, size)  # at (y, x): of the block that begins at (y, x) - half
    reach = np.ones((2 * _REACH_PX + 1, 2 * _REACH_PX + 1), np.uint8)
    first = _REACH_PX + 2 * half  # where the middle of the search for the first block lies
    low, high = (search(means, reach)[first:, first:][::_BLOCK_PX, ::_BLOCK_PX] for search in (cv2.erode, cv2.dilate))
    rows, columns, colours = new.shape
    blocks = new.reshape(rows // _BLOCK_PX, _BLOCK_PX, columns // _BLOCK_PX, _BLOCK_PX, colours).mean((1, 3))
    low, high = (each[: blocks.shape[0], : blocks.shape[1]] for each in (low, high))
    return np.sqrt((np.maximum(np.maximum(low - blocks, blocks - high), 0) ** 2).sum(-1))

"""Whether captions of the world's clips are true and complete: what they say against the scene that was drawn.

Where the world did not make a clip, nobody here knows what it shows. Next: `agreement.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from videosyn.evaluation.comparison import ATTRIBUTES, adherence
from videosyn.world.parsed import to_parsed
from videosyn.world.parser import parse
from videosyn.world.scene import Scene


@dataclass(frozen=True)
class CaptionCheck:
    """verdict: attribute -> whether what the caption says of it is true; only those that it names."""

    verdict: dict[str, bool]
    named: int
    to_name: int
    unknown: tuple[str, ...]
    """Words that the world's language has not."""

    @property
    def accuracy(self) -> float:
        """Share of the named attributes that are true; nan where it names none."""
        return sum(self.verdict.values()) / len(self.verdict) if self.verdict else float("nan")

    @property
    def completeness(self) -> float:
        """Share of the scene's attributes that the caption names."""
        return self.named / self.to_name


def check_caption(caption: str, scene: Scene, num_frames: int) -> CaptionCheck:
    """What a caption says against the scene that its clip was drawn from."""
    said, truth = parse(caption), to_parsed(scene, num_frames)
    verdict = adherence(said, truth)
    possible = adherence(truth, truth)
    return CaptionCheck(verdict, len(verdict.keys() & possible.keys()), len(possible), said.unknown)


__all__ = ["ATTRIBUTES", "CaptionCheck", "check_caption"]

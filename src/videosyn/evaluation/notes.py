"""What pipelines note about films (a prompt that was cut, another size than asked), for who runs an evaluation."""

from __future__ import annotations

import sys
from functools import cache

from tqdm import tqdm

from videosyn.sampling.output import VideoOutput


def told(output: VideoOutput) -> VideoOutput:
    """The same, after its notes have been said: a line each, once a process."""
    for note in output.notes:
        _say(note)
    return output


@cache
def _say(note: str) -> None:
    tqdm.write(f"videosyn: {note}", file=sys.stderr)

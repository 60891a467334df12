"""SIGTERM and Ctrl-C as a wish that the loop answers between two steps. Next: `loop.py`."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import Any


@contextmanager
def leave_when_asked():
    """Yields a list that becomes non-empty once SIGTERM or SIGINT came; a second one acts as usual."""
    asked: list[int] = []

    before: dict[int, Any] = {}

    def remember(number: int, frame: object) -> None:
        asked.append(number)
        signal.signal(number, before[number])

    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            before[number] = signal.signal(number, remember)
    except ValueError:  # not the main thread: the caller handles signals
        yield asked
        return
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""A batch in parts that are computed one after the other: the same update in less memory. Next: `loop.py`."""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol, TypeVar

from torch import Tensor


class Batch(Protocol):
    """A frozen dataclass of tensors and plain values, written down when it breaks a run."""

    @property
    def bucket(self) -> str: ...

    @property
    def size(self) -> int:
        """Clips of this process."""
        ...

    @property
    def first(self) -> int:
        """Place of the first of them in the batch of all processes."""
        ...

    @property
    def whole(self) -> int:
        """Size of that batch; 0: this is all of it."""
        ...


B = TypeVar("B", bound=Batch)


def parts_of(batch: B, count: int) -> list[B]:
    """A batch in `count` parts, or fewer if it has fewer clips: every tensor and tuple with an item a clip is cut."""
    if count == 1 or batch.size == 1:
        return [batch]
    size, parts = batch.size, []
    for place in range(min(count, size)):
        low, high = (each * size // min(count, size) for each in (place, place + 1))
        changes: dict[str, Any] = {"first": batch.first + low, "whole": batch.whole or size}
        for field in dataclasses.fields(batch):  # pyright: ignore[reportArgumentType]
            value = getattr(batch, field.name)
            if isinstance(value, (Tensor, tuple)) and len(value) == size:
                changes[field.name] = value[low:high]
        parts.append(dataclasses.replace(batch, **changes))  # pyright: ignore[reportArgumentType,reportType]
    return parts

"""Connected patches of what the empty world does not explain. Next: `matching.py`."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

THRESHOLD = 0.085
"""Distance to the backdrop, on the even scale, from which a pixel belongs to a thing."""
FAINT = 0.05
"""The same for things nearly of the backdrop's colour, looked for only where no other patch is."""
SMALLEST_PX = 40
"""Area a patch needs at the working size; the smallest thing that shrinks covers 80."""
SMALLEST_SIDE = 10
"""Pixels of its longer side; the smallest thing's is 12."""
COARSE = 2
"""Patches are found on a grid this much coarser."""


@dataclass(frozen=True)
class Patch:
    """A connected patch in one frame, in pixels: its box, and the energy in it."""

    left: float
    top: float
    right: float
    bottom: float
    energy: float
    wider: Patch | None = None
    """What it may be a piece of."""

    @property
    def box(self) -> tuple[float, float, float]:
        """Centre x, centre y and longer side."""
        return (
            (self.left + self.right) / 2,
            (self.top + self.bottom) / 2,
            max(self.right - self.left, self.bottom - self.top),
        )

    def touches(self, other: Patch) -> bool:
        """Whether their boxes share a pixel."""
        across = min(self.right, other.right) > max(self.left, other.left)
        return across and min(self.bottom, other.bottom) > max(self.top, other.top)


def find_all(lenient: Tensor, strict: Tensor) -> list[list[Patch]]:
    """Patches of each frame, strongest first, and after them the faint ones, from distances to the backdrop (K, H, W).

    The lenient distance divides things from their shadows, but also a grey thing into pieces; the strict one shows how
    far the whole of it may reach.
    """
    out = []
    for clear, faint, wide in zip(
        find_patches(lenient), find_patches(lenient, FAINT), find_patches(strict), strict=True
    ):
        patches = [*clear, *(patch for patch in faint if not any(patch.touches(other) for other in clear))]
        out.append([replace(patch, wider=_around(patch, wide)) for patch in patches])
    return out


def _around(patch: Patch, wide: list[Patch]) -> Patch | None:
    """The patch and the strict distance's patch that reaches beyond it, together, if there is one."""
    beyond = [other for other in wide if patch.touches(other) and other.box[2] > 1.1 * patch.box[2]]
    if not beyond:
        return None
    other = max(beyond, key=lambda each: each.energy)
    corner = min(patch.left, other.left), min(patch.top, other.top)
    return Patch(*corner, max(patch.right, other.right), max(patch.bottom, other.bottom), other.energy)


def find_patches(gaps: Tensor, threshold: float = THRESHOLD) -> list[list[Patch]]:
    """Patches of each frame beyond a threshold, strongest first, from distances to the backdrop (K, H, W)."""
    coarse = F.avg_pool2d(gaps[:, None], COARSE, ceil_mode=True)  # (K, 1, h, w)
    on = coarse > threshold
    labels = _label(_opened(on))[:, 0]
    energy = coarse[:, 0].square()
    return [_patches(frame, each) for frame, each in zip(labels, energy, strict=True)]


def _opened(on: Tensor) -> Tensor:
    """Without lines one coarse pixel wide, such as a horizon that lies a little off."""
    eroded = 1.0 - F.max_pool2d(F.pad(1.0 - on.float(), (0, 1, 0, 1), value=1.0), 2, 1)
    return F.max_pool2d(F.pad(eroded, (1, 0, 1, 0)), 2, 1) > 0


def _label(on: Tensor) -> Tensor:
    """Every connected region of (K, 1, h, w) gets one number of its own, 0 elsewhere, by spreading the largest."""
    height, width = on.shape[2:]
    mask = on.float()
    labels = torch.arange(1, height * width + 1, dtype=torch.float32).view(1, 1, height, width) * mask
    for _ in range(height + width):
        spread = F.max_pool2d(labels, 3, 1, 1) * mask
        spread = F.max_pool2d(spread, 3, 1, 1) * mask
        if torch.equal(spread, labels):
            break
        labels = spread
    return labels.long()


def _patches(labels: Tensor, energy: Tensor) -> list[Patch]:
    found: list[Patch] = []
    numbers, counts = labels.unique(return_counts=True)
    for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
        if number == 0 or count * COARSE**2 < SMALLEST_PX:
            continue
        where = labels == number
        rows, columns = where.any(1).nonzero()[:, 0], where.any(0).nonzero()[:, 0]
        top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
        if min(bottom - top, right - left) * COARSE < 5 or max(bottom - top, right - left) * COARSE < SMALLEST_SIDE:
            continue
        found.append(
            Patch(
                left * COARSE,
                top * COARSE,
                right * COARSE,
                bottom * COARSE,
                float(energy[where].sum()) * COARSE**2,
            )
        )
    return sorted(found, key=lambda patch: -patch.energy)

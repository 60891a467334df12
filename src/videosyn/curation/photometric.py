"""A frame's technical quality, without any weights: exposure, contrast, sharpness, colour. Next: `aesthetics.py`.

It knows nothing of beauty: it finds frames that are black, blown out, flat or blurred.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

LOOK_PX = 512
"""Longer side at which frames are measured, so that the score does not depend on their size."""
_WEIGHTS = {"exposure": 0.3, "contrast": 0.3, "sharpness": 0.25, "colourfulness": 0.15}
_FULL_CONTRAST = 0.22
"""Standard deviation of brightness, of 1, that is worth the full mark."""
_FULL_SHARPNESS = 3.0
"""Decimal logarithm of the Laplacian's variance that is worth the full mark."""
_FULL_COLOUR = 60.0
"""Hasler and Suesstrunk's colourfulness that is worth the full mark: "quite colourful"."""


def photometric_score(picture: Image) -> float:
    """A picture, RGB -> 0 to 10."""
    marks = photometric_marks(picture)
    return 10 * sum(weight * marks[name] for name, weight in _WEIGHTS.items())


def photometric_marks(picture: Image) -> dict[str, float]:
    """A picture, RGB -> its marks, each 0 to 1."""
    from PIL import Image

    scale = LOOK_PX / max(picture.size)
    if scale < 1:
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        picture = picture.resize(size, Image.Resampling.BOX)
    pixels = np.asarray(picture, np.float32)  # (H, W, 3)
    grey = pixels @ np.array([0.299, 0.587, 0.114], np.float32)
    return {
        "exposure": _exposure(grey),
        "contrast": min(1.0, float(grey.std()) / 255 / _FULL_CONTRAST),
        "sharpness": _sharpness(grey),
        "colourfulness": min(1.0, _colourfulness(pixels) / _FULL_COLOUR),
    }


def _exposure(grey: np.ndarray) -> float:
    """1 where the mean is a middle grey and nothing is clipped, 0 for black and white."""
    middle = 1 - (float(grey.mean()) / 127.5 - 1) ** 2
    clipped = float(((grey < 3) | (grey > 252)).mean())
    return middle * (1 - clipped)


def _sharpness(grey: np.ndarray) -> float:
    """The logarithm of the Laplacian's variance: 0 for flat and blurred, 1 for crisp detail."""
    if min(grey.shape) < 3:
        return 0.0
    sides = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    variance = float((sides - 4 * grey[1:-1, 1:-1]).var())
    return min(1.0, float(np.log10(1 + variance)) / _FULL_SHARPNESS)


def _colourfulness(pixels: np.ndarray) -> float:
    """Hasler and Suesstrunk 2003, equation 3: 0 for grey, about 109 at most in photographs."""
    red, green, blue = np.moveaxis(pixels, -1, 0)
    first, second = red - green, (red + green) / 2 - blue
    spread = float(np.hypot(first.std(), second.std()))
    return spread + 0.3 * float(np.hypot(first.mean(), second.mean()))

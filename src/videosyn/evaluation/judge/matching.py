"""How well a pose of the gallery, laid on a place of a frame, explains what the empty world does not. Next:
`detection.py`.

The measure is a gain: by how much laying the thing there lowers the squared difference between the frame and what is
drawn, summed over pixels. With coverage a, the frame I, the thing's colours g, and r the squared difference that the
backdrop alone leaves, gain = sum a r - a |I - g|^2, which is linear in products of the gallery and the frame, so one
matrix product measures all poses, colours and places.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from videosyn.evaluation.judge.gallery import FILL, SIDE, Gallery, box_offsets

UNEXPLAINED_CAP = 0.15
"""Squared difference a pixel that the backdrop does not explain may count for at most."""


def evidence(frame: Tensor, gap: Tensor, free: Tensor) -> Tensor:
    """What matching reads of a frame: (6, H, W) from a frame (3, H, W) on the even scale, distances (H, W) to the
    backdrop, and where the view is free (H, W): 0 where a nearer thing covers it.
    """
    unexplained = gap.square().clamp_max(UNEXPLAINED_CAP)
    length = frame.square().sum(0)
    return torch.cat(
        [torch.stack([free, free * (unexplained - length)]), 2.0 * free * frame, (free * unexplained)[None]]
    )


def crop(planes: Tensor, boxes: Tensor) -> Tensor:
    """Planes (c, H, W) sampled in boxes (n, 3) of centre x, centre y and longer side, in pixels: (n, c, SIDE, SIDE),
    0 outside.
    """
    height, width = planes.shape[1:]
    span = box_offsets(SIDE)[None, :] * boxes[:, 2:3] / FILL  # (n, SIDE)
    x = (boxes[:, 0:1] + span) / width * 2.0 - 1.0
    y = (boxes[:, 1:2] + span) / height * 2.0 - 1.0
    shape = (len(boxes), SIDE, SIDE)
    grid = torch.stack([x[:, None, :].expand(shape), y[:, :, None].expand(shape)], -1)
    return F.grid_sample(planes[None].expand(len(boxes), -1, -1, -1), grid, align_corners=False)


def gains(planes: Tensor, boxes: Tensor, gallery: Gallery, entries: Tensor | None = None) -> Tensor:
    """Gain of every entry (or of those named) in every box: (n, E), in squared difference times pixels."""
    seen = crop(planes[:5], boxes).flatten(2)  # (n, 5, P)
    # gain = a (r - |I|^2) w + 2 w I . (a g) - w (a g^2)
    query = torch.cat([seen[:, 1], seen[:, 2], seen[:, 3], seen[:, 4], -seen[:, 0]], 1)  # (n, 5 P)
    features = gallery.features if entries is None else gallery.features[entries]
    area = (boxes[:, 2] / FILL / SIDE).square()
    return (query @ features.T) * area[:, None]

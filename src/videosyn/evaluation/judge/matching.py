"""How well a pose of the gallery, laid on a place of a frame, explains what the empty world does not. Next:
`detection.py`.

The measure is a gain: by how much laying the thing there lowers the squared difference between the frame and what is
drawn, summed over pixels. With the frame I, the empty world B, and of a thing what it adds p and what its body and its
shadow leave of the world behind m, it is |I - B|^2 - |I - p - m B|^2. That is linear in products of the gallery and the
frame, so one matrix product measures all poses, colours and places.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from videosyn.evaluation.judge.gallery import FILL, SIDE, Gallery, box_offsets


def evidence(picture: Tensor, empty: Tensor, left: Tensor, free: Tensor) -> Tensor:
    """What matching reads of a frame: planes (11, H, W): 9 that go with `Gallery.features`, one
    that goes with 1, and |I - B|^2.

    From the frame and the empty world (3, H, W), even scale; `left` (H, W), 0 where another thing explains what is
    seen; `free` (H, W), 0 where a nearer thing covers the view.
    """
    difference = (picture - empty) * left
    behind = picture - difference
    product, square = (picture * behind).sum(0, keepdim=True), behind.square().sum(0, keepdim=True)
    planes = [
        2.0 * picture,  # p
        2.0 * product,  # m
        -torch.ones_like(square),  # |p|^2
        -2.0 * behind,  # m p
        -square,  # m^2
        square - 2.0 * product,  # 1
        difference.square().sum(0, keepdim=True),
    ]
    return torch.cat(planes) * free


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
    planes = crop(planes[:10], boxes).flatten(2)  # (n, 10, P)
    features = gallery.features if entries is None else gallery.features[entries]
    sums = planes[:, :9].flatten(1) @ features.T + planes[:, 9].sum(1)[:, None]
    return sums * (boxes[:, 2:3] / FILL / SIDE).square()

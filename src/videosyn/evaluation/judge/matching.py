"""How well a pose of the gallery, laid on a place of a frame, explains what the empty world does not. Next:
`detection.py`.

The measure is a gain: by how much laying the thing there lowers the squared difference between the frame and what is
drawn, summed over pixels. With the frame I, the empty world B, and of a thing what it adds p and what its body and its
shadow leave of the world behind m, it is |I - B|^2 - |I - p - m B|^2. That is linear in products of the gallery and the
frame, so one matrix product measures all poses, colours and places.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from videosyn.evaluation.judge.gallery import FILL, box_offsets


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


def crop(planes: Tensor, boxes: Tensor, side: int) -> Tensor:
    """Planes (c, H, W) sampled in boxes (n, 3) of centre x, centre y and longer side, in pixels: (n, c, side, side)."""
    height, width = planes.shape[1:]
    span = box_offsets(side)[None, :] * boxes[:, 2:3] / FILL  # (n, side)
    x = (boxes[:, 0:1] + span) / width * 2.0 - 1.0
    y = (boxes[:, 1:2] + span) / height * 2.0 - 1.0
    shape = (len(boxes), side, side)
    grid = torch.stack([x[:, None, :].expand(shape), y[:, :, None].expand(shape)], -1)
    return F.grid_sample(planes[None].expand(len(boxes), -1, -1, -1), grid, align_corners=False)  # 0 outside


def gains(planes: Tensor, boxes: Tensor, features: Tensor) -> Tensor:
    """Gain of entries with these features (C, 9 P) in every box: (n, C), in squared difference times pixels."""
    side = math.isqrt(features.shape[1] // 9)
    return _gains(crop(planes[:10], boxes, side), features) * _area(boxes, side)


def gains_and_covered(planes: Tensor, boxes: Tensor, features: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
    """Both, (n, C) each: what entries explain, and what is unexplained within their outlines (C, P)."""
    side = math.isqrt(alpha.shape[1])
    seen, area = crop(planes, boxes, side), _area(boxes, side)
    return _gains(seen, features) * area, seen[:, 10].flatten(1) @ alpha.T * area


def _gains(seen: Tensor, features: Tensor) -> Tensor:
    """From crops (n, 10 or more, side, side), in samples."""
    return seen[:, :9].flatten(1) @ features.T + seen[:, 9].sum((1, 2))[:, None]


def covered(planes: Tensor, boxes: Tensor, alpha: Tensor) -> Tensor:
    """What the empty world leaves unexplained within outlines (C, P) in each box: (n, C)."""
    side = math.isqrt(alpha.shape[1])
    return crop(planes[10:], boxes, side).flatten(1) @ alpha.T * _area(boxes, side)


def _area(boxes: Tensor, side: int) -> Tensor:
    """Pixels of the frame that one of `side` x `side` samples of a box stands for, (n, 1)."""
    return (boxes[:, 2:3] / FILL / side).square()

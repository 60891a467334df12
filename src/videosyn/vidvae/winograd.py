"""Convolutions of 3 x 3 with a quarter of the products: Winograd's F(4x4, 3x3), for fp32 on CPUs.

A tile of 6 x 6 inputs gives 4 x 4 outputs by 36 products for each pair of channels instead of 144: inputs, kernels and
results change their basis by fixed matrices (Lavin and Gray 2015, arXiv 1509.09308, section 4). The points of the
bases are chosen for accuracy: two to five times the rounding error of the plain sum, about 1e-6 of the values.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from videosyn.vidvae.cost import FEWEST_TILED_CHANNELS, FEWEST_TILED_PIXELS, NUMBERS_AT_ONCE
from videosyn.vidvae.scratch import SCRATCH

OUT, KERNEL = 4, 3  # outputs and taps a side
SIDE = OUT + KERNEL - 1
POINTS = (0.0, 0.75, -0.75, 1.5, -1.5)  # and infinity


def pays(x: Tensor, weight: Tensor, stride: tuple[int, ...]) -> bool:
    """Whether there are pixels enough for the kernels' change of basis, and channels enough for the inputs'."""
    suits = weight.shape[3:] == (KERNEL, KERNEL) and tuple(stride) == (1, 1, 1)
    num_pixels = (x.shape[2] - weight.shape[2] + 1) * x.shape[3] * x.shape[4]
    return suits and num_pixels >= FEWEST_TILED_PIXELS and min(weight.shape[:2]) >= FEWEST_TILED_CHANNELS


def conv3d_by_tiles(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The same sum as a Conv3d of stride 1, without padding in time, with a border of one zero in space.

    x: (B, C, kt - 1 + T, H, W), weight (O, C, kt, 3, 3) -> (B, O, T, H, W), channels innermost. Not for gradients.
    """
    batch, channels, num_frames, height, width = x.shape
    taps = weight.shape[2]
    shape = (batch, weight.shape[0], num_frames - taps + 1, height, width)
    y = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last_3d)
    kernels = _kernels(weight)
    columns = -(-width // OUT)
    step = OUT * max(1, NUMBERS_AT_ONCE // (SIDE**2 * columns * channels))  # rows of pixels in a strip
    for video in range(batch):
        for top in range(0, height, step):
            strip = slice(max(0, top - 1), min(height, top + step + 1))
            above = int(top == 0)  # a row of zeros stands there
            frames = (x[video, :, frame, strip] for frame in range(num_frames))
            count = min(step, height - top)
            tiles = (
                _tiles(frame, above, -(-count // OUT), columns, f"tiles {number % taps}")
                for number, frame in enumerate(frames)
            )
            for frame, products in enumerate(_products(tiles, kernels)):
                pixels = _pixels(products, columns)[:, :count, :width]
                y[video, :, frame, top : top + count] = pixels if bias is None else pixels.add_(bias[:, None, None])
    return y


def _products(frames: Iterator[Tensor], kernels: Tensor) -> Iterator[Tensor]:
    """Frames as tiles (36, N, C), kernels (taps, 36, C, O) -> of each frame that has its past: (36, N, O)."""
    seen: list[Tensor] = []
    for frame in frames:
        seen.append(frame)
        if len(seen) == len(kernels):
            shape = (*frame.shape[:2], kernels.shape[3])
            products = torch.bmm(seen[0], kernels[0], out=SCRATCH.take("products", frame, shape))
            for tiles, kernel in zip(seen[1:], kernels[1:], strict=True):
                products.baddbmm_(tiles, kernel)
            yield products
            seen.pop(0)


def _tiles(strip: Tensor, above: int, rows: int, columns: int, name: str) -> Tensor:
    """(C, H', W) with the rows next to it, or zeros -> its overlapping tiles in their basis, (36, rows columns, C)."""
    channels, height, width = strip.shape
    padded = SCRATCH.take("padded", strip, (rows * OUT + 2, columns * OUT + 2, channels)).zero_()
    padded[above : above + height, 1 : 1 + width] = strip.permute(1, 2, 0)
    tiles = padded.unfold(0, SIDE, OUT).unfold(1, SIDE, OUT)  # (rows, columns, C, 6, 6), a view
    apart = SCRATCH.take("apart", strip, (SIDE, SIDE, rows, columns, channels))
    apart.copy_(tiles.permute(3, 4, 0, 1, 2))
    found = SCRATCH.take(name, strip, (SIDE**2, rows * columns * channels))
    return torch.mm(_bases().from_pixels, apart.view(SIDE**2, -1), out=found).view(SIDE**2, -1, channels)


def _pixels(products: Tensor, columns: int) -> Tensor:
    """(36, rows columns, O) -> (O, 4 rows, 4 columns)."""
    flat = products.flatten(1)
    pixels = torch.mm(_bases().to_pixels, flat, out=SCRATCH.take("apart", flat, (OUT**2, flat.shape[1])))
    pixels = pixels.view(OUT, OUT, -1, columns, products.shape[2]).permute(4, 2, 0, 3, 1)  # (O, rows, 4, columns, 4)
    whole = SCRATCH.take("padded", flat, (pixels.shape[1] * OUT, columns * OUT, pixels.shape[0])).permute(2, 0, 1)
    whole.unflatten(1, (-1, OUT)).unflatten(3, (-1, OUT)).copy_(pixels)
    return whole


def _kernels(weight: Tensor) -> Tensor:
    """(O, C, kt, 3, 3) -> (kt, 36, C, O)."""
    flat = rearrange(weight, "o c t h w -> (h w) (t c o)")
    kernels = (_bases().from_kernel @ flat).view(SIDE**2, weight.shape[2], weight.shape[1], weight.shape[0])
    return kernels.transpose(0, 1)


class _Bases:
    """The three changes of basis, each for both sides of a tile at once.

    A product of two polynomials is known from its values at as many points as it has coefficients; the transpose of
    that algorithm is the correlation (Toom and Cook).
    """

    def __init__(self) -> None:
        def values(num_coefficients: int) -> Tensor:
            powers = torch.tensor(POINTS, dtype=torch.float64)[:, None] ** torch.arange(num_coefficients)
            return torch.cat([powers, F.one_hot(torch.tensor([num_coefficients - 1]), num_coefficients).double()])

        one_side = (values(OUT).t(), values(KERNEL), torch.linalg.inv(values(SIDE)).t())
        self.to_pixels, self.from_kernel, self.from_pixels = (torch.kron(each, each).float() for each in one_side)


@lru_cache(maxsize=1)
@torch.inference_mode(False)
def _bases() -> _Bases:
    return _Bases()

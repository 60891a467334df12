"""Pictures of what a model can do while it trains: one row a clip, a few of its frames side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from videosyn.core.files import atomic_file

_GAP_PX = 2
_TEXT_PX = 13


def write_sheet(path: Path, rows: Sequence[Tensor], titles: Sequence[str], frames: int = 6) -> None:
    """Writes a PNG: each row `frames` evenly spaced frames of a video (3, T, H, W) in [-1, 1] under its title."""
    strips = [_strip(row, frames) for row in rows]
    width = max(strip.width for strip in strips)
    height = sum(strip.height + _TEXT_PX + _GAP_PX for strip in strips)
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    top = 0
    for strip, title in zip(strips, titles):
        draw.text((2, top), title, fill="black")
        sheet.paste(strip, (0, top + _TEXT_PX))
        top += strip.height + _TEXT_PX + _GAP_PX
    with atomic_file(path) as hidden:
        sheet.save(hidden)


def _strip(video: Tensor, frames: int) -> Image.Image:
    chosen = torch.linspace(0, video.shape[1] - 1, min(frames, video.shape[1])).round().long()
    pixels = (video[:, chosen.to(video.device)].float() + 1) * 127.5
    pixels = pixels.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 3, 0).cpu()  # (n, H, W, 3)
    spaced = torch.nn.functional.pad(pixels, (0, 0, 0, _GAP_PX), value=255)
    return Image.fromarray(torch.cat(list(spaced), dim=1).numpy())

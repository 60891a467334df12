"""Clips with kept frames made from pictures, and pictures of the procedural world, for the stages that look."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from videosyn.curation.records import Clip, Frame, Source, clip_id
from videosyn.curation.work import Work
from videosyn.world.render import render
from videosyn.world.scene import sample_scene


def world_picture(seed: int, height: int = 360, width: int = 640) -> Image.Image:
    """One frame of a scene, drawn small and enlarged."""
    return Image.fromarray(render([sample_scene(seed)], 1, 72, 128)[0, 0].numpy()).resize((width, height))


def subtitled(picture: Image.Image, text: str, size_px: int = 18) -> Image.Image:
    """A copy with white, dark-rimmed text at its foot."""
    picture = picture.copy()
    ImageDraw.Draw(picture).multiline_text(
        (picture.width / 2, picture.height * 0.94),
        text,
        font=ImageFont.load_default(size_px),
        fill="white",
        stroke_width=1,
        stroke_fill="black",
        anchor="md",
        align="center",
    )
    return picture


def noise(seed: int, height: int = 48, width: int = 64) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def shown(
    work: Work, pictures: Sequence[Image.Image], source: str = "s" * 16, start: int = 0, fps: float = 8.0
) -> Clip:
    """A clip of 8 frames a picture, one kept of each; its source is written too."""
    frames = []
    for number, picture in enumerate(pictures):
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=95)
        index = start + number * 8 + 4
        frames.append(Frame(index, index / fps, f"frames/{source}/00000-{index:06d}.jpg"))
        work.write(frames[-1].file, buffer.getvalue())
    end = start + max(1, len(pictures)) * 8
    work.write_source(Source(source, f"/footage/{source}.mp4", 9, width_px=64, height_px=48, fps=fps, num_frames=end))
    return Clip(clip_id(source, start, end), source, start, end, start / fps, end / fps, tuple(frames))

"""Films for the tests of the scan: drawn here, with known cuts, written the way a test needs."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch

from videosyn.curation.records import Source
from videosyn.world.render import render
from videosyn.world.scene import sample_scene

HEIGHT, WIDTH = 72, 96


def world_shots(seeds: Sequence[int], lengths: Sequence[int], fps: float = 12) -> np.ndarray:
    """One scene after the other, (T, H, W, 3) uint8."""
    torch.set_num_threads(1)
    shots = [
        render([sample_scene(seed)], length, HEIGHT, WIDTH, fps=fps)[0].numpy()
        for seed, length in zip(seeds, lengths, strict=True)
    ]
    return np.concatenate(shots)


def texture(seed: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A colourful picture with shapes of all sizes, (H, W, 3) uint8."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((height, width, 3))
    for cells in (3, 6, 12):
        grid = rng.random((cells, cells, 3))
        rows = np.linspace(0, cells - 1e-3, height).astype(int)
        columns = np.linspace(0, cells - 1e-3, width).astype(int)
        picture += grid[rows][:, columns]
    picture -= picture.min()
    return np.uint8(picture / picture.max() * 235 + 10)


def panned(seed: int, num_frames: int, step_px: int) -> np.ndarray:
    """A camera that pans over a texture, (T, H, W, 3) uint8."""
    wide = texture(seed, HEIGHT, WIDTH * 4)
    return np.stack([np.roll(wide, -step_px * index, axis=1)[:, :WIDTH] for index in range(num_frames)])


def write_film(
    path: Path,
    frames: np.ndarray,
    fps: int = 12,
    codec: str = "libx264",
    keyframes: int = 12,
    times_ms: Sequence[int] | None = None,
    container_options: dict[str, str] | None = None,
    **options: str,
) -> Path:
    """Writes frames (T, H, W, 3) with a keyframe every `keyframes`, at times of their own where `times_ms` says so."""
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=fps)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.options = {"g": str(keyframes), "preset": "ultrafast", "crf": "18", **options}
        stream.codec_context.time_base = Fraction(1, 1000) if times_ms else Fraction(1, fps)
        for index, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")
            frame.pts = times_ms[index] if times_ms else index
            frame.time_base = stream.codec_context.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def turn_film(path: Path, clockwise_deg: int) -> Path:
    """Sets the rotation that an mp4's header asks players for, as telephones do."""
    content = bytearray(path.read_bytes())
    matrices = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}
    a, b, c, d = (each << 16 for each in matrices[clockwise_deg])
    at = content.index(b"tkhd") + 4 + 40
    struct.pack_into(">9i", content, at, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    return path


def planes_of(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """RGB (H, W, 3) -> the small planes that the scan works on."""
    from videosyn.curation.decode import Sampler

    height, width = pixels.shape[:2]
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")
    return Sampler(Source("x", "", 0, width_px=width, height_px=height)).planes(frame)

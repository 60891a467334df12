"""Clips to measure on, one at a time: the world's, or those of any files and folders. Next: `reconstruction.py`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random

import numpy as np

from videosyn.core.errors import UserError
from videosyn.core.video_file import read_video

SUFFIXES = (".mp4", ".mkv", ".webm", ".mov", ".avi", ".m4v", ".gif", ".webp")
ANIMATIONS = (".gif", ".webp")
WORLD = "world"


@dataclass(frozen=True)
class Shape:
    """Frames, height and width in pixels of a clip."""

    frames: int
    height: int
    width: int

    @classmethod
    def parse(cls, word: str) -> Shape:
        """ "17x512x512" -> a shape. A UserError for anything else."""
        parts = word.lower().split("x")
        if len(parts) != 3 or not all(part.isdigit() and int(part) > 0 for part in parts):
            raise UserError(f"a shape is FRAMESxHEIGHTxWIDTH, got {word!r}: use 17x512x512")
        return cls(*map(int, parts))

    def __str__(self) -> str:
        return f"{self.frames}x{self.height}x{self.width}"


@dataclass(frozen=True)
class Footage:
    """One clip. `starry`: whether its sky is known to have stars, as only the world knows."""

    name: str
    frames: np.ndarray
    """uint8 (T, H, W, 3)."""
    fps: float
    starry: bool = False


def clips_of(
    source: str, shape: Shape, num_clips: int, seed: int = 0, unreadable: dict[Path, str] | None = None
) -> Iterator[Footage]:
    """Up to `num_clips` clips of a shape, from "world", a video file, or any folder with videos, such as a dataset.

    Files are chosen by `seed` and give their first frames, scaled to cover the frame, the middle cut out. Those with
    fewer frames are passed over, and those that cannot be read, which go into `unreadable` with the reason. A UserError
    where there is no file, or none is long enough.
    """
    unreadable = {} if unreadable is None else unreadable
    if source == WORLD:
        yield from _world(shape, num_clips, seed)
        return
    found = 0
    paths = video_files(source)
    Random(seed).shuffle(paths)
    for path in paths:
        if found == num_clips:
            return
        try:
            frames, fps = first_frames(path, shape.frames)
        except UserError as error:
            unreadable[path] = str(error)
            continue
        if len(frames) == shape.frames:
            found += 1
            yield Footage(path.name, fitted(frames, shape.height, shape.width), fps)
    if not found and all(path in unreadable for path in paths):
        raise UserError(f"none of {len(paths)} videos in {source} can be read: {unreadable[paths[0]]}")
    if not found:
        raise UserError(f"none of {len(paths)} videos in {source} has {shape.frames} frames: choose a shorter shape")


def video_files(source: str | Path) -> list[Path]:
    """The file, or all video files of a folder and the folders in it, in order. A UserError where there is none."""
    path = Path(source).expanduser()
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"there is no file or folder {source}: give videos, or {WORLD!r}")
    found = sorted(each for each in path.rglob("*") if each.suffix.lower() in SUFFIXES and each.is_file())
    if not found:
        raise UserError(f"{source} holds no videos ({', '.join(SUFFIXES)}): give another folder")
    return found


def first_frames(path: Path, count: int) -> tuple[np.ndarray, float]:
    """uint8 (T, H, W, 3) and frames a second: the first `count` frames, or all there are; no more is decoded."""
    return np.stack(list(islice(frames_of(path), count))), fps_of(path)


def frames_of(path: Path, matrix: str | None = None) -> Iterator[np.ndarray]:
    """The frames of a video, upright, one at a time: uint8 (H, W, 3) RGB. A UserError where it has none.

    matrix: reads its colours by this one (ITU601, ITU709), whatever the file says of itself.
    """
    if path.suffix.lower() in ANIMATIONS:
        yield from read_video(path)[0]
        return
    import av
    import av.error

    found = 0
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(container.streams.video[0]):
                found += 1
                yield np.rot90(frame.to_ndarray(format="rgb24", src_colorspace=matrix), round(frame.rotation / 90))
    except (av.error.FFmpegError, OSError, IndexError) as error:
        raise UserError(f"cannot read {path} as a video: {error}") from error
    if not found:
        raise UserError(f"{path} holds no frames")


def fps_of(path: Path) -> float:
    """Frames a second, 0 where the file tells none."""
    if path.suffix.lower() in ANIMATIONS:
        return read_video(path)[1]
    import av
    import av.error

    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            return float(stream.average_rate or stream.guessed_rate or 0)
    except (av.error.FFmpegError, OSError, IndexError) as error:
        raise UserError(f"cannot read {path} as a video: {error}") from error


def fitted(frames: np.ndarray, height: int, width: int) -> np.ndarray:
    """uint8 (T, h, w, 3) -> (T, height, width, 3): scaled to cover, the middle cut out."""
    if frames.shape[1:3] == (height, width):
        return frames
    from PIL import Image

    scale = max(height / frames.shape[1], width / frames.shape[2])
    size = max(width, round(frames.shape[2] * scale)), max(height, round(frames.shape[1] * scale))
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    scaled = (Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS) for frame in frames)
    return np.stack([np.asarray(frame)[top : top + height, left : left + width] for frame in scaled])


def _world(shape: Shape, num_clips: int, seed: int) -> Iterator[Footage]:
    from videosyn.evaluation.judge.bank import SUNLESS
    from videosyn.world.render import render
    from videosyn.world.scene import sample_scene

    for index in range(num_clips):
        scene = sample_scene(seed * 1_000_000 + index, "held-out")
        frames = render([scene], shape.frames, shape.height, shape.width)[0].numpy()
        yield Footage(f"scene {scene.seed}", frames, 8.0, scene.light == "night" and scene.place not in SUNLESS)

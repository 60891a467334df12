"""Pictures and clips from strangers are decoded here: in a process of its own that may take little time and memory.

The parent's end is `decode`; the child's is `main`. The child reads one file whose name the service chose, opens no
other, and answers with one line of JSON; with a size given it also writes the frames, fitted to it, as safetensors.
`stills` takes single frames out of a dataset's videos in the same way.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videosyn.app.serve.options import Limits
from videosyn.core.errors import UserError

if TYPE_CHECKING:
    import numpy as np

PICTURE_FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
CLIP_FORMATS = "mov,mp4,matroska,webm,avi,mpegts"
_START = "from videosyn.app.serve.decoding import main; main()"
_PASSED_ON = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG", "SYSTEMROOT", "HOME")


@dataclass(frozen=True)
class Fitting:
    """How the frames are wanted."""

    target: str
    """The safetensors file to write, with one tensor `frames`, uint8 (T, height, width, 3)."""
    height: int
    width: int
    fps: float
    """Of clips: frames are taken so many a second."""


@dataclass(frozen=True)
class Content:
    """What a file holds. A picture has one frame and no rate."""

    kind: str
    """picture or clip"""
    num_frames: int
    height: int
    width: int
    fps: float


@dataclass(frozen=True)
class Still:
    """One frame of a video, to be written as a JPEG."""

    path: str
    at_s: float
    """Seconds from its start."""
    target: str


async def stills(wanted: Sequence[Still], longest_px: int, limits: Limits) -> None:
    """Writes frames of videos, their longer sides at most so many pixels; those that do not decode are left out."""
    order = {"stills": [asdict(still) for still in wanted], "longest_px": longest_px}
    await _ask_child(order, limits, cwd=Path(wanted[0].target).parent)


async def decode(path: Path, limits: Limits, fitting: Fitting | None = None) -> Content:
    """Decodes all of a file in a child process. Raises UserError, in words for who sent it, where that fails."""
    order = {"path": str(path), "fitting": asdict(fitting) if fitting else None}
    said = await _ask_child(order, limits, cwd=path.parent)
    if said is None:
        raise UserError(f"the file takes longer than {limits.upload_seconds:g} s to decode: send less")
    try:
        answer = json.loads(said)
    except ValueError:
        raise UserError(
            f"the file cannot be decoded within {limits.upload_memory_mb:,} MB and {limits.upload_seconds:g} s, "
            "or is damaged: send another"
        ) from None
    if "error" in answer:
        raise UserError(answer["error"])
    return Content(**answer)


async def _ask_child(order: dict[str, Any], limits: Limits, cwd: Path) -> bytes | None:
    """What a child says to an order, which may be nothing; None where its time is over."""
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _START),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=environment,
        cwd=cwd,
    )
    content = json.dumps({**order, "limits": asdict(limits)}).encode()
    try:
        said, _ = await asyncio.wait_for(child.communicate(content), limits.upload_seconds)
    except TimeoutError:
        return None
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    return said


def main() -> None:
    """The child: one order from stdin, one answer to stdout."""
    order = json.loads(sys.stdin.buffer.read())
    limits = Limits(**order["limits"])
    _limit_resources(limits)
    if "stills" in order:
        for still in order["stills"]:
            _write_still(Still(**still), order["longest_px"], limits)
        return
    fitting = Fitting(**order["fitting"]) if order["fitting"] else None
    try:
        answer = asdict(_read(Path(order["path"]), limits, fitting))
    except UserError as error:
        answer = {"error": str(error)}
    except MemoryError:
        answer = {"error": f"the file needs more than {limits.upload_memory_mb:,} MB of memory to decode: send less"}
    print(json.dumps(answer))


def _limit_resources(limits: Limits) -> None:
    if sys.platform == "win32":
        return
    import resource

    memory, seconds = limits.upload_memory_mb * 1_000_000, math.ceil(limits.upload_seconds) + 1
    film_bytes = 3 * limits.film_pixels + 1_000_000
    for what, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, film_bytes),
        (resource.RLIMIT_CORE, 0),
    ):
        if sys.platform == "darwin" and what == resource.RLIMIT_AS:
            continue  # macOS knows no such limit
        resource.setrlimit(what, (most, most))


def _read(path: Path, limits: Limits, fitting: Fitting | None) -> Content:
    picture = _opened_picture(path)
    if picture is None:
        return _read_clip(path, limits, fitting)
    with picture:
        _check_pixels(picture.height, picture.width, limits)
        if getattr(picture, "n_frames", 1) == 1:
            return _read_picture(picture, fitting)
        shown = [frame.info.get("duration") or 100 for frame in _animation(picture, limits)]
        fps = 1000 * len(shown) / sum(shown)
        frames = (frame.convert("RGB") for frame in _animation(picture, limits))
        return _clip(frames, fps, limits, fitting)


def _opened_picture(path: Path) -> Any:
    from PIL import Image, UnidentifiedImageError

    Image.MAX_IMAGE_PIXELS = None  # the limit is ours, below
    try:
        return Image.open(path, formats=PICTURE_FORMATS)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        return None


def _read_picture(picture: Any, fitting: Fitting | None) -> Content:
    from PIL import ImageOps

    with _damage_means_user_error():
        upright = ImageOps.exif_transpose(picture).convert("RGB")
    if fitting is not None:
        _write([_fitted(upright, fitting)], fitting)
    return Content("picture", 1, upright.height, upright.width, 0.0)


def _animation(picture: Any, limits: Limits) -> Iterator[Any]:
    from PIL import ImageSequence

    with _damage_means_user_error():
        for number, frame in enumerate(ImageSequence.Iterator(picture)):
            _check_count(number + 1, limits)
            frame.load()
            yield frame


@contextmanager
def _opened_clip(path: Path | str, limits: Limits) -> Iterator[tuple[Any, Any]]:
    """Container and video stream. Nothing that a file names is opened."""
    import av

    options = {"protocol_whitelist": "file", "format_whitelist": CLIP_FORMATS}
    with av.open(str(path), options=options, metadata_errors="replace") as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        _check_pixels(stream.codec_context.height, stream.codec_context.width, limits)
        yield container, stream


def _read_clip(path: Path, limits: Limits, fitting: Fitting | None) -> Content:
    import av.error

    try:
        with _opened_clip(path, limits) as (container, stream):
            fps = float(stream.average_rate or stream.guessed_rate or 0)
            return _clip(_upright_frames(container, stream, limits), fps, limits, fitting)
    except (av.error.FFmpegError, OSError, IndexError, OverflowError) as error:
        raise UserError("the file is neither a picture (PNG, JPEG, WebP, GIF) nor a video that can be read") from error


def _write_still(still: Still, longest_px: int, limits: Limits) -> None:
    """The first frame at or after its time, else the last one before; nothing where none decodes."""
    import av.error

    from videosyn.core.files import atomic_file

    found = None
    try:
        with _opened_clip(still.path, limits) as (container, stream):
            wanted = (stream.start_time or 0) + round(still.at_s / stream.time_base)
            container.seek(max(0, wanted), stream=stream, backward=True)
            for frame in container.decode(stream):
                _check_pixels(frame.height, frame.width, limits)
                found = frame
                if frame.pts is None or frame.pts >= wanted:
                    break
            if found is None:
                return
            picture = _upright(found)
        picture.thumbnail((longest_px, longest_px))
        with atomic_file(still.target) as hidden:
            picture.save(hidden, "JPEG", quality=80)
    except (av.error.FFmpegError, OSError, IndexError, OverflowError, TypeError, ValueError, MemoryError):
        return  # the next one may do better


def _upright(frame: Any) -> Any:
    import numpy as np
    from PIL import Image

    pixels = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
    return Image.fromarray(np.ascontiguousarray(pixels))


def _upright_frames(container: Any, stream: Any, limits: Limits) -> Iterator[Any]:
    for frame in container.decode(stream):
        _check_pixels(frame.height, frame.width, limits)
        yield _upright(frame)


def _clip(frames: Iterator[Any], fps: float, limits: Limits, fitting: Fitting | None) -> Content:
    """Counts the frames; with a fitting, keeps those whose turn it is at its rate, the last one until the end."""
    kept: list[np.ndarray] = []
    count, last = 0, None
    ratio = fps / fitting.fps if fitting and fps > 0 else 1.0
    for last in frames:
        if fitting is not None and round(len(kept) * ratio) == count:
            while round(len(kept) * ratio) == count:
                kept.append(_fitted(last, fitting))
                _check_film(len(kept), fitting, limits)
        count += 1
        _check_count(count, limits)
    if last is None:
        raise UserError("the file holds no frames: send another")
    if fitting is not None:
        num_frames = max(1, round(count / ratio))
        kept = kept[:num_frames] + kept[-1:] * (num_frames - len(kept))
        _write(kept, fitting)
    return Content("clip", count, last.height, last.width, fps)


def _fitted(picture: Any, fitting: Fitting) -> np.ndarray:
    """The middle of a picture, in the film's shape: uint8 (height, width, 3)."""
    import numpy as np

    from videosyn.app.pictures import fitted

    return np.asarray(fitted(picture, fitting.height, fitting.width))


def _write(frames: list[np.ndarray], fitting: Fitting) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    save_file({"frames": np.stack(frames)}, fitting.target)


def _check_pixels(height: int, width: int, limits: Limits) -> None:
    if height * width > limits.upload_pixels:
        raise UserError(f"pictures must have at most {limits.upload_pixels:,} pixels here, got {height}x{width}")


def _check_count(count: int, limits: Limits) -> None:
    if count > 8 * limits.frames:
        raise UserError(f"a clip must have at most {8 * limits.frames:,} frames here: cut it")


def _check_film(count: int, fitting: Fitting, limits: Limits) -> None:
    if count > limits.frames or count * fitting.height * fitting.width > limits.film_pixels:
        most = min(limits.frames, limits.film_pixels // (fitting.height * fitting.width))
        raise UserError(f"a clip to go on from must be at most {most} frames long at the film's rate: cut it")


@contextmanager
def _damage_means_user_error() -> Iterator[None]:
    try:
        yield
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError("the picture is damaged: send another") from error

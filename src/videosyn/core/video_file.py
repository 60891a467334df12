"""Video files: frames in, frames out, and the settings that made them kept inside. numpy and PyAV, no torch.

The settings are one JSON object of strings: the `comment` tag of mp4, the comment of GIF, EXIF ImageDescription of
WebP, a text chunk of PNG. A PNG is a contact sheet, a picture of the frames, and is not read back as a video.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videosyn.core.errors import UserError
from videosyn.core.files import atomic_file

if TYPE_CHECKING:
    import numpy as np

SUFFIXES = (".mp4", ".gif", ".webp", ".png")
_IMAGE_DESCRIPTION = 0x010E  # the EXIF tag
_SHEET_GAP_PX = 2
_RATES = {".mp4": (1000, 1001), ".gif": (50, 655), ".webp": (1000, 16_777)}
"""Most frames a second, and most seconds: of a frame in mp4, of the film in the others, which store equal frames once.
GIF counts in 10 ms, and players want two for a frame, up to 2^16; WebP in 1 ms up to 2^24."""
_FASTER = {".mp4": "", ".gif": ", or .mp4 or .webp", ".webp": ""}


def check_suffix(path: str | os.PathLike) -> str:
    """The lower-case suffix of `path`, if a film can be written so; otherwise a UserError lists those that can."""
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"the file's suffix must be one of {', '.join(SUFFIXES)}, got {suffix or 'none'!r}")
    return suffix


def check_fps(path: str | os.PathLike, fps: float, num_frames: int = 1) -> float:
    """Returns `fps` if a file of this suffix can hold so many frames at that rate; else a UserError."""
    suffix = check_suffix(path)
    if not 0 < fps < math.inf:
        raise UserError(f"fps must be above 0, got {fps:g}: use 8")
    if suffix == ".png":
        return fps
    most, longest_s = _RATES[suffix]
    if fps > most:
        raise UserError(f"{suffix} shows at most {most} frames a second, got {fps:g}: use {most}{_FASTER[suffix]}")
    held = 1 if suffix == ".mp4" else num_frames
    if held > fps * longest_s:
        least = math.ceil(held / longest_s * 1e4) / 1e4
        raise UserError(f"{suffix} needs at least {least:g} fps for {num_frames} frames, got {fps:g}: use {least:g}")
    return fps


def write_video(
    path: str | os.PathLike, frames: np.ndarray, fps: float, metadata: Mapping[str, str] | None = None
) -> None:
    """Writes uint8 `frames` (T, H, W, 3), RGB, whole or not at all. The suffix chooses the format.

    mp4 is H.264, yuv420p, BT.709, index first: it plays in browsers and wants even sizes. Raises UserError for an
    unknown suffix, a rate that the format cannot tell, odd sizes in mp4, and a place that cannot be written to.
    """
    suffix = check_suffix(path)
    num_frames, height, width, channels = frames.shape
    assert channels == 3, frames.shape
    assert num_frames > 0, frames.shape
    check_fps(path, fps, num_frames)
    if suffix == ".mp4" and (height % 2 or width % 2):
        raise UserError(f"mp4 needs an even height and width, got {height}x{width}: use .webp, .gif or even sizes")
    note = json.dumps({"fps": f"{fps:g}", "num_frames": str(num_frames), **(metadata or {})})
    write = {".mp4": _write_mp4, ".gif": _write_gif, ".webp": _write_webp, ".png": _write_sheet}[suffix]
    try:
        with atomic_file(path) as hidden:
            write(hidden, frames, fps, note)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error


def read_video(path: str | os.PathLike) -> tuple[np.ndarray, float]:
    """A video file -> (uint8 frames (T, H, W, 3) RGB, frames a second). GIF, WebP and whatever PyAV decodes.

    Frames are upright, as the file says; frames a second are 0 where it tells none. Raises UserError for what is no
    video, or one that changes its size.
    """
    import numpy as np

    frames, fps = [], 0.0
    for frame, told_fps in read_frames(path):
        fps = told_fps
        if frames and frame.shape != frames[0].shape:
            (rows, columns, _), (others, other_columns, _) = frames[0].shape, frame.shape
            sizes = f"{rows}x{columns} to {others}x{other_columns}"
            raise UserError(f"{path} changes its size from {sizes} at frame {len(frames)}: encode it at one size")
        frames.append(frame)
    return np.stack(frames), fps


def read_frames(path: str | os.PathLike) -> Iterator[tuple[np.ndarray, float]]:
    """The same a frame at a time: uint8 (H, W, 3), each of its own size, with the file's frames a second."""
    path = Path(path)
    if path.suffix.lower() in (".gif", ".webp"):
        frames, fps = _read_animation(path)
        yield from ((frame, fps) for frame in frames)
        return
    import av
    import av.error
    import numpy as np

    frame = None
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            stream = container.streams.video[0]
            fps = float(stream.average_rate or stream.guessed_rate or 0)
            for frame in container.decode(stream):
                yield np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90)), fps
    except (av.error.FFmpegError, OSError, IndexError) as error:
        raise UserError(f"cannot read {path} as a video: {error}") from error
    if frame is None:
        raise UserError(f"{path} holds no frames")


def read_metadata(path: str | os.PathLike) -> dict[str, str]:
    """The settings that `write_video` kept in the file, with `fps` and `num_frames`; empty where another wrote it."""
    suffix = check_suffix(path)
    try:
        if suffix == ".mp4":
            import av

            with av.open(str(path), metadata_errors="replace") as container:
                note = container.metadata.get("comment", "")
        else:
            from PIL import Image

            with readable(path, "picture"), Image.open(path) as image:
                note = image.getexif().get(_IMAGE_DESCRIPTION, "") or image.info.get("comment", "")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        metadata = json.loads(note)
    except (ValueError, TypeError):
        return {}
    return metadata if isinstance(metadata, dict) else {}


@contextmanager
def readable(path: str | os.PathLike, kind: str) -> Iterator[None]:
    """Whatever Pillow raises inside, of a damaged picture or one of too many pixels, becomes a UserError."""
    from PIL import Image

    damaged = (OSError, ValueError, SyntaxError, EOFError, IndexError, struct.error)
    try:
        yield
    except UserError:
        raise
    except (*damaged, Image.DecompressionBombError) as error:
        raise UserError(f"cannot read {path} as a {kind}: {error}") from error


def contact_sheet(frames: np.ndarray) -> np.ndarray:
    """uint8 frames (T, H, W, 3) -> one picture (H', W', 3): all of them, row by row, on a grid close to square."""
    import numpy as np

    num_frames, height, width, _ = frames.shape
    columns = min(num_frames, max(1, round(math.sqrt(num_frames * height / width))))
    rows = math.ceil(num_frames / columns)
    gap = _SHEET_GAP_PX
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for index, frame in enumerate(frames):
        top, left = index // columns * (height + gap), index % columns * (width + gap)
        sheet[top : top + height, left : left + width] = frame
    return sheet


def _write_mp4(path: Path, frames: np.ndarray, fps: float, note: str) -> None:
    import av
    from av.video.reformatter import ColorRange, Colorspace

    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        container.metadata["comment"] = note
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(_RATES[".mp4"][1]))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "14", "preset": "medium"}
        stream.codec_context.color_range = ColorRange.MPEG
        stream.codec_context.colorspace = 1  # BT.709, in FFmpeg's numbering; so are the next two
        stream.codec_context.color_primaries = 1
        stream.codec_context.color_trc = 1
        for pixels in frames:
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _write_gif(path: Path, frames: np.ndarray, fps: float, note: str) -> None:
    _save_animation(path, frames, _durations_ms(len(frames), fps, 10), comment=note.encode())


def _write_webp(path: Path, frames: np.ndarray, fps: float, note: str) -> None:
    from PIL import Image

    exif = Image.Exif()
    exif[_IMAGE_DESCRIPTION] = note
    _save_animation(path, frames, _durations_ms(len(frames), fps, 1), exif=exif, quality=90, method=4)


def _save_animation(path: Path, frames: np.ndarray, durations_ms: list[int], **options: Any) -> None:
    from PIL import Image

    first, *others = [Image.fromarray(pixels) for pixels in frames]
    first.save(path, save_all=True, append_images=others, duration=durations_ms, loop=0, **options)


def _write_sheet(path: Path, frames: np.ndarray, fps: float, note: str) -> None:
    from PIL import Image, PngImagePlugin

    text = PngImagePlugin.PngInfo()
    text.add_text("comment", note)
    Image.fromarray(contact_sheet(frames)).save(path, pnginfo=text)


def _durations_ms(num_frames: int, fps: float, unit_ms: int) -> list[int]:
    """How long each frame shows, in whole units that add up to the true length: GIF counts in 10 ms, WebP in 1 ms."""
    ends = [round(index * 1000 / fps / unit_ms) * unit_ms for index in range(num_frames + 1)]
    return [end - start for start, end in itertools.pairwise(ends)]


def _read_animation(path: Path) -> tuple[list[np.ndarray], float]:
    """Encoders store a run of equal frames once, with a longer duration: here it is spread out again."""
    import numpy as np
    from PIL import Image, ImageSequence

    with readable(path, "video"):
        with Image.open(path) as image:
            shown = [(np.asarray(frame.convert("RGB")), _duration_ms(frame)) for frame in ImageSequence.Iterator(image)]
        note = read_metadata(path)
        fps = float(note.get("fps", 0)) or 1000 / min(duration_ms for _, duration_ms in shown)
        if len(shown) == 1:  # a film that stands still is stored as a picture
            return [shown[0][0]] * int(note.get("num_frames", 1)), fps
        return [pixels for pixels, duration_ms in shown for _ in range(max(1, round(duration_ms * fps / 1000)))], fps


def _duration_ms(image: Any) -> float:
    return image.info.get("duration") or 100  # browsers show frames without a duration for 100 ms

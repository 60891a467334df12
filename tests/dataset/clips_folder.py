"""Small dataset folders, drawn: each clip's frames say which clip and which frame they are."""

from __future__ import annotations

import io
import json
import os
import tarfile
import time
from pathlib import Path

import numpy as np

from videosyn.core.video_file import write_video
from videosyn.dataset.decode import Place

FPS = 10.0


class CrashingPlace(Place):
    """A clip on which the process that opens it dies, as in a fault of a decoder."""

    def open(self):
        time.sleep(0.2)  # its neighbours are under way
        os._exit(1)


class SlowPlace(Place):
    def open(self):
        time.sleep(0.4)
        return super().open()


def drawn_frames(clip: int, num_frames: int, height: int, width: int) -> np.ndarray:
    """uint8 (T, H, W, 3): red tells the clip (20 levels apart), green the frame (11 apart)."""
    frames = np.zeros((num_frames, height, width, 3), np.uint8)
    frames[..., 0] = 20 + 20 * clip
    frames[..., 1] = np.arange(num_frames)[:, None, None] * 11
    return frames


def what_is_shown(frames: np.ndarray) -> list[tuple[int, int]]:
    """(clip, frame) of each of the frames."""
    middle = frames[:, frames.shape[1] // 2, frames.shape[2] // 2].astype(int)
    return [(round((red - 20) / 20), round(green / 11)) for red, green, _ in middle]


def write_folder(folder: Path, sizes: list[tuple[int, int, int]], with_sizes: bool = True) -> Path:
    """Clips of these (frames, height, width) as mp4, and metadata.jsonl."""
    (folder / "clips").mkdir(parents=True)
    rows = []
    for clip, (num_frames, height, width) in enumerate(sizes):
        name = f"clips/{clip:02d}.mp4"
        write_video(folder / name, drawn_frames(clip, num_frames, height, width), FPS)
        row = {"file_name": name, "text": f"clip number {clip}"}
        known = {"num_frames": num_frames, "height": height, "width": width, "fps": FPS}
        rows.append(row | known if with_sizes else row)
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def write_shard(folder: Path, source: Path) -> Path:
    """The clips of a folder as a WebDataset shard."""
    folder.mkdir(parents=True)
    with tarfile.open(folder / "00000.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        for line in (source / "metadata.jsonl").read_text().splitlines():
            row = json.loads(line)
            key = Path(row["file_name"]).stem
            contents = {"mp4": (source / row["file_name"]).read_bytes(), "txt": row["text"].encode()}
            for suffix, content in {**contents, "json": json.dumps(row).encode()}.items():
                entry = tarfile.TarInfo(f"{key}.{suffix}")
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
    return folder

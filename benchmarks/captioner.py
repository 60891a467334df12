"""The nano captioner's speed and memory.

    python benchmarks/captioner.py [--captioner nano] [--clips 128] [--few 16] [--many 1000]

Speed: clips of 17 frames, 96x96, as mp4 files, decoded and captioned by `videosyn caption` in this process, and of the
model alone. Memory: the peak of a process that watches every frame (`--every-frame`) of a film of many frames, over
that of few.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def films(folder: Path, count: int, num_frames: int) -> list[Path]:
    """Clips of the world as mp4 files; long ones repeat their frames."""
    import numpy as np

    from videosyn.core.video_file import write_video
    from videosyn.dataset.world_clips import VALIDATION_SEEDS, scenes_of
    from videosyn.world.render import render

    paths = [folder / f"{number:05d}.mp4" for number in range(count)]
    for start in range(0, count, 16):
        some = paths[start : start + 16]
        seeds = range(VALIDATION_SEEDS + start, VALIDATION_SEEDS + start + len(some))
        clips = render(scenes_of(seeds, "held-out"), min(num_frames, 17), 96, 96).numpy()
        for path, frames in zip(some, clips):
            write_video(path, np.resize(frames, (num_frames, *frames.shape[1:])), 8)
    return paths


def child(captioner: str, film: str) -> None:
    """Prints the peak of watching every frame of a film, in bytes."""
    from videosyn.app.caption import run
    from videosyn.app.caption_options import CaptionConfig

    with contextlib.redirect_stdout(io.StringIO()):
        run(CaptionConfig((Path(film),), captioner=captioner, every_frame=True))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def speed(captioner: str, count: int) -> None:
    import torch

    from videosyn.app.caption import run
    from videosyn.app.caption_options import CaptionConfig
    from videosyn.captioner.clip_captioner import open_captioner
    from videosyn.core.looking import look_at

    with tempfile.TemporaryDirectory() as folder:
        paths = films(Path(folder), count, 17)
        model = open_captioner(captioner)
        looks = [look_at(path, model.num_frames, model.look_px) for path in paths[:32]]
        model.caption([look.frames for look in looks[:2]])
        began = time.perf_counter()
        model.caption([look.frames for look in looks], times=[look.times for look in looks])
        alone = len(looks) / (time.perf_counter() - began)
        began = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            run(CaptionConfig(tuple(paths), captioner=captioner, output=Path(folder) / "captions.jsonl"))
        whole = count / (time.perf_counter() - began)
    print(f"{whole:.1f} clips a second with decoding and loading, {alone:.1f} of the model alone, "
          f"{torch.get_num_threads()} threads")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captioner", default="nano")
    parser.add_argument("--clips", type=int, default=128)
    parser.add_argument("--few", type=int, default=16)
    parser.add_argument("--many", type=int, default=1000)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.captioner, options.child)
        return
    speed(options.captioner, options.clips)
    with tempfile.TemporaryDirectory() as folder:
        peaks = []
        for count in (options.few, options.many):
            place = Path(folder) / str(count)
            place.mkdir()
            (film,) = films(place, 1, count)
            words = [sys.executable, __file__, "--captioner", options.captioner, "--child", str(film)]
            peaks.append(int(subprocess.run(words, check=True, capture_output=True).stdout))
    few, many = peaks
    print(f"peak {few / 2**20:.0f} MiB at {options.few} frames, {many / 2**20:.0f} at {options.many}: {many / few:.3f}")


if __name__ == "__main__":
    main()

"""Clips a second that the world renders, against reading the same clips from video files.

    python benchmarks/world_speed.py [--clips 64] [--threads 1] [--device cpu]

A figure in seconds depends on the machine; the ratio to decoding the same frames as H.264 video, measured in the same
run, does not. CPU seconds are counted too, so that a busy machine shows.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch

from videosyn.core.video_file import read_video, write_video
from videosyn.world.render import render
from videosyn.world.scene import sample_scene


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    scenes = [sample_scene(seed) for seed in range(options.clips)]
    render(scenes[:4], 17, 96, 96, device=options.device)
    wall, cpu = time.perf_counter(), time.process_time()
    clips = render(scenes, 17, 96, 96, device=options.device).cpu()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    count = options.clips
    print(f"{count} clips of 17x96x96, {options.threads} threads, {options.device}")
    print(f"render: {count / wall:.1f} clips a second, {count / cpu:.1f} a second of CPU time")
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{index}.mp4" for index in range(count)]
        for path, clip in zip(paths, clips):
            write_video(path, clip.numpy(), 8, {})
        start = time.process_time()
        for path in paths:
            read_video(path)
        decode = time.process_time() - start
    print(f"reading the same clips from H.264 files: {count / decode:.1f} a second of CPU time")
    print(f"rendering costs {cpu / decode:.1f} times reading")


if __name__ == "__main__":
    main()

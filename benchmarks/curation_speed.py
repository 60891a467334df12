"""Our scan against `scenedetect detect-adaptive`, PySceneDetect's own command, which finds cuts and no more.

    python benchmarks/curation_speed.py [--films 3] [--seconds 40] [--cores 1] [--rounds 3] [--minutes 0]

Both read the same drawn 720p films in the same run, confined to the same cores. Ours finds and confirms cuts, measures
motion and brightness, hashes every frame, keeps frames at full size, and joins clips. A figure in seconds depends on
the machine, the ratios do not. Each side's start (imports) is counted, and shown apart. `--minutes 60` also scans one
film of that length, in spans, and prints the peak memory of the process.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av

FPS = 24
HEIGHT, WIDTH = 720, 1280
_DRAWN = 4
"""Scenes are drawn this many times smaller and enlarged."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=40)
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--minutes", type=int, default=0)
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        scan(*options.child)
        return
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
    command = shutil.which("scenedetect", path=str(Path(sys.executable).parent)) or shutil.which("scenedetect")
    if command is None:
        sys.exit("scenedetect's command is not installed: pip install 'videosyn[curate]'")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        films = [folder / f"film_{index}.mp4" for index in range(options.films)]
        for index, film in enumerate(films):  # elsewhere: a process begins with the peak memory of its parent
            artist = multiprocessing.get_context("spawn").Process(target=draw, args=(film, options.seconds, index))
            artist.start()
            artist.join()
        num_frames = options.films * options.seconds * FPS
        print(f"{len(films)} films, {num_frames} frames of {WIDTH}x{HEIGHT}, {options.cores} cores")
        their_start_s = timed([command, "version"])[0]
        our_start_s = timed(child(folder / "nothing"))[0]
        decode_s = statistics.median(sum(decode(film) for film in films) for _ in range(options.rounds))
        rounds = []
        for number in range(options.rounds):  # one after the other, so that a slow moment meets both
            theirs_s = sum(timed([command, "-q", "-i", str(film), "detect-adaptive"])[0] for film in films)
            ours_s, peak = share_out(films, folder / f"work_{number}", options.cores)
            working = (ours_s - our_start_s * options.cores) / (theirs_s - their_start_s * len(films))
            rounds.append((theirs_s, ours_s, ours_s / theirs_s, working))
        theirs_s, ours_s, whole, working = (statistics.median(column) for column in zip(*rounds, strict=True))
        per_ms = 1000 / num_frames
        print(f"decoding alone, one thread:  {decode_s * per_ms:.2f} ms a frame")
        print(f"scenedetect detect-adaptive: {theirs_s * per_ms:.2f} ms a frame ({their_start_s:.2f} s a start)")
        print(f"our scan:                    {ours_s * per_ms:.2f} ms a frame ({our_start_s:.2f} s a start)")
        print(f"ours takes {whole:.2f} of its time; without starts {working:.2f} (medians of {len(rounds)} rounds)")
        print(f"peak memory of ours: {peak / 2**20:.0f} MiB")
        if options.minutes:
            film = lengthen(films[0], folder / "long.mp4", options.minutes * 60 // options.seconds)
            seconds, peak = timed(child(folder / "long", film))
            print(f"one film of {options.minutes} minutes: {seconds:.0f} s, peak memory {peak / 2**20:.0f} MiB")


def child(work: Path, *films: Path) -> list[str]:
    return [sys.executable, __file__, "--child", str(work), *map(str, films)]


def timed(command: list[str]) -> tuple[float, int]:
    """Runs a command: (wall seconds, peak memory in bytes)."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return time.perf_counter() - start, usage.ru_maxrss * 1024


def share_out(films: list[Path], work: Path, cores: int) -> tuple[float, int]:
    """All films through our scan, a process a core: (wall seconds, peak memory of the largest process in bytes)."""
    start = time.perf_counter()
    parts = [films[core::cores] for core in range(cores)]
    processes = [subprocess.Popen(child(work, *part)) for part in parts if part]
    peak = 0
    for process in processes:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, "our scan")
        peak = max(peak, usage.ru_maxrss * 1024)
    return time.perf_counter() - start, peak


def scan(work_root: str, *films: str) -> None:
    """What a worker of curation does with sources, up to their clips."""
    from videosyn.curation.clips import join
    from videosyn.curation.config import CurationConfig
    from videosyn.curation.probe import num_spans, probe
    from videosyn.curation.shots import Shots
    from videosyn.curation.work import Work

    config, work = CurationConfig(), Work(work_root)
    stage = Shots(config)
    stage.setup()
    for film in films:
        source = probe(film)
        work.write_source(source)
        for span in range(num_spans(source, config.shots)):
            stage.process_span(source, span, work)
        join(source, work, config)


def decode(film: Path) -> float:
    """Seconds to decode a film and do nothing with it."""
    start = time.perf_counter()
    with av.open(str(film)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        for _ in container.decode(video=0):
            pass
    return time.perf_counter() - start


def draw(path: Path, seconds: int, seed: int) -> None:
    """A 720p film of drawn shots, two to five seconds each, with a camera's noise."""
    import numpy as np
    import torch

    from videosyn.world.render import render
    from videosyn.world.scene import sample_scene

    torch.set_num_threads(1)
    rng = random.Random(seed)
    noise = np.random.default_rng(seed).normal(0, 3, (8, HEIGHT, WIDTH, 1)).astype(np.float32)
    scenes = [sample_scene(900_000 + seed * 100 + index) for index in range(6)]
    shots = [render([scene], FPS * 2, HEIGHT // _DRAWN, WIDTH // _DRAWN, fps=FPS)[0] for scene in scenes]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "23", "preset": "veryfast", "threads": "1"})
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        left, index = 0, 0
        shot, mirrored = shots[0], False
        for number in range(seconds * FPS):
            if not left:
                left, index = rng.randint(2 * FPS, 5 * FPS), 0
                shot, mirrored = rng.choice(shots), rng.random() < 0.5
            there_and_back = len(shot) - 1 - abs(len(shot) - 1 - index % (2 * len(shot) - 2))
            small = shot[there_and_back].permute(2, 0, 1)[None].float()
            large = torch.nn.functional.interpolate(small, size=(HEIGHT, WIDTH), mode="bilinear")[0]
            pixels = large.flip(-1) if mirrored else large
            noisy = pixels.permute(1, 2, 0).numpy() + noise[number % len(noise)]
            frame = av.VideoFrame.from_ndarray(noisy.clip(0, 255).astype(np.uint8), format="rgb24")
            container.mux(stream.encode(frame.reformat(format="yuv420p")))
            left, index = left - 1, index + 1
        container.mux(stream.encode(None))


def lengthen(film: Path, path: Path, times: int) -> Path:
    """The film, many times one after the other, its packets copied."""
    with av.open(str(path), "w") as output:
        stream = None
        for turn in range(times):
            with av.open(str(film)) as container:
                source = container.streams.video[0]
                stream = stream or output.add_stream_from_template(source)
                assert source.duration is not None
                assert source.time_base is not None
                length = round(source.duration * source.time_base * FPS) * Fraction(1, FPS) / source.time_base
                for packet in container.demux(source):
                    if packet.size:
                        packet.pts, packet.dts = (int(each + turn * length) for each in (packet.pts, packet.dts))
                        packet.stream = stream
                        output.mux(packet)
    return path


if __name__ == "__main__":
    main()

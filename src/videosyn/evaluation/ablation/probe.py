"""One measurement at the paper's size, in a process of its own, so that no model pays for another's memory.

    python -m videosyn.evaluation.ablation.probe '{"what": "vdit", ...}'

prints seconds and peak bytes above the loaded model as JSON. Random weights: cost does not depend on them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from videosyn.core.errors import UserError
from videosyn.evaluation.ablation.variants import TEXT_TOKENS, Way
from videosyn.evaluation.footage import Shape


@dataclass(frozen=True)
class Job:
    """What to measure: one forward of the VDiT, or the VidVAE's encoding or decoding in one of the ways."""

    what: Literal["vdit", "encode", "decode"]
    way: Way
    frames: int
    height: int
    width: int
    depth: int
    device: str
    dtype: str
    preset: str = "xl"


@dataclass(frozen=True)
class Cost:
    seconds: float
    cpu_seconds: float
    """Of all threads together; what other work on the machine does not change."""
    peak_bytes: int
    """Above the loaded model's."""
    weight_bytes: int


def measure(job: Job) -> Cost:
    """Runs the job in a fresh process. A UserError with its last line where it fails, for lack of memory, say."""
    words = [sys.executable, "-m", "videosyn.evaluation.ablation.probe", json.dumps(asdict(job))]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"ended with code {done.returncode}"])[-1]
        shape = Shape(job.frames, job.height, job.width)
        raise UserError(f"{job.what} ({job.way}) at {shape} does not run here: {last[:160]}")
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    import torch

    from videosyn.core.runtime import pick_device, pick_dtype

    job = Job(**json.loads(sys.argv[1]))
    device = pick_device(job.device)
    dtype = pick_dtype(job.dtype, device)
    torch.manual_seed(0)
    model, call, warm = (_vdit if job.what == "vdit" else _vae)(job, device, dtype)
    with torch.inference_mode():  # models made within it are several times slower on CPUs
        warm()
        cost = _timed(call, device)
    weights = sum(each.numel() * each.element_size() for each in model.parameters())
    print(json.dumps({**cost, "weight_bytes": weights}))


def _vdit(job: Job, device: Any, dtype: Any):
    import torch

    from videosyn.vdit import presets
    from videosyn.vdit.model import VDiT

    factor = 1 if job.way == "frames" else 4
    base = getattr(presets, job.preset.upper())
    depth = min(job.depth, base.depth)
    config = dataclasses.replace(base, depth=depth, null_text_tokens=0, time_factor=factor)
    model = VDiT(config).to(device, dtype).eval()
    frames = 1 + (job.frames - 1) // factor
    shape = (1, config.num_in_channels, frames, job.height // 8, job.width // 8)

    def run(shape: tuple[int, ...]) -> Any:
        latents = torch.randn(shape).to(device, dtype)
        text = torch.randn(1, TEXT_TOKENS, config.text_width).to(device, dtype)
        mask = torch.ones(1, TEXT_TOKENS, dtype=torch.bool, device=device)
        fps = torch.full((1,), 8.0, device=device)
        return model(latents, torch.full((1,), 500.0, device=device), text, mask, fps)

    return model, lambda: run(shape), lambda: run((1, config.num_in_channels, 2, 8, 8))


def _vae(job: Job, device: Any, dtype: Any):
    import torch

    from videosyn.vidvae import presets
    from videosyn.vidvae.divide import DivideAndMerge, decode_divided, encode_divided
    from videosyn.vidvae.model import VidVAE

    base = getattr(presets, job.preset.upper())
    model = VidVAE(dataclasses.replace(base, time_halvings=0) if job.way == "frames" else base)
    model = model.to(device, dtype).eval()
    rule = DivideAndMerge(min(17, max(5, (job.frames - 1) // 8 * 4 + 1)))
    encode: dict[str, Callable] = {
        "frames": model.encode,
        "whole": lambda video: model.posterior(video).mode(),
        "divided": lambda video: encode_divided(model, video, rule),
        "streamed": lambda video: model.encode(video, frames_per_piece=rule.segment_frames - 1),
    }
    decode: dict[str, Callable] = {
        "frames": model.decode,
        "whole": model.decode_raw,
        "divided": lambda latents: torch.cat(list(decode_divided(model, latents, rule)), 2),
        "streamed": lambda latents: model.decode(latents, frames_per_piece=rule.segment_frames - 1),
    }
    channels = model.config.latent_channels
    video = (torch.rand(1, 3, job.frames, job.height, job.width) * 2 - 1).to(device, dtype)
    latent_frames = 1 + (job.frames - 1) // model.time_factor
    latents = torch.randn(1, channels, latent_frames, job.height // 8, job.width // 8).to(device, dtype)

    def warm() -> None:
        small = model.encode(video[:, :, :5, :32, :32])
        model.decode(small)

    if job.what == "encode":
        return model, lambda: encode[job.way](video), warm
    return model, lambda: decode[job.way](latents), warm


def _timed(call: Callable[[], object], device: Any) -> dict[str, float]:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)  # the host's CPU time tells nothing here
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        began = time.perf_counter()
        call()
        torch.cuda.synchronize(device)
        seconds = time.perf_counter() - began
        return {
            "seconds": seconds,
            "cpu_seconds": seconds,
            "peak_bytes": torch.cuda.max_memory_allocated(device) - before,
        }
    before = _forget_peak()
    began, computed = time.perf_counter(), time.process_time()
    call()
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - computed
    return {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "peak_bytes": max(0, _status_bytes("VmHWM") - before),
    }


def _forget_peak() -> int:
    """Sets this process's peak to what it holds now, and returns that.

    Not `ru_maxrss`: a process inherits it from whoever started it.
    """
    with contextlib.suppress(OSError):  # then the peak of loading the model counts too
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _status_bytes("VmRSS")


def _status_bytes(name: str) -> int:
    """A figure of Linux on this process; elsewhere the highest memory so far."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))


if __name__ == "__main__":
    main()

"""How a reconstruction moves against its original: errors of frame-to-frame changes, and where latent frames meet.

Next: `reconstruction.py`.
"""

from __future__ import annotations

from torch import Tensor

from videosyn.evaluation.metrics import mean_psnr


def temporal_error(decoded: Tensor, video: Tensor, steps: Tensor | None = None) -> float:
    """Mean absolute error of the changes from frame to frame, in levels of 255, of videos (B, 3, T, H, W) in [-1, 1].

    0 for equal videos and for errors that stand still; `steps`: a mask (T - 1,) of those counted. nan for one frame.
    """
    error = (decoded.float().diff(dim=2) - video.float().diff(dim=2)).abs().mean((0, 1, 3, 4)) * 127.5  # (T - 1,)
    chosen = error if steps is None else error[steps.to(error.device)]
    return float(chosen.mean()) if chosen.numel() else float("nan")


def motion_kept(decoded: Tensor, video: Tensor) -> float:
    """The reconstruction's mean change from frame to frame over the original's: 1 as it was, 0 frozen."""
    moved = video.float().diff(dim=2).abs().mean()
    return float(decoded.float().diff(dim=2).abs().mean() / moved) if moved > 0 else float("nan")


def meeting_steps(num_frames: int, time_factor: int) -> Tensor:
    """Which steps from a frame to the next cross from one latent frame to another: (T - 1,) bool.

    The first frame is a latent frame of its own, every `time_factor` after it share one.
    """
    import torch

    return torch.arange(num_frames - 1) % time_factor == 0


def psnr_by_place(decoded: Tensor, video: Tensor) -> list[float]:
    """PSNR in dB of each frame, over the batch."""
    return [
        mean_psnr(decoded[:, :, place : place + 1], video[:, :, place : place + 1]) for place in range(video.shape[2])
    ]

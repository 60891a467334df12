"""Which latent frames of a training clip are given clean, so that a model learns to go on from pictures it is shown.

One mechanism covers image-to-video, extension and interpolation: a given frame has time 0, and no error counts on it.
Used by `dit_step.py`.
"""

from __future__ import annotations

import torch
from torch import Tensor

PATTERNS = {"first": 0.4, "beginning": 0.3, "ends": 0.2, "last": 0.1}
"""The first frame; the first few; first and last; the last. With their shares."""


def draw_given(batch: int, num_frames: int, share: float, generator: torch.Generator) -> Tensor | None:
    """For B clips of t latent frames: bool (B, t), True where given; None where all are to be made.

    One batch in 1 / `share` has given frames, all its clips then, each by a pattern of its own. A frame alone is never
    given.
    """
    device = generator.device
    if num_frames == 1 or torch.rand((), generator=generator, device=device).item() >= share:
        return None
    chosen = torch.multinomial(
        torch.tensor(list(PATTERNS.values()), device=device), batch, replacement=True, generator=generator
    )
    lengths = torch.randint(1, num_frames, (batch,), generator=generator, device=device)
    frames = torch.arange(num_frames, device=device)
    first, last = (frames == 0).expand(batch, -1), (frames == num_frames - 1).expand(batch, -1)
    of_pattern = torch.stack([first, frames < lengths[:, None], first | last, last])  # (4, B, t)
    given = of_pattern[chosen, torch.arange(batch, device=device)]
    return given & ~given.all(1, keepdim=True)  # of two frames, "ends" would leave none to make

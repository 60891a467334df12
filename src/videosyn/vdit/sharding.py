"""One film on several processes: frames are divided for spatial attention, places for temporal attention.

Everything but temporal attention looks at one frame at a time, so each process holds some frames, whole. For temporal
attention the processes exchange (all to all), so that each holds some places in all frames, and exchange back. The
result is that of one process.

Gradients cross the exchange, too. Every process must go back from the same loss, divided by the number of processes:
then the sum of what each finds for a weight is what one process finds.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from videosyn.core.errors import UserError


class Sharding:
    """How t frames of S places are divided among the processes of a group, as evenly as they can be."""

    def __init__(self, group: dist.ProcessGroup, num_frames: int, num_places: int) -> None:
        self.group = group
        self.rank, self.size = dist.get_rank(group), dist.get_world_size(group)
        if min(num_frames, num_places) < self.size:
            raise UserError(
                f"{self.size} processes need at least as many latent frames and places in a frame, got {num_frames} "
                f"and {num_places}: start {min(num_frames, num_places)} or make a longer or larger film"
            )
        self.frames = _shares(num_frames, self.size)
        self.places = _shares(num_places, self.size)

    def own_frames(self, x: Tensor) -> Tensor:
        """x (B, t, ...) -> this process's frames; what is the same for all frames (B, 1, ...) stays."""
        return x if x.shape[1] == 1 else x.split(self.frames, 1)[self.rank]

    def to_places(self, x: Tensor) -> Tensor:
        """Own frames (B, t', S, C) -> own places in all frames (B, t, S', C)."""
        shapes = [(frames, self.places[self.rank]) for frames in self.frames]
        return torch.cat(self._exchange(list(x.split(self.places, 2)), shapes), 1)

    def to_frames(self, x: Tensor) -> Tensor:
        """Own places in all frames (B, t, S', C) -> own frames (B, t', S, C)."""
        shapes = [(self.frames[self.rank], places) for places in self.places]
        return torch.cat(self._exchange(list(x.split(self.frames, 1)), shapes), 2)

    def gather(self, x: Tensor) -> Tensor:
        """Own frames (B, t', S, C) -> all frames (B, t, S, C), on every process."""
        most = max(self.frames)
        padded = torch.cat([x, x.new_zeros(x.shape[0], most - x.shape[1], *x.shape[2:])], 1).contiguous()
        parts = _Gather.apply(padded, self.group)
        return torch.cat([part[:, :frames] for part, frames in zip(parts, self.frames)], 1)

    def _exchange(self, parts: list[Tensor], shapes: list[tuple[int, int]]) -> list[Tensor]:
        """Sends part i to process i; receives from each a tensor (B, frames, places, C) of the given shape."""
        batch, channels = parts[0].shape[0], parts[0].shape[3]
        sent = torch.cat([part.reshape(-1) for part in parts])
        sizes = [batch * frames * places * channels for frames, places in shapes]
        received = _AllToAll.apply(sent, [part.numel() for part in parts], sizes, self.group)
        return [
            flat.view(batch, frames, places, channels)
            for flat, (frames, places) in zip(received.split(sizes), shapes, strict=True)
        ]


class _AllToAll(torch.autograd.Function):
    """Pieces of a flat tensor, one for each process, for the pieces that these have for this one; backwards, back."""

    @staticmethod
    def forward(ctx: Any, sent: Tensor, sizes: list[int], received_sizes: list[int], group: dist.ProcessGroup) -> Any:
        ctx.sizes, ctx.received_sizes, ctx.group = sizes, received_sizes, group
        received = sent.new_empty(sum(received_sizes))
        dist.all_to_all_single(received, sent, received_sizes, sizes, group)
        return received

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        gradient = gradients[0].contiguous()
        return _AllToAll.apply(gradient, ctx.received_sizes, ctx.sizes, ctx.group), None, None, None


class _Gather(torch.autograd.Function):
    """A tensor -> those of all processes, (processes, ...)."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, group: dist.ProcessGroup) -> Any:
        ctx.rank, ctx.size = dist.get_rank(group), dist.get_world_size(group)
        parts = own.new_empty(ctx.size, *own.shape)
        dist.all_gather(list(parts.unbind(0)), own, group)
        return parts

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """The sum over the processes, whose losses are the same: this one's part so many times, without asking."""
        return gradients[0][ctx.rank] * ctx.size, None


def _shares(count: int, parts: int) -> list[int]:
    return [(count + index) // parts for index in reversed(range(parts))]

"""Step caching: blocks whose result would hardly differ from that of the step before are not computed again.

The first block tells. Where what it adds to the tokens has changed by less than a share since the other blocks were
last computed, what they added then is added again. First-block caching as ParaAttention and diffusers have it, after
TeaCache (arXiv 2411.19108); here each film and each side of guidance decides for itself, so that a film does not
depend on the others of its batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from videosyn.core.errors import UserError
from videosyn.vdit.model import VDiT


class BlockCache(nn.Module):
    """A VDiT's blocks as one: tokens (B, t, S, C) and what blocks take beside them -> tokens."""

    def __init__(
        self, blocks: nn.ModuleList, threshold: float, group: dist.ProcessGroup | None = None, together: bool = False
    ) -> None:
        """threshold: relative change, in mean absolute values, from which blocks are computed; 0: always.

        group: the processes that hold parts of the same tokens, and so must decide alike. together: where one film
        needs the blocks all go through them, though the others keep what they had; for compiled blocks, to which each
        number of films is a new shape.
        """
        super().__init__()
        if not threshold >= 0:
            raise UserError(f"cache threshold must be at least 0, got {threshold:g}: use 0.1")
        self.blocks = blocks
        self.threshold = threshold
        self.group = group
        self.together = together
        self.num_asked = self.num_computed = 0
        self._first: Tensor | None = None  # what the first block added when the others were last computed
        self._others: Tensor | None = None  # what these added then

    def forward(self, tokens: Tensor, *arguments: Any) -> Tensor:
        after = self.blocks[0](tokens, *arguments)
        added, first, others = after - tokens, self._first, self._others
        self.num_asked += len(tokens)
        if first is None or others is None or first.shape != added.shape:
            return self._all_computed(after, added, arguments)
        rows = (self._changes(added, first) >= self.threshold).nonzero()[:, 0]
        if len(rows) == len(tokens):
            return self._all_computed(after, added, arguments)
        if len(rows):
            first[rows], others[rows] = added[rows], self._others_add(after, rows, arguments)
        return after + others

    def _all_computed(self, after: Tensor, added: Tensor, arguments: Iterable[Any]) -> Tensor:
        out = self._through(after, arguments)
        self._first, self._others = added, out - after
        self.num_computed += len(after)
        return out

    def _others_add(self, after: Tensor, rows: Tensor, arguments: Iterable[Any]) -> Tensor:
        """What the other blocks add to some rows of the tokens (B, t, S, C)."""
        if self.together:
            self.num_computed += len(after)
            return (self._through(after, arguments) - after)[rows]
        self.num_computed += len(rows)
        some = after[rows]
        return self._through(some, [_rows(each, rows, len(after)) for each in arguments]) - some

    @property
    def share_reused(self) -> float:
        """Of all the films' steps, those that took the other blocks' result from before."""
        return 1 - self.num_computed / max(1, self.num_asked)

    def _through(self, tokens: Tensor, arguments: Iterable[Any]) -> Tensor:
        for block in self.blocks[1:]:
            tokens = block(tokens, *arguments)
        return tokens

    def _changes(self, now: Tensor, before: Tensor) -> Tensor:
        """Relative to before, for each row: (B,) float32."""
        parts = ((now - before).abs_(), before.abs())
        sums = torch.stack([part.flatten(1).sum(1, dtype=torch.float32) for part in parts])
        if self.group is not None:
            dist.all_reduce(sums, group=self.group)
        return sums[0] / sums[1].clamp_min(1e-12)


@contextmanager
def cached_blocks(vdit: VDiT, threshold: float, together: bool = False) -> Iterator[BlockCache]:
    """Within the block the VDiT's steps share what they can. One denoising run: a new one needs a new cache."""
    blocks = vdit.blocks
    cache = BlockCache(blocks, threshold, vdit.process_group, together)
    vdit.blocks = nn.ModuleList([cache])
    try:
        yield cache
    finally:
        vdit.blocks = blocks


def maybe_cached_blocks(vdit: VDiT, threshold: float | None, together: bool = False) -> Any:
    """The same; for None or 0 nothing is kept and every block computed."""
    return cached_blocks(vdit, threshold, together) if threshold else nullcontext()


def _rows(argument: Any, rows: Tensor, batch: int) -> Any:
    """The chosen films' part of what a block takes; what all films share, such as rotary tables, as it is."""
    batched = isinstance(argument, Tensor) and argument.ndim >= 3 and len(argument) == batch
    return argument[rows] if batched else argument

"""A second question to a VDiT in training: which thing lies here? Thrown away afterwards. Used by `dit_step.py`.

An object is a few cells of a latent, and the error of its velocity tells little of what it should be. Aligning a
diffusion transformer's middle layers with what is known of the clean picture makes it learn several times faster (REPA,
Yu et al. 2024, with features of an image encoder). The world knows better than any encoder: kind, colour and motion of
the thing in every cell. The tokens of a middle block, which see noise and caption, have to name them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from videosyn.vdit.model import VDiT
from videosyn.world.vocabulary import COLOURS, KINDS, MOTIONS

NAMES = {"kind": 1 + len(KINDS), "colour": 1 + len(COLOURS), "motion": 1 + len(MOTIONS)}
"""Answers to each question; answer 0 is "nothing here"."""
WEIGHT_OF_THINGS = 4.0
"""A cell with a thing counts so many times a cell without."""


class Namer(nn.Module):
    """Reads the tokens of a block two thirds of the way up: every forward pass of `vdit` leaves its answers here."""

    def __init__(self, vdit: VDiT) -> None:
        super().__init__()
        self.patch_size = vdit.config.patch_size
        self.answers = nn.Linear(vdit.config.width, self.patch_size**2 * sum(NAMES.values()))
        nn.init.zeros_(self.answers.weight)
        nn.init.zeros_(self.answers.bias)
        self._tokens: Tensor | None = None
        vdit.blocks[2 * vdit.config.depth // 3 - 1].register_forward_hook(self._listen)

    def _listen(self, block: nn.Module, inputs: object, tokens: Tensor) -> None:
        self._tokens = tokens

    def mean_weight(self, there: Tensor, routed: Tensor | None = None) -> Tensor:
        """Of the cells that are asked for, where things are at `there`, bool (B, t, h, w)."""
        return _weight(self._asked(there[:, None], routed)[:, 0]).mean()

    def forward(
        self, cells: Tensor, routed: Tensor | None = None, mean_weight: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Cells (B, 3, t, h, w) of the clips that `vdit` saw last, as `named_cells` gives them. routed: as `vdit` had.
        mean_weight: of the batch that these clips are a part of; None: they are all.

        -> the mean cross-entropy of the three questions, and the share of things that were named right, NaN where
        there are none.
        """
        assert self._tokens is not None, "the model has not run"
        p = self.patch_size
        tokens = F.layer_norm(self._tokens, self._tokens.shape[-1:])  # (B, t, S or K, C)
        logits = rearrange(self.answers(tokens), "b t s (p q n) -> (b t s p q) n", p=p, q=p).float()
        cells = self._asked(cells, routed)  # (N, 3)
        self._tokens = None
        weight = _weight(cells[:, 0] > 0)  # (N,)
        mean_weight = weight.mean() if mean_weight is None else mean_weight
        losses, shares = [], {}
        for (name, _), said, right in zip(
            NAMES.items(), logits.split(list(NAMES.values()), dim=-1), cells.long().unbind(1), strict=True
        ):
            losses.append((F.cross_entropy(said, right, reduction="none") * weight).mean() / mean_weight)
            there = right > 0
            shares[name] = ((said.argmax(-1) == right) & there).sum() / there.sum()
        return torch.stack(losses).mean(), shares

    def _asked(self, cells: Tensor, routed: Tensor | None) -> Tensor:
        """(B, A, t, h, w) -> (N, A), of the tokens that passed."""
        cells = rearrange(cells, "b a t (h p) (w q) -> b t (h w) p q a", p=self.patch_size, q=self.patch_size)
        if routed is not None:
            cells = cells[torch.arange(len(cells), device=cells.device)[:, None], :, routed].transpose(1, 2)
        return cells.reshape(-1, cells.shape[-1])


def _weight(there: Tensor) -> Tensor:
    return 1.0 + (WEIGHT_OF_THINGS - 1.0) * there.float()

"""A second question to a captioner's vision encoder: what lies here? Thrown away afterwards. Next: `captioner_step.py`.

A caption tells an encoder that begins with random weights little of where its words come from, and kinds of things are
learned last: after eight minutes of captions alone none was told from another; with this lesson too, five minutes named
two thirds of them. The world knows what lies in every cell: the tokens have to name kind and colour, and their mean the
place, light and style.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from videosyn.captioner.model import Captioner
from videosyn.core.errors import UserError
from videosyn.world.vocabulary import COLOURS, KINDS, LIGHTS, SCENES, STYLES

NAMES = {"kind": 1 + len(KINDS), "colour": 1 + len(COLOURS)}
"""Answers of a token; answer 0 is "nothing here"."""
PLACES = {"place": len(SCENES), "light": len(LIGHTS), "style": len(STYLES)}
"""Answers of a picture."""


class Namer(nn.Module):
    """Reads the tokens of the vision encoder: every forward pass of the captioner leaves its answers here."""

    def __init__(self, captioner: Captioner) -> None:
        super().__init__()
        width = captioner.vision.width
        self.things = nn.Linear(width, sum(NAMES.values()))
        self.places = nn.Linear(width, sum(PLACES.values()))
        self._tokens: Tensor | None = None
        captioner.vision.register_forward_hook(self._listen)

    def _listen(self, encoder: nn.Module, inputs: object, tokens: Tensor) -> None:
        self._tokens = tokens

    def forward(self, cells: Tensor, places: Tensor) -> tuple[Tensor, dict[str, float | Tensor]]:
        """Cells (B, 2, T, h, w) and places (B, 3) of the clips that the captioner saw last.

        -> the mean cross-entropy of the five questions, and the shares of cells with a thing that are named right.
        """
        assert self._tokens is not None, "the captioner has not run"
        tokens, self._tokens = self._tokens, None  # (B T, h w, D)
        num_frames = cells.shape[2]
        if tokens.shape[1] != cells[0, 0, 0].numel():
            raise UserError(
                f"naming_weight needs a token for each of {cells[0, 0, 0].numel()} cells, the encoder gives "
                f"{tokens.shape[1]}: train on clips of the size of its pictures, or set it to 0"
            )
        losses: list[Tensor] = []
        shares: dict[str, float | Tensor] = {}
        said = self.things(tokens).float().split(list(NAMES.values()), dim=-1)
        for number, (name, logits) in enumerate(zip(NAMES, said)):
            right = cells[:, number].flatten().long()  # (B T h w)
            losses.append(F.cross_entropy(logits.flatten(0, 1), right))
            there = right > 0
            shares[name] = (logits.flatten(0, 1).argmax(-1) == right)[there].float().mean()
        said = self.places(tokens.mean(1)).float().split(list(PLACES.values()), dim=-1)
        for number, logits in enumerate(said):
            losses.append(F.cross_entropy(logits, places[:, number].repeat_interleave(num_frames)))
        return torch.stack(losses).mean(), shares

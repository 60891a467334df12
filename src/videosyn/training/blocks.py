"""What is done to a model's blocks from outside, for training: compiling them, recomputing them. Used by `run.py`."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from videosyn.vdit.model import VDiT
from videosyn.vidvae.model import VidVAE


def blocks_of(model: nn.Module) -> list[nn.Module]:
    """The parts of a model that are alike and follow each other."""
    if isinstance(model, VDiT):
        return list(model.blocks)
    assert isinstance(model, VidVAE), type(model)
    return [*model.encoder.scales, *model.decoder.scales]


def recompute(blocks: Iterable[nn.Module]) -> None:
    """In training, a block keeps only its inputs, and is computed again when its gradients are."""
    for block in blocks:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False)


def compile_blocks(blocks: Iterable[nn.Module]) -> None:
    """Compiles what each block computes, without its hooks; equal ones share what was compiled. Before `recompute`,
    whose recomputing is not compiled but calls what is.
    """
    for block in blocks:
        block.forward = torch.compile(block.forward)

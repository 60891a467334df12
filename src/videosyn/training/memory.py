"""Memory of a training step, from shapes alone: what autograd keeps is counted by running the model on fake tensors.

A fake tensor has a shape and no data, so the paper's model is counted on a laptop within seconds. Used by `dry_run.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from videosyn.core.memory import FIXED_BYTES
from videosyn.training.blocks import blocks_of, recompute
from videosyn.vdit import embeddings
from videosyn.vdit.config import VDiTConfig
from videosyn.vdit.model import VDiT
from videosyn.vidvae.config import VidVAEConfig
from videosyn.vidvae.model import VidVAE

WORKING_BLOCKS = 2.5
"""What gradients and intermediate results take at the peak, in blocks: benchmarks/training_memory.py, on nano."""


def state_bytes(parameters: int, matrices: int, bytes_each: int, muon: bool, shards: int = 1) -> int:
    """Weights, gradients, fp32 masters, moments and moving average.

    parameters: number of all; matrices: of those that Muon would take; bytes_each: of a weight in the type that
    computes; shards: processes that divide them (fsdp).
    """
    if shards > 1:  # masters, gradients, two moments, average; the weights that compute are gathered block by block
        return parameters * 20 // shards
    moments = 8 * parameters - (4 * matrices if muon else 0)
    return parameters * (2 * bytes_each + 4 + 4 + 4) + moments


def vdit_kept_bytes(
    config: VDiTConfig, size: tuple[int, int, int], text_tokens: int, dtype: torch.dtype, checkpointing: bool
) -> int:
    """What autograd keeps of one clip with latents of `size` (t, h, w), and the largest block's recomputing."""

    def run(model: nn.Module) -> Tensor:
        latents = torch.zeros(1, config.num_in_channels, *size)
        text = torch.zeros(1, text_tokens, config.text_width)
        mask = torch.ones(1, text_tokens, dtype=torch.bool)
        return model(latents, torch.zeros(1), text, mask, torch.zeros(1))

    return _kept(lambda: VDiT(config), run, dtype, checkpointing, config.depth)


def vae_kept_bytes(config: VidVAEConfig, size: tuple[int, int, int], dtype: torch.dtype, checkpointing: bool) -> int:
    """The same for one video of `size` (T, H, W) that a VidVAE encodes and decodes."""

    def run(model: Any) -> Tensor:
        return model.decode_raw(model.posterior(torch.zeros(1, 3, *size, dtype=dtype)).mean)

    return _kept(lambda: VidVAE(config), run, dtype, checkpointing, 2 * len(config.encoder_widths))


def count_parameters(make: Callable[[], nn.Module]) -> tuple[int, int]:
    """Numbers in all trained tensors, and in those with two axes or more."""
    with torch.device("meta"):
        model = make()
    trained = [each for each in model.parameters() if each.requires_grad]
    return sum(each.numel() for each in trained), sum(each.numel() for each in trained if each.ndim >= 2)


def predicted_bytes(state: int, kept: int, clips: int) -> int:
    """The peak of a step whose largest part has `clips` clips. Gradients flowing back take about one block more."""
    return FIXED_BYTES + state + kept * clips


def _kept(
    make: Callable[[], nn.Module],
    run: Callable[[Any], Tensor],
    dtype: torch.dtype,
    checkpointing: bool,
    num_blocks: int,
) -> int:
    whole = _saved_bytes(make, run, dtype, False)
    block = whole // num_blocks
    kept = _saved_bytes(make, run, dtype, True) + block if checkpointing else whole
    return kept + int(WORKING_BLOCKS * block)


def _saved_bytes(
    make: Callable[[], nn.Module], run: Callable[[Any], Tensor], dtype: torch.dtype, checkpointing: bool
) -> int:
    before = torch.get_default_dtype()
    with FakeTensorMode(allow_non_fake_inputs=True):
        torch.set_default_dtype(dtype)
        try:
            model = make()
        finally:
            torch.set_default_dtype(before)
        if checkpointing:
            recompute(blocks_of(model))
        weights = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
        kept: dict[int, Any] = {}

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage._cdata not in weights:
                kept[storage._cdata] = storage  # held, so that no other storage gets its number
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            run(model)
        for each in vars(embeddings).values():  # tables made meanwhile are fake, too: none may stay
            if hasattr(each, "cache_clear"):
                each.cache_clear()
        return sum(storage.nbytes() for storage in kept.values())

"""Bytes of weights that lie on the device while a pipeline reads prompts, and while it denoises and decodes."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from videosyn.sampling.memory_mode import MemoryMode

VISITING = 3
"""Blocks that are on an accelerator at once where they visit one by one: `offload.py`."""


@dataclass(frozen=True)
class WeightMemory:
    """Of the models as they are loaded, in bytes. Add working memory, `core/memory.py`, to `denoising`."""

    reading: int
    """while the text encoder is there"""
    denoising: int
    """afterwards: denoising, and decoding"""

    @property
    def peak(self) -> int:
        return max(self.reading, self.denoising)


def weight_memory(
    vae: nn.Module, vdit: nn.Module, text: nn.Module | None, mode: MemoryMode, text_blocks: nn.ModuleList | None = None
) -> WeightMemory:
    """From models that need not be loaded: on the meta device, in the type that they will have, weights not yet in 8
    bits. `text_blocks`: the text encoder's, which visit too where there is one to offload.
    """
    blocks = vdit.blocks
    assert isinstance(blocks, nn.ModuleList)
    rest = _bytes(vae) + _bytes(vdit) - _bytes(blocks)
    each = [_stored(block, mode) for block in blocks]
    kept = rest + (VISITING * max(each) if mode.offload else sum(each))
    if mode.eight_bits is not None:  # the weight that is being computed with, in the model's own type
        kept += max(_bytes(layer) for layer in blocks.modules() if isinstance(layer, nn.Linear))
    reader = 0 if text is None else _bytes(text)
    if mode.offload and text is not None and text_blocks is not None:
        reader += VISITING * max(_bytes(block) for block in text_blocks) - _bytes(text_blocks)
    return WeightMemory(kept + reader, kept if mode.text_on_demand else kept + reader)


def _stored(block: nn.Module, mode: MemoryMode) -> int:
    if mode.eight_bits is None:
        return _bytes(block)
    layers = [each for each in block.modules() if isinstance(each, nn.Linear)]
    small = sum(each.weight.numel() + 4 * each.out_features for each in layers)  # codes, and a float32 scale a row
    return _bytes(block) - sum(each.weight.nbytes for each in layers) + small


def _bytes(module: nn.Module) -> int:
    return sum(each.nbytes for each in (*module.parameters(), *module.buffers()))

import torch
from torch import nn

from videosyn.sampling.eight_bits import keep_in_eight_bits
from videosyn.sampling.memory_mode import MemoryMode
from videosyn.sampling.weight_memory import VISITING, weight_memory
from videosyn.vdit.model import VDiT
from videosyn.vdit.presets import TINY

VDIT, VAE, TEXT = VDiT(TINY).to(torch.bfloat16), nn.Linear(10, 10), nn.ModuleList([nn.Linear(50, 50) for _ in range(8)])


def size(module: nn.Module) -> int:
    return sum(each.nbytes for each in (*module.parameters(), *module.buffers()))


def of(name: str):
    return weight_memory(VAE, VDIT, TEXT, MemoryMode.named(name), TEXT)


def test_everything_is_there_at_once_unless_asked_otherwise():
    assert of("full").reading == of("full").denoising == size(VAE) + size(VDIT) + size(TEXT)
    assert of("free-text").reading == of("full").reading == of("free-text").peak
    assert of("free-text").denoising == size(VAE) + size(VDIT)


def test_8_bits_are_counted_as_they_are_stored():
    small = VDiT(TINY).to(torch.bfloat16)
    keep_in_eight_bits(small.blocks, "int8")
    largest = 4 * TINY.width * TINY.width * 2 + 4 * TINY.width * 2  # the feed-forward's, with its bias, in bf16
    assert of("int8").denoising == size(VAE) + size(small) + largest
    assert of("fp8") == of("int8")


def test_blocks_that_visit_are_three_and_so_are_the_text_encoders():
    block, rest = size(VDIT.blocks[0]), size(VDIT) - size(VDIT.blocks)
    assert of("offload").denoising == size(VAE) + rest + VISITING * block
    assert of("offload").reading == of("offload").denoising + VISITING * size(TEXT[0])
    whole = weight_memory(VAE, VDIT, None, MemoryMode.named("offload"))
    assert whole.reading == whole.denoising == of("offload").denoising

"""What is done to a model's blocks from outside."""

from functools import partial

import pytest
import torch

from videosyn.training.blocks import blocks_of, compile_blocks, recompute
from videosyn.vdit.model import VDiT
from videosyn.vdit.presets import TINY


def gradients(*done_to_blocks) -> list[torch.Tensor]:
    torch.manual_seed(0)
    vdit = VDiT(TINY)
    for parameter in vdit.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    for done in done_to_blocks:
        done(blocks_of(vdit))
    text, mask = torch.randn(2, 3, TINY.text_width), torch.ones(2, 3, dtype=torch.bool)
    vdit(torch.randn(2, 4, 2, 4, 4), torch.full((2,), 100.0), text, mask).square().mean().backward()
    return [parameter.grad for parameter in vdit.parameters() if parameter.grad is not None]


def test_blocks_that_are_recomputed_are_compiled_too_all_alike_once(monkeypatch: pytest.MonkeyPatch):
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph

    torch._dynamo.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    compiled = gradients(compile_blocks, recompute)
    assert len(graphs) == 1
    torch.testing.assert_close(compiled, gradients())

"""On a CPU, where a block's tensors visit by being copied, and on an accelerator where there is one."""

import copy

import pytest
import torch

from videosyn.sampling.eight_bits import keep_in_eight_bits
from videosyn.sampling.offload import offload_blocks
from videosyn.vdit.model import VDiT
from videosyn.vdit.presets import TINY

CPU = torch.device("cpu")


@pytest.fixture
def vdit(tiny_pipeline) -> VDiT:
    return copy.deepcopy(tiny_pipeline.vdit)


@pytest.fixture
def inputs() -> tuple[torch.Tensor, ...]:
    torch.manual_seed(1)
    mask = torch.ones(2, 5, dtype=torch.bool)
    return torch.randn(2, 4, 3, 4, 6), torch.tensor([300.0, 800.0]), torch.randn(2, 5, TINY.text_width), mask


@torch.inference_mode()
def run(vdit: VDiT, inputs) -> torch.Tensor:
    return vdit(*inputs)


@pytest.mark.parametrize("eight_bits", [False, True])
def test_a_model_whose_blocks_visit_computes_what_it_computed(vdit, inputs, eight_bits):
    if eight_bits:
        keep_in_eight_bits(vdit.blocks, "int8")
    expected = run(vdit, inputs)
    offload_blocks(vdit, vdit.blocks, CPU)
    for _ in range(2):
        assert torch.equal(run(vdit, inputs), expected)


def test_one_block_is_there_at_a_time_and_none_afterwards(vdit, inputs):
    home = {name: tensor.data_ptr() for name, tensor in vdit.blocks.state_dict().items()}
    offload = offload_blocks(vdit, vdit.blocks, CPU)
    seen = []

    def look(number):
        there = [
            index
            for index, block in enumerate(vdit.blocks)
            if any(each.data_ptr() != home[f"{index}.{name}"] for name, each in block.state_dict().items())
        ]
        whole = all(
            each.data_ptr() != home[f"{number}.{name}"] for name, each in vdit.blocks[number].named_parameters()
        )
        seen.append((number, there, sorted(offload.here), whole))

    for number, block in enumerate(vdit.blocks):
        block.mlp.register_forward_hook(lambda *_, number=number: look(number))
    run(vdit, inputs)
    assert seen == [(0, [0], [0], True), (1, [1], [1], True)]
    assert offload.here == {}
    assert {name: tensor.data_ptr() for name, tensor in vdit.blocks.state_dict().items()} == home


def test_a_block_that_fails_goes_home_too(vdit, inputs):
    offload = offload_blocks(vdit, vdit.blocks, CPU)

    def fail(*_):
        raise RuntimeError("stopped")

    handle = vdit.blocks[1].mlp.register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="stopped"):
        run(vdit, inputs)
    assert offload.here == {}
    handle.remove()
    assert run(vdit, inputs).isfinite().all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")
def test_on_an_accelerator_blocks_visit_and_the_rest_lives_there(vdit, inputs):
    device = torch.device("cuda")
    inputs = [each.to(device) for each in inputs]
    expected = run(copy.deepcopy(vdit).to(device), inputs)
    offload = offload_blocks(vdit, vdit.blocks, device)
    assert offload.stream is not None
    for _ in range(3):
        torch.testing.assert_close(run(vdit, inputs), expected)
        assert len(offload.here) + len(offload._leaving) <= 3
    assert {each.device.type for each in vdit.blocks.parameters()} == {"cpu"}
    assert vdit.final.weight.device.type == "cuda"

import pytest
import torch
from torch import nn

from videosyn.core.model_folder import dequantise, quantise
from videosyn.sampling.eight_bits import EightBitLinear, keep_in_eight_bits
from videosyn.vdit.model import VDiT
from videosyn.vdit.presets import TINY


@pytest.fixture
def linear() -> nn.Linear:
    torch.manual_seed(0)
    layer = nn.Linear(64, 48)
    with torch.no_grad():
        layer.weight[3] *= 100  # rows of very different sizes
        layer.weight[4] = 0
    return layer


def test_int8_is_off_by_half_a_step_of_its_row_at_most(linear):
    small = EightBitLinear(linear, "int8")
    step = linear.weight.abs().amax(dim=1, keepdim=True) / 127
    off = (small.weight - linear.weight).abs()
    assert (off <= 0.502 * step + 1e-7).all()  # the scale itself is rounded to fp16
    assert off.max() > 0.3 * step.min()


def test_fp8_is_off_by_a_16th_of_each_weight_at_most(linear):
    small = EightBitLinear(linear, "fp8")
    smallest = linear.weight.abs().amax(dim=1, keepdim=True) / 448 / 1024
    off = (small.weight - linear.weight).abs()
    assert (off <= torch.maximum(linear.weight.abs() / 16, smallest) * 1.001).all()
    assert off.max() > 0.01 * linear.weight.abs().max()


@pytest.mark.parametrize("kind", ["int8", "fp8"])
def test_a_layer_of_8_bits_takes_a_quarter_of_fp32_and_computes_nearly_the_same(linear, kind):
    small, x = EightBitLinear(linear, kind), torch.randn(5, 7, 64)
    assert small.codes.element_size() == 1
    assert sum(each.nbytes for each in small.buffers()) < 0.32 * linear.weight.nbytes
    expected = linear(x)
    relative = (small(x) - expected).norm() / expected.norm()
    assert 1e-4 < relative < {"int8": 0.01, "fp8": 0.05}[kind]


def test_a_model_saved_in_int8_loses_nothing(linear):
    saved = dequantise(quantise({"weight": linear.weight.detach()}))["weight"]
    with torch.no_grad():
        linear.weight.copy_(saved)
    torch.testing.assert_close(EightBitLinear(linear, "int8").weight, saved, rtol=1e-3, atol=0)


@pytest.mark.parametrize("kind", ["int8", "fp8"])
def test_bf16_stays_bf16(linear, kind):
    small = EightBitLinear(linear.to(torch.bfloat16), kind)
    assert small(torch.randn(2, 64, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_all_linear_layers_of_a_model_are_replaced_and_others_stay():
    vdit = VDiT(TINY)
    count = sum(type(each) is nn.Linear for each in vdit.blocks.modules())
    keep_in_eight_bits(vdit.blocks, "int8")
    assert sum(isinstance(each, EightBitLinear) for each in vdit.modules()) == count > 8
    assert not any(type(each) is nn.Linear for each in vdit.blocks.modules())
    assert type(vdit.final) is nn.Linear

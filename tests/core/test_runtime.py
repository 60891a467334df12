import pytest
import torch

from videosyn.core.errors import UserError
from videosyn.core.runtime import cpu_computes_bf16, pick_device, pick_dtype


def test_auto_takes_cuda_where_there_is_one():
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "", "cpu cpu"])
def test_a_device_that_is_not_here_is_a_user_error(name):
    with pytest.raises(UserError, match="device"):
        pick_device(name)


def test_auto_dtype_is_bf16_exactly_where_the_machine_computes_in_it():
    expected = torch.bfloat16 if cpu_computes_bf16() else torch.float32
    assert pick_dtype("auto", torch.device("cpu")) == expected
    assert pick_dtype("auto", torch.device("cuda")) == torch.bfloat16
    assert pick_dtype("fp32", torch.device("cuda")) == torch.float32
    with pytest.raises(UserError, match="unknown dtype 'half'"):
        pick_dtype("half", torch.device("cpu"))

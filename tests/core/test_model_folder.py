import os
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from videosyn.core.config import load_json
from videosyn.core.errors import UserError
from videosyn.core.model_folder import dequantise, load_state, load_strict, quantise, save_module


@dataclass(frozen=True)
class NetConfig:
    width: int = 8


def net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv3d(3, 8, 3), nn.Linear(8, 8), nn.LayerNorm(8))


@pytest.mark.parametrize("max_shard_bytes", [1_000_000, 1000])
def test_weights_come_back_equal_whole_or_in_shards(tmp_path, max_shard_bytes):
    save_module(tmp_path / "net", net(), NetConfig(), max_shard_bytes)
    state = load_state(tmp_path / "net")
    assert state.keys() == net().state_dict().keys()
    assert all(torch.equal(state[key], value) for key, value in net().state_dict().items())
    assert (tmp_path / "net" / "diffusion_pytorch_model.safetensors.index.json").exists() == (max_shard_bytes == 1000)


def test_shards_stay_below_their_limit_unless_one_tensor_is_larger(tmp_path):
    module = nn.ModuleList([nn.Linear(10, 10, bias=False) for _ in range(7)])
    save_module(tmp_path / "net", module, NetConfig(), max_shard_bytes=900)
    sizes = [sum(t.nbytes for t in _tensors(file)) for file in sorted((tmp_path / "net").glob("*.safetensors"))]
    assert sizes == [800, 800, 800, 400]


def _tensors(file):
    from safetensors.torch import load_file

    return load_file(file).values()


def test_saving_again_leaves_no_shard_of_the_first_save(tmp_path):
    save_module(tmp_path / "net", net(0), NetConfig(), max_shard_bytes=1000)
    save_module(tmp_path / "net", net(1), NetConfig())
    names = sorted(file.name for file in (tmp_path / "net").iterdir())
    assert names == ["config.json", "diffusion_pytorch_model.safetensors"]
    assert torch.equal(load_state(tmp_path / "net")["1.weight"], net(1).state_dict()["1.weight"])
    assert list(tmp_path.iterdir()) == [tmp_path / "net"]


def test_int8_is_off_by_at_most_half_a_step_of_its_row(tmp_path):
    save_module(tmp_path / "net", net(), NetConfig(), int8=True)
    state, own = load_state(tmp_path / "net"), net().state_dict()
    assert state.keys() == own.keys()
    for key, value in own.items():
        assert state[key].dtype == torch.float32
        rows = value.flatten(1) if value.ndim > 1 else value[:, None]
        step = rows.abs().amax(1) / 127
        error = (state[key] - value).abs().reshape(rows.shape).amax(1)
        assert (error <= (0.5 + 0.1) * step).all() if value.ndim > 1 else (error == 0).all()


def test_int8_keeps_zero_rows_and_bf16_weights():
    state = {"w": torch.tensor([[0.0, 0.0], [1e-3, -2e-3]], dtype=torch.bfloat16)}
    back = dequantise(quantise(state))["w"]
    assert back[0].tolist() == [0, 0]
    assert torch.allclose(back[1], torch.tensor([1e-3, -2e-3]), atol=1e-5)


def test_loading_names_missing_foreign_and_misshapen_keys():
    state = net().state_dict()
    state["2.bias"] = torch.zeros(9)
    state["new"] = state.pop("1.weight")
    with pytest.raises(UserError) as caught:
        load_strict(net(), state, "a folder")
    message = str(caught.value)
    assert message == (
        "a folder does not fit Sequential: 1 missing (1.weight); 1 foreign (new); 1 of another shape (2.bias)"
    )


def test_at_most_five_keys_are_named():
    with pytest.raises(UserError) as caught:
        load_strict(net(), {}, "x")
    assert str(caught.value).endswith("6 missing (0.weight, 0.bias, 1.weight, 1.bias, 2.weight, ...)")


def test_a_refused_load_changes_nothing():
    module = net(1)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    with pytest.raises(UserError):
        load_strict(module, {key: value for key, value in net(0).state_dict().items() if key != "2.bias"}, "x")
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())


def test_weights_load_into_the_modules_own_type():
    module = net(1).to(torch.bfloat16)
    load_strict(module, net(0).state_dict(), "x")
    assert torch.equal(module[1].weight, net(0)[1].weight.bfloat16())


def test_missing_and_damaged_folders_are_user_errors(tmp_path):
    with pytest.raises(UserError, match="no model folder"):
        load_state(tmp_path / "absent")
    with pytest.raises(UserError, match="holds no weights"):
        load_state(tmp_path)
    save_module(tmp_path / "net", net(), NetConfig(), max_shard_bytes=1000)
    shard = sorted((tmp_path / "net").glob("*.safetensors"))[0]
    content = shard.read_bytes()
    shard.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="is damaged"):
        load_state(tmp_path / "net")
    shard.unlink()
    with pytest.raises(UserError, match="is incomplete: diffusion_pytorch_model-00001"):
        load_state(tmp_path / "net")


@pytest.mark.parametrize("shard_bytes", [(1000, 1000), (1000, 1_000_000), (1_000_000, 1000)])
@pytest.mark.parametrize("fails_at", [0, 1, 2, 3])
def test_a_save_that_is_cut_short_leaves_no_mix_of_two_models(tmp_path, monkeypatch, shard_bytes, fails_at):
    folder, replace, done = tmp_path / "net", os.replace, []
    save_module(folder, net(0), NetConfig(), shard_bytes[0])

    def failing(source, target):
        if len(done) == fails_at:
            raise KeyboardInterrupt
        done.append(target)
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)
    try:
        save_module(folder, net(1), NetConfig(), shard_bytes[1])
    except KeyboardInterrupt:
        with pytest.raises(UserError):
            load_json(NetConfig, folder / "config.json")
    try:
        state = load_state(folder)
    except UserError:
        return
    assert all(torch.equal(value, net(1).state_dict()[key]) for key, value in state.items())

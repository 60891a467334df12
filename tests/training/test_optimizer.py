from __future__ import annotations

import pytest
import torch
from torch import nn

from videosyn.core.errors import UserError
from videosyn.training.optimizer import Optimizer, orthogonalise


def parameters(dtype: torch.dtype = torch.float32) -> dict[str, nn.Parameter]:
    torch.manual_seed(0)
    shapes = {"a": (24, 16), "b": (24, 16), "wide": (8, 4, 3, 3, 3), "tall": (40, 4), "bias": (24,), "table": (3, 7)}
    return {name: nn.Parameter(torch.randn(shape).to(dtype)) for name, shape in shapes.items()}


MATRICES = {"a", "b", "wide", "tall"}


def set_gradients(named: dict[str, nn.Parameter], step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    for parameter in named.values():
        parameter.grad = torch.randn(parameter.shape, generator=generator).to(parameter.dtype)


def ours(named: dict[str, nn.Parameter], steps: int, **how) -> Optimizer:
    optimizer = Optimizer(named, MATRICES, **{"clip_norm": 0.0, **how})
    for step in range(steps):
        set_gradients(named, step)
        optimizer.apply(1.0, optimizer.gather().item())
    return optimizer


def test_muon_and_adamw_move_weights_as_torchs_own_do():
    mine, theirs = parameters(), parameters()
    ours(mine, 6, muon_lr=0.02, muon_weight_decay=0.1, adamw_lr=0.01, adamw_betas=(0.9, 0.98))
    flat = {name: nn.Parameter(theirs[name].detach().flatten(1)) for name in MATRICES}
    muon = torch.optim.Muon(list(flat.values()), lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    rest = [theirs["bias"], theirs["table"]]
    adamw = torch.optim.AdamW(rest, lr=0.01, betas=(0.9, 0.98), weight_decay=0)
    for step in range(6):
        set_gradients(theirs, step)
        for name, matrix in flat.items():
            grad = theirs[name].grad
            assert grad is not None
            matrix.grad = grad.flatten(1)
        muon.step()
        adamw.step()
    for name in ("a", "b", "tall"):
        assert torch.allclose(mine[name], flat[name], atol=2e-3), name
    assert torch.allclose(mine["wide"].flatten(1), flat["wide"], atol=2e-3)
    for name in ("bias", "table"):
        assert torch.allclose(mine[name], theirs[name], atol=1e-6), name


@pytest.mark.parametrize("shape", [(2, 32, 32), (2, 16, 400), (2, 400, 16), (1, 24, 60)])
def test_orthogonalising_is_as_exact_as_bf16_allows(shape: tuple[int, int, int]):
    torch.manual_seed(0)
    matrices = torch.randn(shape)
    x = matrices.double()
    x = x / torch.linalg.matrix_norm(x, keepdim=True)
    for _ in range(5):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    assert (orthogonalise(matrices) - x).norm() / x.norm() < 0.03


def test_stacking_changes_nothing():
    torch.manual_seed(0)
    matrices = torch.randn(3, 16, 48)
    alone = torch.cat([orthogonalise(matrix[None]) for matrix in matrices])
    assert torch.equal(orthogonalise(matrices), alone)


def test_spread_over_two_steps_every_matrix_still_turns_and_the_first_step_turns_all():
    once, spread = parameters(), parameters()
    ours(once, 1), ours(spread, 1, muon_every=2)
    assert all(torch.equal(once[name], spread[name]) for name in once)
    optimizer = ours(parameters(), 1, muon_every=2)
    before = {name: tensor.clone() for name, tensor in optimizer.tensors().items() if name.startswith("direction/")}
    turned: dict[str, int] = dict.fromkeys(before, 0)
    named = {name: p for slab in optimizer.slabs for name, p in zip(slab.names, slab.parameters)}
    for step in range(1, 5):
        set_gradients(named, step)
        optimizer.apply(1.0, optimizer.gather().item())
        after = {name: tensor.clone() for name, tensor in optimizer.tensors().items() if name in before}
        for name in before:
            turned[name] += not torch.equal(before[name], after[name])
        before = after
    assert set(turned.values()) == {2}


def test_the_average_follows_its_formula_on_fp32_masters():
    named = parameters(torch.bfloat16)
    optimizer = Optimizer(named, MATRICES, ema_decay=0.7, clip_norm=0.0)
    expected = optimizer.tensors()["master/bias"].clone()
    for step in range(5):
        set_gradients(named, step)
        optimizer.apply(1.0, optimizer.gather().item())
        decay = min(0.7, (step + 1) / (step + 10))
        expected = decay * expected + (1 - decay) * optimizer.tensors()["master/bias"]
    assert optimizer.tensors()["average/bias"].dtype == torch.float32
    assert torch.allclose(optimizer.tensors()["average/bias"], expected, atol=1e-6)


def test_weights_are_the_rounded_masters_and_steps_too_small_for_bf16_are_not_lost():
    named = parameters(torch.bfloat16)
    optimizer = ours(named, 40, muon_lr=1e-5, adamw_lr=1e-5)
    tensors = optimizer.tensors()
    for name, parameter in named.items():
        assert torch.equal(parameter, tensors[f"master/{name}"].bfloat16())
    moved = tensors["master/bias"] - parameters()["bias"].bfloat16().float()
    assert moved.abs().max() > 5e-5


def test_the_model_computes_with_the_average_inside_the_block_only():
    named = parameters()
    optimizer = ours(named, 3)
    before = named["a"].clone()
    with optimizer.averaged():
        assert torch.equal(named["a"], optimizer.tensors()["average/a"])
        assert not torch.equal(named["a"], before)
    assert torch.equal(named["a"], before)


def test_gradients_above_the_limit_are_scaled_to_it():
    named = parameters()
    optimizer = Optimizer(named, set(), clip_norm=1.0, adamw_betas=(0.0, 0.0))
    set_gradients(named, 0)
    norm = optimizer.gather().item()
    assert norm > 10
    optimizer.apply(1.0, norm)
    assert optimizer.flat_slabs[0].gradient.norm().item() == pytest.approx(1.0, rel=1e-4)


def test_state_comes_back_whole_and_a_foreign_one_is_refused():
    named = parameters()
    optimizer = ours(named, 3)
    kept = {name: tensor.clone() for name, tensor in optimizer.tensors().items()}
    other_named = parameters()
    other = Optimizer(other_named, MATRICES, clip_norm=0.0)
    other.load(kept, 3)
    for each, model in ((optimizer, named), (other, other_named)):
        set_gradients(model, 9)
        each.apply(1.0, each.gather().item())
    assert all(torch.equal(named[name], other_named[name]) for name in named)
    with pytest.raises(UserError, match="another model"):
        other.load({name: tensor for name, tensor in kept.items() if name != "master/a"}, 3)

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from videosyn.core.errors import UserError
from videosyn.training.judges import PatchDiscriminator, PerceptualLoss, adaptive_weight, fixed, hinge_loss


def test_the_discriminator_judges_patches_of_films_and_of_pictures():
    torch.manual_seed(0)
    judge = PatchDiscriminator(width=8)
    assert judge(torch.randn(2, 3, 9, 32, 40)).shape == (2, 1, 3, 4, 5)
    assert judge(torch.randn(2, 3, 1, 32, 32)).shape == (2, 1, 1, 4, 4)


def test_the_discriminator_learns_to_tell_and_is_not_moved_by_the_verdict_on_a_video():
    torch.manual_seed(0)
    judge = PatchDiscriminator(width=8)
    real, made = torch.randn(4, 3, 5, 16, 16), 0.2 * torch.randn(4, 3, 5, 16, 16)
    made.requires_grad_()
    fixed(judge, made).mean().backward()
    assert made.grad is not None
    assert all(parameter.grad is None for parameter in judge.parameters())
    optimizer = torch.optim.Adam(judge.parameters(), 1e-3)
    losses = []
    for _ in range(30):
        loss = hinge_loss(judge(real), judge(made.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_the_adaptive_weight_makes_both_gradients_alike():
    layer = nn.Linear(4, 4)
    out = layer(torch.ones(2, 4))
    one, other = 5 * out.square().mean(), 0.01 * out.sum()
    weight = adaptive_weight(one, other, layer.weight)
    first = torch.autograd.grad(one, layer.weight, retain_graph=True)[0]
    second = torch.autograd.grad(weight * other, layer.weight)[0]
    assert second.norm().item() == pytest.approx(first.norm().item(), rel=0.02)


def test_the_perceptual_loss_is_zero_for_equals_and_grows_with_blur(tiny_vgg: Path):
    loss = PerceptualLoss(tiny_vgg)
    torch.manual_seed(0)
    video = torch.rand(1, 3, 2, 32, 32) * 2 - 1
    assert loss(video, video).item() == 0
    soft = torch.nn.functional.avg_pool3d(video, (1, 3, 3), 1, (0, 1, 1))
    softer = torch.nn.functional.avg_pool3d(video, (1, 7, 7), 1, (0, 3, 3))
    assert 0 < loss(soft, video) < loss(softer, video)
    soft.requires_grad_()
    loss(soft, video).backward()
    assert soft.grad is not None
    assert not any(parameter.requires_grad for parameter in loss.parameters())


def test_lpips_weights_of_channels_count(tiny_vgg: Path, tmp_path: Path):
    state = load_file(tiny_vgg)
    doubled = {f"lin{place}.weight": torch.full((1, 4, 1, 1), 0.5) for place in range(5)}  # twice 1 / 4 channels
    save_file({**state, **doubled}, tmp_path / "lpips.safetensors")
    one, other = torch.rand(2, 1, 3, 1, 32, 32).unbind(0)
    plain, weighed = (PerceptualLoss(path)(one, other) for path in (tiny_vgg, tmp_path / "lpips.safetensors"))
    assert weighed.item() == pytest.approx(2 * plain.item(), rel=1e-5)


def test_weights_that_are_no_vgg_are_refused(tiny_vgg: Path, tmp_path: Path):
    with pytest.raises(UserError, match="there is no file"):
        PerceptualLoss(tmp_path / "none")
    (tmp_path / "cut.safetensors").write_bytes(tiny_vgg.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"cut\.safetensors is no safetensors file, or damaged"):
        PerceptualLoss(tmp_path / "cut.safetensors")
    state = load_file(tiny_vgg)
    state.pop("features.28.bias")
    save_file(state, tmp_path / "part.safetensors")
    with pytest.raises(UserError, match=r"features\.28\.bias is missing"):
        PerceptualLoss(tmp_path / "part.safetensors")
    save_file({**load_file(tiny_vgg), "head": torch.ones(1)}, tmp_path / "more.safetensors")
    with pytest.raises(UserError, match="head belong"):
        PerceptualLoss(tmp_path / "more.safetensors")

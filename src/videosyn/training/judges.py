"""Judges of reconstructed videos: a 3-D patch discriminator, and features of a VGG. Used by `vae_step.py`."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from videosyn.core.errors import UserError

VGG_LAYERS = (2, 2, 3, 3, 3)
"""VGG16's convolutions; a halving between the groups."""
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_GROUPS = 8


class PatchDiscriminator(nn.Module):
    """Video (B, 3, T, H, W) -> a verdict a patch (B, 1, T', H', W'): above 0 for real. Isola et al. 2017, in 3-D.

    Halves height and width `halvings` times, and time the first `time_halvings` times; one frame is judged as it is.
    """

    def __init__(self, width: int = 64, halvings: int = 3, time_halvings: int = 2) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for place in range(halvings):
            out = width * 2 ** min(place, 3)
            stride = (2 if place < time_halvings else 1, 2, 2)
            layers.append(nn.Conv3d(channels, out, (3, 4, 4), stride, padding=1))
            if place:
                layers.append(nn.GroupNorm(min(_GROUPS, out), out))
            layers.append(nn.LeakyReLU(0.2))
            channels = out
        layers.append(nn.Conv3d(channels, 1, 3, padding=1))
        self.layers = nn.Sequential(*layers)

    def forward(self, video: Tensor) -> Tensor:
        return self.layers(video)


def fixed(module: nn.Module, x: Tensor) -> Tensor:
    """The module's answer, differentiable in x alone."""
    weights = {name: parameter.detach() for name, parameter in module.named_parameters()}
    return torch.func.functional_call(module, weights, (x,))


def hinge_loss(real: Tensor, made: Tensor) -> Tensor:
    """What the discriminator minimises. Lim and Ye 2017."""
    return 0.5 * (F.relu(1 - real.float()).mean() + F.relu(1 + made.float()).mean())


def adaptive_weight(reconstruction: Tensor, adversarial: Tensor, last_layer: Tensor, most: float = 1e4) -> Tensor:
    """Weight that gives both losses gradients of equal size at the decoder's last layer. Esser et al. 2021, eq. 7."""
    gradients = [
        torch.autograd.grad(loss, last_layer, retain_graph=True)[0].float() for loss in (reconstruction, adversarial)
    ]
    return (gradients[0].norm() / (gradients[1].norm() + 1e-4)).clamp(max=most).detach()


class PerceptualLoss(nn.Module):
    """Distance of VGG16's features of two videos, frame by frame: LPIPS (Zhang et al. 2018) if its weights are given.

    Frozen. The file is safetensors: `features.N.weight` and `.bias` as torchvision numbers VGG16's layers and, for
    LPIPS, `lin0.weight` to `lin4.weight`, (1, C, 1, 1), one for each group; without these all channels count alike.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, weights: str | Path) -> None:
        super().__init__()
        self.groups = nn.ModuleList()
        self.channel_weights = nn.ParameterList()
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1))
        state = _read(weights)
        number = 0
        for count in VGG_LAYERS:
            layers: list[nn.Module] = []
            for _ in range(count):
                weight = _taken(state, f"features.{number}.weight", weights)
                layer = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1)
                layer.weight.data, layer.bias.data = weight, _taken(state, f"features.{number}.bias", weights)  # pyright: ignore[reportOptionalMemberAccess]
                layers += [layer, nn.ReLU()]
                number += 2
            self.groups.append(nn.Sequential(*layers))
            number += 1  # the pooling
        for place in range(len(VGG_LAYERS)):
            linear = state.pop(f"lin{place}.weight", None)
            channels = self.groups[place][-2].out_channels  # pyright: ignore[reportIndexIssue]
            self.channel_weights.append(torch.full((1, channels, 1, 1), 1 / channels) if linear is None else linear)
        foreign = [name for name in state if not name.startswith("classifier.")]
        if foreign:
            raise UserError(f"{weights} is no VGG16: {', '.join(foreign[:5])} belong to something else")
        self.requires_grad_(False)

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """Videos (B, 3, T, H, W) in [-1, 1] -> mean distance (scalar), fp32, differentiable in both."""
        x, y = (self._standard(rearrange(video, "b c t h w -> (b t) c h w")) for video in (one, other))
        total = torch.zeros((), device=one.device)
        for place, (group, weight) in enumerate(zip(self.groups, self.channel_weights)):
            if place:
                x, y = F.max_pool2d(x, 2), F.max_pool2d(y, 2)
            x, y = group(x), group(y)
            difference = (F.normalize(x.float(), dim=1, eps=1e-8) - F.normalize(y.float(), dim=1, eps=1e-8)).square()
            total = total + (difference * weight.float()).sum(1).mean()
        return total

    def _standard(self, frames: Tensor) -> Tensor:
        like = next(self.groups.parameters())
        return (((frames.float() + 1) / 2 - self.mean) / self.std).to(like.dtype)


def _read(path: str | Path) -> dict[str, Tensor]:
    if not Path(path).is_file():
        raise UserError(f"there is no file {path}: give VGG16's weights as safetensors, or leave perceptual empty")
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} is no safetensors file, or damaged ({error}): give VGG16's weights again") from error


def _taken(state: dict[str, Tensor], name: str, where: str | Path) -> Tensor:
    if name not in state:
        raise UserError(f"{where} is no VGG16: {name} is missing")
    return state.pop(name)

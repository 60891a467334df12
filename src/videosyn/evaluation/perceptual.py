"""LPIPS by weights that a user names: a backbone (AlexNet or VGG16, torchvision's names) and its heads (lpips' names).

Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", equation 1.
Next: `reconstruction.py`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from videosyn.convert.checkpoint import Checkpoint, read_checkpoint
from videosyn.core.errors import UserError

_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""ImageNet's mean and spread, for pictures in [-1, 1]."""
_VGG16 = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
"""Numbers of the convolutions between two poolings, under `features`."""
_ALEXNET = ((0, 4, 2), (3, 1, 2), (6, 1, 1), (8, 1, 1), (10, 1, 1))
"""Number, stride and padding of each convolution; a pooling stands before the second and the third."""
FRAMES_AT_ONCE = 8


class Lpips(nn.Module):
    """`forward`: two videos (B, 3, T, H, W) in [-1, 1] -> mean distance (B,); 0 for equal ones."""

    def __init__(self, backbone: dict[str, Tensor], heads: list[Tensor]) -> None:
        super().__init__()
        self.is_vgg = backbone["features.0.weight"].shape[-1] == 3
        numbers = [number for group in _VGG16 for number in group] if self.is_vgg else [each[0] for each in _ALEXNET]
        self.convs = nn.ModuleDict()
        for number in numbers:
            weight, bias = (backbone[f"features.{number}.{kind}"].float() for kind in ("weight", "bias"))
            stride, padding = (1, 1) if self.is_vgg else next(each[1:] for each in _ALEXNET if each[0] == number)
            conv = nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[-1], stride, padding)
            conv.load_state_dict({"weight": weight, "bias": bias})
            self.convs[str(number)] = conv
        for place, head in enumerate(heads):
            self.register_buffer(f"head{place}", head.float())
        self.register_buffer("shift", torch.tensor(_SHIFT).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(_SCALE).view(1, 3, 1, 1))
        self.eval().requires_grad_(False)

    @classmethod
    def from_files(cls, backbone: str, heads: str) -> Lpips:
        """Raises UserError where a tensor is missing, or foreign but for the backbone's classifier."""
        net, lin = read_checkpoint(backbone), read_checkpoint(heads)
        side = net.width("features.0.weight", 3)
        numbers = [number for group in _VGG16 for number in group] if side == 3 else [each[0] for each in _ALEXNET]
        wanted = {f"features.{number}.{kind}" for number in numbers for kind in ("weight", "bias")}
        state = {name: tensor for name, tensor in net.state.items() if not name.startswith("classifier.")}
        _all_there(net, set(state), wanted)
        names = [f"lin{place}.model.1.weight" for place in range(5)]
        _all_there(lin, set(lin.state), set(names))
        last = [group[-1] for group in _VGG16] if side == 3 else numbers
        for name, number in zip(names, last):
            width = state[f"features.{number}.weight"].shape[0]
            if lin.state[name].shape != (1, width, 1, 1):
                raise UserError(f"{heads} does not fit {backbone}: {name} should weigh {width} channels")
        return cls(state, [lin.state[name] for name in names])

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        frames = [rearrange(video.float(), "b c t h w -> (b t) c h w") for video in (one, other)]
        parts = [self._of_frames(a, b) for a, b in zip(*(each.split(FRAMES_AT_ONCE) for each in frames))]
        return rearrange(torch.cat(parts), "(b t) -> b t", b=one.shape[0]).mean(1)

    def _of_frames(self, one: Tensor, other: Tensor) -> Tensor:
        total = torch.zeros(len(one), device=one.device)
        for place, (a, b) in enumerate(zip(self._features(one), self._features(other))):
            gap = (F.normalize(a, dim=1, eps=1e-10) - F.normalize(b, dim=1, eps=1e-10)).square()
            total = total + F.conv2d(gap, self.get_buffer(f"head{place}")).mean((1, 2, 3))
        return total

    def _features(self, frames: Tensor) -> list[Tensor]:
        """After the last convolution before each pooling (VGG16), or after each (AlexNet)."""
        x = (frames - self.get_buffer("shift")) / self.get_buffer("scale")
        found = []
        if self.is_vgg:
            for place, group in enumerate(_VGG16):
                x = F.max_pool2d(x, 2) if place else x
                for number in group:
                    x = F.relu(self.convs[str(number)](x))
                found.append(x)
            return found
        for place, (number, _, _) in enumerate(_ALEXNET):
            x = F.max_pool2d(x, 3, 2) if place in (1, 2) else x
            x = F.relu(self.convs[str(number)](x))
            found.append(x)
        return found


def _all_there(checkpoint: Checkpoint, given: set[str], wanted: set[str]) -> None:
    for what, names in (("lacks", wanted - given), ("has also", given - wanted)):
        if names:
            raise UserError(f"{checkpoint.path} is no LPIPS weights: it {what} {', '.join(sorted(names)[:3])}")

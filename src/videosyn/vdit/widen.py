"""The weights of a VDiT without a map as those of one that has one: the same function, and silent about the map."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from videosyn.vdit.config import VDiTConfig


def with_map(old: VDiTConfig, new: VDiTConfig, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of a VDiT `old` -> that of `new`, the same but for `map_channels`, of which `old` has none.

    What the map's channels bring in is multiplied by zero, and zeros come out for them.
    """
    extra = new.map_channels - old.map_channels
    patch = new.patch_size**2
    into, out = state["patch_embedder.weight"], state["final.weight"]  # (C, Z, 1, p, p), (p p Z, C)
    bias = state["final.bias"]
    return {
        **state,
        "patch_embedder.weight": torch.cat([into, into.new_zeros(len(into), extra, *into.shape[2:])], 1),
        "final.weight": torch.cat(
            [out.unflatten(0, (patch, -1)), out.new_zeros(patch, extra, out.shape[1])], 1
        ).flatten(0, 1),
        "final.bias": torch.cat([bias.unflatten(0, (patch, -1)), bias.new_zeros(patch, extra)], 1).flatten(),
    }

"""Memory for what a layer makes on its way and drops, kept from layer to layer.

The C runtime gives freed tensors of some megabytes back to the kernel, which clears every page of the next one: on
CPUs that costs more than norms and activations themselves. Accelerators have an allocator that does this already.
"""

from __future__ import annotations

import math
import threading

import torch
from torch import Tensor


class Scratch(threading.local):
    """Named pieces of CPU memory, each as large as was ever asked of it. A thread has its own."""

    def __init__(self) -> None:
        self._pieces: dict[str, Tensor] = {}

    def take(self, name: str, like: Tensor, shape: tuple[int, ...]) -> Tensor:
        """A tensor of any content, of the type and device of `like`: what was taken by that name before is gone."""
        if like.device.type != "cpu" or torch.compiler.is_compiling():
            return torch.empty(shape, dtype=like.dtype, device=like.device)
        num_bytes = math.prod(shape) * like.element_size()
        piece = self._pieces.get(name)
        if piece is None or len(piece) < num_bytes:
            self._pieces.pop(name, None)
            with torch.inference_mode(False):  # what is made within it could not be written to outside
                piece = self._pieces[name] = torch.empty(num_bytes, dtype=torch.uint8, device="cpu")
        return piece[:num_bytes].view(like.dtype).view(shape)

    def clear(self) -> None:
        """Gives all memory back."""
        self._pieces.clear()


SCRATCH = Scratch()

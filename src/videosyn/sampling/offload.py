"""Blocks that live in host memory and come to the device one after the other, each while the one before computes.

The blocks' forward stays as it is: hooks lend a block its tensors on the device for the time of its call.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Place:
    """A parameter or buffer of a block: the dictionary that holds it, its name there, its tensor on the host."""

    holder: dict[str, Any]
    name: str
    host: Tensor

    def lend(self, tensor: Tensor) -> None:
        is_parameter = isinstance(self.host, nn.Parameter)
        self.holder[self.name] = nn.Parameter(tensor, requires_grad=False) if is_parameter else tensor

    def give_back(self) -> None:
        self.holder[self.name] = self.host


class BlockOffload:
    """Keeps the weights of `blocks`, which are called in their order, on the host. For inference: no gradients.

    On an accelerator the next block is copied on a stream of its own while one computes; at most three are there: the
    one before may still be computing when the host has gone on. On a CPU, where host and device are one, it is one.
    """

    def __init__(self, blocks: Sequence[nn.Module], device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self.places = [self._to_host(block) for block in blocks]
        self.here: dict[int, list[Tensor]] = {}  # a block's number -> its tensors on the device
        self._leaving: deque[tuple[Any, list[Tensor]]] = deque()  # done when the event is, and kept until then
        for number, block in enumerate(blocks):
            block.register_forward_pre_hook(lambda *_, number=number: self._enter(number))
            block.register_forward_hook(lambda *_, number=number: self._leave(number), always_call=True)

    def _to_host(self, block: nn.Module) -> list[Place]:
        """Moves a block to the host, page-locked where copies go on beside the computation."""
        block.to("cpu").requires_grad_(False)
        places = []
        for module in block.modules():
            for holder in (module._parameters, module._buffers):
                for name, tensor in holder.items():
                    if tensor is None:
                        continue
                    if self.stream is not None:
                        tensor.data = tensor.data.pin_memory()
                    places.append(Place(holder, name, tensor))
        return places

    def _enter(self, number: int) -> None:
        self._fetch(number)
        if self.stream is not None:
            torch.cuda.current_stream(self.device).wait_stream(self.stream)
        for place, tensor in zip(self.places[number], self.here[number], strict=True):
            place.lend(tensor)
        if self.stream is not None:
            while len(self._leaving) > 1:
                self._forget()
            if number + 1 < len(self.places):
                self._fetch(number + 1)

    def _leave(self, number: int) -> None:
        for place in self.places[number]:
            place.give_back()
        tensors = self.here.pop(number, [])
        if self.stream is not None:
            done = torch.cuda.Event()
            done.record(torch.cuda.current_stream(self.device))
            self._leaving.append((done, tensors))

    def _forget(self) -> None:
        """Frees the block that left first, once it has been computed with: until then its memory must not be reused."""
        done, tensors = self._leaving.popleft()
        done.synchronize()
        tensors.clear()

    def _fetch(self, number: int) -> None:
        if number in self.here:
            return
        with torch.inference_mode(False), torch.no_grad(), torch.cuda.stream(self.stream):
            self.here[number] = [
                place.host.detach().to(self.device, copy=True, non_blocking=self.stream is not None)
                for place in self.places[number]
            ]


def offload_blocks(model: nn.Module, blocks: nn.ModuleList, device: torch.device) -> BlockOffload:
    """Moves `model` to the device, all but its `blocks`, which only visit it."""
    offload = BlockOffload(list(blocks), device)
    apart = {id(tensor) for tensor in (*blocks.parameters(), *blocks.buffers())}
    for module in model.modules():
        for holder in (module._parameters, module._buffers):
            for tensor in holder.values():
                if tensor is not None and id(tensor) not in apart:
                    tensor.data = tensor.data.to(device)
    return offload

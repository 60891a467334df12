"""Training on several processes, applied from outside the models. Launched by torchrun. Next: `loop.py`.

    ddp    every process has the whole model; gradients are averaged, once a step, in fp32
    fsdp   `fully_shard`: every process keeps a part of each tensor, and gathers a block's weights when it computes it

Every process computes its share of the same batch (`dataset.batches.Share`), so the number of processes changes neither
the order of the data nor, but for rounding, the loss. With either, the processes may form teams (`Team`), each of which
computes its clips together, where one clip is too long for one process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import torch
import torch.distributed as dist
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh

from videosyn.core.errors import UserError
from videosyn.dataset.batches import Share

Parallel = Literal["ddp", "fsdp"]
PATIENCE = timedelta(hours=24)
"""How long processes wait for each other: one may fill a cache or draw sheets meanwhile. torchrun ends them all at once
where one has died, so this only bounds a wait for one that hangs."""


@dataclass(frozen=True)
class Team:
    """Processes that divide the frames and places of their clips among each other (`vdit/sharding.py`)."""

    group: dist.ProcessGroup
    size: int
    share: Share
    """What all of them take of every batch, of as many shares as there are teams."""


class Processes:
    """This process among those that train together; alone, it is the only one."""

    def __init__(self, rank: int = 0, count: int = 1, parallel: Parallel = "ddp") -> None:
        self.rank, self.count, self.parallel = rank, count, parallel

    @property
    def share(self) -> Share:
        return Share(self.rank, self.count)

    @property
    def shards(self) -> bool:
        """Whether models are divided."""
        return self.count > 1 and self.parallel == "fsdp"

    def team(self, size: int) -> Team | None:
        """This process's team where processes form teams of `size`, neighbours in rank; None for teams of one."""
        if size == 1:
            return None
        check_team(size, self.count)
        kind = "cuda" if dist.get_backend() == "nccl" else "cpu"
        mesh = init_device_mesh(kind, (self.count // size, size), mesh_dim_names=("data", "sequence"))
        share = Share(mesh.get_local_rank("data"), self.count // size)
        return Team(mesh.get_group("sequence"), size, share)

    def sum(self, tensor: Tensor) -> Tensor:
        """Adds up over the processes, in place."""
        if self.count > 1:
            dist.all_reduce(tensor)
        return tensor

    def average(self, tensor: Tensor) -> None:
        """The mean over the processes, in place."""
        if self.count > 1:
            dist.all_reduce(tensor)
            tensor.div_(self.count)

    def gather(self, number: int) -> list[int]:
        """What each process says."""
        if self.count == 1:
            return [number]
        told = [0] * self.count
        dist.all_gather_object(told, number)
        return told

    def wait(self) -> None:
        """Until every process is here."""
        if self.count > 1:
            dist.barrier()


def check_team(size: int, count: int) -> None:
    """A UserError where `count` processes cannot form teams of `size`."""
    if count % size:
        raise UserError(
            f"sequence_parallel {size} must divide the number of processes, got {count}: start them with "
            f"torchrun --nproc-per-node {size * max(1, round(count / size))}"
        )


class CannotSave(Exception):
    """What the disk of this or another process refused, on one line."""


def on_all(act: Callable[[], object]) -> None:
    """Calls `act`, on every process; where a disk refuses it on any of them, raises CannotSave on all.

    So none waits for one that gave up. What `act` sends to other processes must come before what may fail.
    """
    from torch.distributed.checkpoint.api import CheckpointException

    trouble = ""
    try:
        act()
    except (OSError, SafetensorError) as error:
        trouble = " ".join(str(error).split()) or type(error).__name__
    except CheckpointException as error:  # DCP's word for what any process failed at
        trouble = "; ".join(" ".join(str(each).split()) for each, _ in error.failures.values())
    told = [trouble]
    if dist.is_initialized():
        told = [""] * dist.get_world_size()
        dist.all_gather_object(told, trouble)
    if first := next((each for each in told if each), ""):
        raise CannotSave(first)


@contextmanager
def processes(device: torch.device, parallel: Parallel) -> Iterator[tuple[Processes, torch.device]]:
    """Joins the processes that torchrun started -> them, and this one's device. Leaves them at the end."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes(parallel=parallel), device
        return
    if device.type == "cuda":
        number, here = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if number >= here:
            raise UserError(f"process {number} finds no accelerator, here are {here}: set --nproc-per-node {here}")
        device = torch.device("cuda", number)
        torch.cuda.set_device(device)
    began = not dist.is_initialized()
    if began:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield Processes(dist.get_rank(), dist.get_world_size(), parallel), device
    finally:
        if began:
            dist.destroy_process_group()


def shard(module: nn.Module, blocks: Iterable[nn.Module], dtype: torch.dtype) -> None:
    """Divides fp32 parameters among all processes, in place: each of the blocks as one unit, then the rest.

    They compute in `dtype`; gradients are added up in fp32.
    """
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    if any(parameter.dtype != torch.float32 for parameter in module.parameters()):
        raise UserError("models are divided in fp32; the type they compute in is given apart")
    # Inputs stay as they are: a time between 0 and 1000 is no bf16 number, and the models convert what they must.
    policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32, cast_forward_inputs=False)
    for block in blocks:
        fully_shard(block, mp_policy=policy)
    # The rest too gives up its gathered weights after each forward pass: measurements gather other ones, averages.
    fully_shard(module, mp_policy=policy, reshard_after_forward=True)


def whole_state(module: nn.Module) -> dict[str, Tensor]:
    """All tensors of a divided module, put together, on the CPU. Every process must ask; only the first gets them."""
    from torch.distributed.tensor import DTensor

    state: dict[str, Tensor] = {}
    for name, tensor in module.state_dict().items():
        full = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        if dist.get_rank() == 0:
            state[name] = full.cpu()
    return state

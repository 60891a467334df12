"""One forward on two processes is that of one, and so are the gradients."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import load_file, save_file

from videosyn.core.errors import UserError
from videosyn.vdit.model import VDiT
from videosyn.vdit.presets import TINY
from videosyn.vdit.sharding import Sharding, _shares


def gradients(model: VDiT, inputs: dict[str, torch.Tensor], processes: int) -> dict[str, torch.Tensor]:
    """Of a loss in which every number of the result counts otherwise; text counts as a weight."""
    text = inputs["text"].clone().requires_grad_()
    result = model(**{**inputs, "text": text})
    weights = torch.linspace(-1, 1, result.numel()).view_as(result)
    model.zero_grad()
    ((result * weights).square().mean() / processes).backward()
    found = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    return {**found, "text": text.grad}


def run_process(rank: int, folder: Path) -> None:
    """Weights and inputs come by file: those handed over by spawning need descriptors, which a long run may lack."""
    torch.set_num_threads(1)
    model = VDiT(TINY).eval()
    model.load_state_dict(load_file(folder / "weights.safetensors"))
    inputs = load_file(folder / "inputs.safetensors")
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    with torch.inference_mode():
        whole = model(**inputs)
        model.process_group = dist.group.WORLD
        save_file({"whole": whole, "shared": model(**inputs)}, folder / f"{rank}.safetensors")
    save_file(gradients(model, inputs, 2), folder / f"gradients-{rank}.safetensors")
    model.process_group = None
    save_file(gradients(model, inputs, 1), folder / "gradients.safetensors") if rank == 0 else None
    with pytest.raises(UserError, match="2 processes need at least as many latent frames and places"):
        Sharding(dist.group.WORLD, 1, 6)
    dist.destroy_process_group()


@pytest.mark.parametrize("timestep", [None, torch.linspace(0, 900, 6).view(2, 3)], ids=["per clip", "per frame"])
def test_two_processes_give_what_one_gives(model, inputs, tmp_path, timestep):
    """3 frames and 2 x 3 places, so that the frames do not divide evenly."""
    if timestep is not None:
        inputs["timestep"] = timestep
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    save_file(inputs, tmp_path / "inputs.safetensors")
    mp.spawn(run_process, (tmp_path,), nprocs=2)
    for rank in range(2):
        found = load_file(tmp_path / f"{rank}.safetensors")
        torch.testing.assert_close(found["shared"], found["whole"], rtol=0, atol=1e-5)
        assert found["whole"].std() > 0.01
    one = load_file(tmp_path / "gradients.safetensors")
    parts = [load_file(tmp_path / f"gradients-{rank}.safetensors") for rank in range(2)]
    assert len(one) > 40
    for name, gradient in one.items():
        added = parts[0][name] + parts[1][name]
        torch.testing.assert_close(added, gradient, rtol=1e-4, atol=1e-5 * gradient.abs().max().item(), msg=name)


def test_shares_are_as_even_as_they_can_be():
    assert sorted(_shares(7, 3)) == [2, 2, 3]
    assert all(sum(_shares(count, parts)) == count for count in range(1, 20) for parts in range(1, 8))
    assert all(max(_shares(count, 4)) - min(_shares(count, 4)) <= 1 for count in range(4, 30))

"""Open-Sora 1.1's STDiT2, reproduced with `legacy_stdit2`.

golden/stdit2_tiny.safetensors holds a tiny random STDiT2 under STDiT2's own names (fp16, exact in fp32), its inputs and
its outputs, plain and with a given first frame. It was written by `write_golden` below, at a time when the same code
reproduced a model and outputs of the original implementation to 1e-6 in fp32.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from videosyn.convert.transformer import ORIGINAL
from videosyn.core.model_folder import load_strict
from videosyn.vdit.config import VDiTConfig
from videosyn.vdit.model import VDiT

GOLDEN = Path(__file__).parent / "golden" / "stdit2_tiny.safetensors"
CONFIG = VDiTConfig(
    latent_channels=4,
    out_channels=8,
    text_width=16,
    width=24,
    depth=2,
    num_heads=2,
    frame_count_conditioning=True,
    fps_conditioning=True,
    size_conditioning=True,
    legacy_stdit2=True,
    null_text_tokens=6,
    base_size_px=8,
)


def our_name(key: str) -> str:
    for theirs, ours in ORIGINAL:
        key = key.replace(theirs, ours)
    return key


def their_name(key: str) -> str:
    for theirs, ours in reversed(ORIGINAL):
        key = key.replace(ours, theirs)
    return key


def run(model: VDiT, tensors: dict[str, torch.Tensor], given: torch.Tensor | None) -> torch.Tensor:
    timestep = tensors["timestep"]
    if given is not None:
        timestep = timestep[:, None].masked_fill(given, 0)
    with torch.no_grad():
        return model(tensors["x"], timestep, tensors["y"], tensors["mask"].bool(), fps=tensors["fps"])


def test_legacy_vdit_reproduces_stdit2():
    tensors = load_file(GOLDEN)
    model = VDiT(CONFIG)
    state = {our_name(key[6:]): value.float() for key, value in tensors.items() if key.startswith("model.")}
    load_strict(model, state, GOLDEN)
    torch.testing.assert_close(run(model, tensors, None), tensors["output"], rtol=0, atol=1e-4)
    given = tensors["given"].bool()
    torch.testing.assert_close(run(model, tensors, given), tensors["output_given"], rtol=0, atol=1e-4)


def test_an_stdit2_has_names_for_all_that_a_vdit_has():
    keys = list(VDiT(CONFIG).state_dict())
    assert [our_name(their_name(key)) for key in keys] == keys
    assert len({their_name(key) for key in keys}) == len(keys)


def write_golden() -> None:
    torch.manual_seed(0)
    model = VDiT(CONFIG)
    with torch.no_grad():
        for value in model.state_dict().values():
            value.add_(0.2 * torch.randn_like(value)).copy_(value.half())
    tensors = {
        "x": torch.randn(2, 4, 5, 4, 6),
        "timestep": torch.tensor([37.0, 801.0]),
        "y": torch.randn(2, 6, 16),
        "mask": torch.tensor([[1] * 4 + [0] * 2, [1] * 6]),
        "fps": torch.tensor([24.0, 8.0]),
        "given": torch.tensor([[1, 0, 0, 0, 0], [1, 1, 0, 0, 0]]),
    }
    outputs = {"output": run(model, tensors, None), "output_given": run(model, tensors, tensors["given"].bool())}
    weights = {f"model.{their_name(key)}": value.half() for key, value in model.state_dict().items()}
    GOLDEN.parent.mkdir(exist_ok=True)
    save_file({**weights, **tensors, **outputs}, GOLDEN)


if __name__ == "__main__":
    write_golden()

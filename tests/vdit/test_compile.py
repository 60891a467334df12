"""torch.compile meets no graph break: with `fullgraph` one would be an error. Traced only, not translated: seconds."""

from dataclasses import replace

import pytest
import torch

from videosyn.vdit.presets import TINY

OURS = replace(TINY, depth=2, qk_norm="rms", size_conditioning=True, frame_positions=True)
STDIT2 = replace(
    TINY, depth=2, qk_norm="rms", size_conditioning=True, frame_count_conditioning=True, fps_conditioning=True
)
CONFIGS = {"ours": OURS, "legacy_stdit2": replace(STDIT2, legacy_stdit2=True)}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("gradients", [True, False], ids=["with_gradients", "without"])
@pytest.mark.parametrize("per_frame", [False, True], ids=["one_time", "a_time_a_frame"])
def test_the_whole_forward_is_one_graph(make_model, inputs, config, gradients, per_frame, monkeypatch):
    monkeypatch.setattr("videosyn.vdit.cost.TOKENS_AT_ONCE", {"cpu": 12})  # sampling goes in parts
    model = make_model(config)
    if config.fps_conditioning:
        inputs["fps"] = torch.tensor([8.0, 24.0])
    if per_frame:
        inputs["timestep"] = torch.tensor([[0.0, 450.0, 900.0], [300.0, 0.0, 600.0]])
        inputs["height_width"] = torch.tensor([[32.0, 48.0], [64.0, 96.0]])
    torch.compiler.reset()
    with torch.set_grad_enabled(gradients):
        out, traced = model(**inputs), torch.compile(model, fullgraph=True, backend="eager")(**inputs)
        torch.testing.assert_close(traced, out, rtol=1e-4, atol=1e-5)
        if gradients:
            weight = model.patch_embedder.weight
            [slope], [traced_slope] = (torch.autograd.grad(each.square().sum(), weight) for each in (out, traced))
            torch.testing.assert_close(traced_slope, slope, rtol=1e-3, atol=1e-4)

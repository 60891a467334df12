"""torch.compile meets no graph break: with `fullgraph` one would be an error. Traced only, not translated: seconds."""

from dataclasses import replace

import pytest
import torch

from videosyn.vdit.presets import TINY


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("per_frame", [False, True])
def test_the_whole_forward_is_one_graph(make_model, inputs, training, per_frame, monkeypatch):
    monkeypatch.setattr("videosyn.vdit.cost.TOKENS_AT_ONCE", {"cpu": 12})  # sampling goes in parts
    model = make_model(replace(TINY, depth=1, qk_norm="rms", size_conditioning=True, frame_positions=True))
    if per_frame:
        inputs["timestep"] = torch.linspace(0, 900, 6).view(2, 3)
        inputs["height_width"] = torch.tensor([[32.0, 48.0], [64.0, 96.0]])
    torch.compiler.reset()
    with torch.set_grad_enabled(training):
        traced = torch.compile(model, fullgraph=True, backend="eager")
        torch.testing.assert_close(traced(**inputs), model(**inputs), rtol=1e-4, atol=1e-5)

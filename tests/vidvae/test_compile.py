"""torch.compile meets no graph break: with `fullgraph` one would be an error. Traced only, not translated: seconds."""

from dataclasses import replace

import pytest
import torch

from videosyn.vidvae.config import VidVAEConfig
from videosyn.vidvae.model import VidVAE

SMALL = VidVAEConfig(
    encoder_widths=(4, 8),
    encoder_blocks=(1, 1),
    decoder_widths=(4, 8),
    decoder_blocks=(1, 1),
    time_taps=(3, 3),
    second_time_taps=(3, 3),
    time_halvings=1,
    norm_groups=2,
    middle_attention=False,
)


@pytest.mark.slow
@pytest.mark.parametrize("middle_attention", [False, True], ids=["plain", "attention"])
@pytest.mark.parametrize("gradients", [False, True], ids=["without", "with_gradients"])
@pytest.mark.parametrize("half", ["encode", "decode"])
def test_each_half_is_one_graph(make_video, half, gradients, middle_attention):
    torch.manual_seed(0)
    vae, video = VidVAE(replace(SMALL, middle_attention=middle_attention)).eval(), make_video(3)
    given = video if half == "encode" else vae.encode(video).detach()
    weight = vae.encoder.conv_in.weight if half == "encode" else vae.decoder.conv_in.weight
    torch.compiler.reset()
    with torch.set_grad_enabled(gradients):
        function = getattr(vae, half)
        out, traced = function(given), torch.compile(function, fullgraph=True, backend="eager")(given)
        torch.testing.assert_close(traced, out, rtol=1e-4, atol=1e-5)
        if gradients:
            [slope], [traced_slope] = (torch.autograd.grad(each.square().sum(), weight) for each in (out, traced))
            torch.testing.assert_close(traced_slope, slope, rtol=1e-3, atol=1e-4)

"""torch.compile meets no graph break: with `fullgraph` one would be an error. Traced only, not translated: seconds."""

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
@pytest.mark.parametrize("what", ["encode with gradients", "decode without"])
def test_each_half_is_one_graph(make_video, what):
    vae, video = VidVAE(SMALL).eval(), make_video(3)
    torch.compiler.reset()
    with torch.set_grad_enabled(what.endswith("gradients")):
        half, given = (vae.encode, video) if what.startswith("encode") else (vae.decode, vae.encode(video).detach())
        traced = torch.compile(half, fullgraph=True, backend="eager")
        torch.testing.assert_close(traced(given), half(given), rtol=1e-4, atol=1e-5)

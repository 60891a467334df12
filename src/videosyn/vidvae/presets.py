"""The sizes of VidVAE. Next on the path: `model.py`.

What short runs on the world's clips showed (150 steps of 4 crops 17x64x64, one seed each, rates held for half and then
falling, a decoder of 48 channels at the finest scale where nano has 32): with Muon at 1e-2 on torch.optim.Muon's
"original" scale for kernels and AdamW at 2e-3 for the rest (outer layers, norms, biases), 20.13 dB on 16 clips;
with narrower, more blocks at the coarsest scale 20.24 dB for 7 % more decoder arithmetic; with time seen at the finest
scale instead of the middle one 20.10 dB. Differences this small are within what a seed may change.
"""

from __future__ import annotations

from videosyn.vidvae.config import VidVAEConfig

XL = VidVAEConfig()
"""The paper's: the SD image VAE (128, 256, 512, 512) inflated, 4 latent channels, 4x8x8."""

NANO = VidVAEConfig(
    latent_channels=16,
    patch_size=2,
    encoder_widths=(32, 64, 128),
    encoder_blocks=(1, 1, 2),
    decoder_widths=(32, 96, 160),
    decoder_blocks=(1, 2, 2),
    time_taps=(1, 3, 3),
    second_time_taps=(1, 1, 1),
    norm="channel",
    norm_out=False,
    resample="shuffle",
    middle_attention=False,
    zero_residuals=True,
    logvar_bias=-5.0,
)
"""What examples/train_nano.sh trains, for CPUs: 16 latent channels, 4x8x8. (The shipped one has its own config.)"""

TINY = VidVAEConfig(
    latent_channels=4,
    patch_size=2,
    encoder_widths=(8, 16, 16),
    encoder_blocks=(1, 1, 1),
    decoder_widths=(8, 16, 16),
    decoder_blocks=(1, 1, 1),
    time_taps=(3, 3, 3),
    second_time_taps=(1, 1, 1),
    norm="channel",
    resample="shuffle",
    middle_attention=False,
    logvar_bias=-5.0,
)
"""For tests."""

"""The named sizes. Torch-free."""

from __future__ import annotations

import dataclasses

from videosyn.vdit.config import VDiTConfig

TINY = VDiTConfig(
    latent_channels=4,
    text_width=16,
    width=48,
    depth=2,
    num_heads=2,
    activation="gelu",
    qk_norm="layer",
    frame_count_conditioning=True,
)
"""for tests"""

NANO = VDiTConfig(
    latent_channels=16,
    text_width=192,
    width=256,
    depth=6,
    num_heads=4,
    activation="gelu",
    qk_norm="layer",
    frame_count_conditioning=True,
    frame_positions=True,
)
"""shipped in the package; trains on two CPU cores"""

NANO_MAP = dataclasses.replace(NANO, map_channels=40)
"""nano that denoises a map of which thing lies where beside the latents, `world.maps`"""

NANO_320 = dataclasses.replace(NANO, width=320, num_heads=5)
"""nano as an accelerator trains it: in int8, with its VidVAE in bf16, 24.2 MB, more than the 24 that ship"""

SMALL = VDiTConfig(
    latent_channels=16,
    text_width=1024,
    width=768,
    depth=16,
    num_heads=12,
    frame_count_conditioning=True,
    frame_positions=True,
    fps_conditioning=True,
    size_conditioning=True,
)
"""one GPU; text features of T5-large's width"""

XL = VDiTConfig(
    latent_channels=4,
    out_channels=8,
    text_width=4096,
    width=1152,
    depth=28,
    num_heads=16,
    frame_count_conditioning=True,
    fps_conditioning=True,
    size_conditioning=True,
    null_text_tokens=250,
)
"""the paper's: 28 blocks, width 1152, 16 heads, T5-XXL's features; noise and variance come out"""

PRESETS = {"tiny": TINY, "nano": NANO, "nano_map": NANO_MAP, "nano_320": NANO_320, "small": SMALL, "xl": XL}

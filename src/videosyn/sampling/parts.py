"""Whether a pipeline's parts belong together: asked by both pipelines as they are put together."""

from __future__ import annotations

from videosyn.core.errors import UserError


def check_parts(vae_channels: int, vdit_channels: int, encoder_width: int | None, text_width: int) -> None:
    """Raises UserError unless latents have the channels that VAE and VDiT both mean (a VDiT's map comes on top of
    them) and the text is as wide as the VDiT reads it. encoder_width: None where the text encoder does not say.
    """
    if vae_channels != vdit_channels:
        raise UserError(
            f"the VAE has {vae_channels} latent channels, the VDiT {vdit_channels}: use the VAE it was trained with"
        )
    if encoder_width not in (None, text_width):
        raise UserError(
            f"the text encoder is {encoder_width} wide, the VDiT reads {text_width}: use the one it was trained with"
        )

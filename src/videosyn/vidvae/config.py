"""What distinguishes one VidVAE from another. Torch-free. Next on the path: `model.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from videosyn.core.errors import UserError


@dataclass(frozen=True)
class VidVAEConfig:
    """A VidVAE from nano to the paper's size. Scales are listed from the finest (pixels) to the coarsest (latents).

    Every step from one scale to the next halves height and width; the first `time_halvings` also halve time.
    """

    latent_channels: int = 4
    """Channels Z of the latents."""
    patch_size: int = 1
    """Pixels a side folded into channels at the entrance and unfolded at the exit. 1: none."""
    encoder_widths: tuple[int, ...] = (128, 256, 512, 512)
    """Channels of the encoder at each scale."""
    encoder_blocks: tuple[int, ...] = (2, 2, 2, 2)
    """Residual blocks of the encoder at each scale."""
    decoder_widths: tuple[int, ...] = (128, 256, 512, 512)
    """Channels of the decoder at each scale."""
    decoder_blocks: tuple[int, ...] = (3, 3, 3, 3)
    """Residual blocks of the decoder at each scale."""
    time_taps: tuple[int, ...] = (3, 3, 3, 3)
    """Frames (this and those before) that the first convolution of a block sees, at each scale. 1: a frame alone."""
    second_time_taps: tuple[int, ...] = (3, 3, 3, 3)
    """The same for the second convolution of a block."""
    time_halvings: int = 2
    """Steps, from the finest scale on, that also halve time. 0: an image VAE, frame by frame."""
    norm: Literal["group", "channel"] = "group"
    """`group`: GroupNorm over each frame. `channel`: over the channels of each position alone."""
    norm_groups: int = 32
    """Groups of the GroupNorm."""
    norm_out: bool = True
    """Whether encoder and decoder normalise before their last convolution. Over few channels that loses amplitude."""
    resample: Literal["pool", "shuffle"] = "pool"
    """Between scales. `pool`: the image VAE's strided convolution, then average pooling in time; nearest neighbours
    upwards. `shuffle`: convolutions around space-and-time-to-depth shortcuts, lossless where the widths allow."""
    middle_attention: bool = True
    """Whether the coarsest scale has two more blocks with an attention over each frame between them."""
    zero_residuals: bool = False
    """Whether residual branches start at zero."""
    logvar_bias: float = 0.0
    """First value of the posterior's log-variance."""
    latents_mean: tuple[float, ...] = ()
    """Mean of each raw latent channel over the training set; empty: zeros."""
    latents_std: tuple[float, ...] = ()
    """Standard deviation of each raw latent channel over the training set; empty: ones."""

    def __post_init__(self) -> None:
        scales = len(self.encoder_widths)
        if not 0 <= self.time_halvings < scales:
            raise UserError(
                f"time_halvings must lie in 0 to {scales - 1}, the steps between {scales} scales, "
                f"got {self.time_halvings}: add widths"
            )
        for name in ("encoder_blocks", "decoder_widths", "decoder_blocks", "time_taps", "second_time_taps"):
            if len(getattr(self, name)) != scales:
                raise UserError(f"{name} must have one value a scale ({scales}), got {len(getattr(self, name))}")
        if min(self.time_taps + self.second_time_taps) < 1:
            raise UserError(f"time_taps must be at least 1, got {min(self.time_taps + self.second_time_taps)}: use 3")
        if min(self.latent_channels, self.patch_size) < 1:
            raise UserError("latent_channels and patch_size must be at least 1")
        if self.norm_groups < 1:
            raise UserError(f"norm_groups must be at least 1, got {self.norm_groups}: use 32")
        for name in ("encoder_widths", "decoder_widths"):
            for width in getattr(self, name) if self.norm == "group" else ():
                if width % self.norm_groups:
                    raise UserError(f"{name} must be multiples of norm_groups {self.norm_groups}, got {width}")
        for name in ("latents_mean", "latents_std"):
            if len(getattr(self, name)) not in (0, self.latent_channels):
                raise UserError(
                    f"{name} must have {self.latent_channels} values or none, got {len(getattr(self, name))}"
                )
        if any(std <= 0 for std in self.latents_std):
            raise UserError(f"latents_std must be positive, got {min(self.latents_std)}")

    @property
    def time_factor(self) -> int:
        """Frames a latent frame stands for (the first stands for one)."""
        return 2**self.time_halvings

    @property
    def space_factor(self) -> int:
        """Pixels a side that a latent position stands for."""
        return self.patch_size * 2 ** (len(self.encoder_widths) - 1)

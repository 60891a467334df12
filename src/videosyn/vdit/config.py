"""What distinguishes one VDiT from another. Torch-free, so that a command can show it without loading torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from videosyn.core.errors import UserError


@dataclass(frozen=True)
class VDiTConfig:
    """A VDiT's shape and options. The defaults are those of new models; `presets.py` has the named sizes."""

    latent_channels: int
    """Z, channels of the latents that come in"""
    text_width: int
    """E, width of the text features that come in"""
    width: int
    """C, width of the tokens"""
    depth: int
    """number of blocks"""
    num_heads: int
    """attention heads; width / num_heads must be even, for RoPE"""
    out_channels: int | None = None
    """channels that go out; None: latent_channels. A model with learned variance has twice as many"""
    patch_size: int = 2
    """latent pixels to a token, along height and along width; never along time"""
    mlp_ratio: int = 4
    """width of the feed-forward's middle, in widths"""
    activation: Literal["gelu", "gelu_tanh"] = "gelu_tanh"
    """feed-forward's nonlinearity; PixArt's is gelu_tanh, whose bfloat16 form is four times slower on CPUs"""
    qk_norm: Literal["none", "rms", "layer"] = "rms"
    """norm of queries and keys in self-attention; `layer` is the fast one on CPUs"""
    frame_count_conditioning: bool = False
    """temporal modulation knows the number of frames"""
    fps_conditioning: bool = False
    """temporal modulation knows the frames per second; callers must then give them"""
    size_conditioning: bool = False
    """spatial modulation knows height, width and aspect ratio in pixels"""
    frame_positions: bool = False
    """tokens are told their frame's place in the clip at the input; the paper leaves time to RoPE alone"""
    legacy_stdit2: bool = False
    """computes as Open-Sora 1.1's STDiT2: RoPE before the q/k norm, and its final layer"""
    map_channels: int = 0
    """channels beside the latents, in and out: a map of what lies where, denoised along with them and then left out.
    A model that also says what it paints learns faster to paint it (ReDi, arXiv 2504.16064)"""
    null_text_tokens: int = 0
    """rows of the stored caption that stands for "no caption"; 0: the text encoder brings its own"""
    rope_theta: float = 1e4
    """slowest wavelength of the temporal RoPE, in latent frames / 2 pi"""
    space_factor: int = 8
    """pixels to a latent pixel, along height and along width"""
    time_factor: int = 4
    """T = 1 + time_factor * (t - 1)"""
    base_size_px: int = 512
    """edge of the image whose tokens stand one apart in the position grid; sizes below stretch over the same grid"""

    def __post_init__(self) -> None:
        counts = ("latent_channels", "text_width", "width", "depth", "num_heads", "patch_size", "mlp_ratio")
        for name in (*counts, "base_size_px"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.width % (2 * self.num_heads):
            raise UserError(f"width must be a multiple of 2 * num_heads = {2 * self.num_heads}, got {self.width}")
        if self.width % 4:
            raise UserError(f"width must be a multiple of 4 for the 2-D positions, got {self.width}")
        if self.size_conditioning and self.width % 3:
            raise UserError(f"width must be a multiple of 3 for size_conditioning, got {self.width}")
        if self.legacy_stdit2 and self.qk_norm == "layer":
            raise UserError("legacy_stdit2 needs qk_norm 'rms' or 'none', got 'layer'")
        for name in ("null_text_tokens", "map_channels"):
            if getattr(self, name) < 0:
                raise UserError(f"{name} must be at least 0, got {getattr(self, name)}")
        if self.map_channels and self.out_channels is not None:
            raise UserError("map_channels are for models without learned variance: leave out_channels out")

    @property
    def head_width(self) -> int:
        return self.width // self.num_heads

    @property
    def num_in_channels(self) -> int:
        return self.latent_channels + self.map_channels

    @property
    def num_out_channels(self) -> int:
        return (self.out_channels or self.latent_channels) + self.map_channels

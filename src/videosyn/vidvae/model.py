"""VidVAE: video <-> latents, the same class from nano to the paper's size (section 3.1).

    T x H x W pixels -> t x h x w latents,  T = 1 + 4k,  t = 1 + k,  h = H / 8,  w = W / 8

Causal in time, every norm and attention inside one frame: past latents never depend on future frames, an image is a
video of one frame, and a long video in pieces gives what the whole gives. Next on the path: `streaming.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from einops import rearrange
from torch import Tensor, nn

from videosyn.core.errors import UserError
from videosyn.core.shapes import check_num_frames, check_size
from videosyn.vidvae import cost
from videosyn.vidvae.blocks import (
    FrameAttention,
    PoolDown,
    RepeatUp,
    ResBlock,
    ShuffleDown,
    ShuffleUp,
    active,
    make_norm,
)
from videosyn.vidvae.causal import CausalConv3d, CausalState
from videosyn.vidvae.config import VidVAEConfig
from videosyn.vidvae.posterior import Posterior
from videosyn.vidvae.streaming import decode_stream, encode_stream, split_frames


class Middle(nn.Module):
    """The coarsest scale's two blocks with an attention over each frame between them."""

    def __init__(self, config: VidVAEConfig, width: int, scale: int):
        super().__init__()
        self.block1 = ResBlock(config, width, width, scale)
        self.attention = FrameAttention(config, width)
        self.block2 = ResBlock(config, width, width, scale)

    def forward(self, x: Tensor, state: CausalState | None) -> Tensor:
        return self.block2(self.attention(self.block1(x, state)), state)


class Scale(nn.Module):
    """The blocks of one scale, and the step to the next scale if there is one."""

    def __init__(self, blocks: list[ResBlock], step: nn.Module | None):
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.step = step

    def forward(self, x: Tensor, state: CausalState | None) -> Tensor:
        return self.next_scale(self.through_blocks(x, state), state)

    def through_blocks(self, x: Tensor, state: CausalState | None) -> Tensor:
        for block in self.blocks:
            x = block(x, state)
        return x

    def next_scale(self, x: Tensor, state: CausalState | None) -> Tensor:
        return x if self.step is None else self.step(x, state)


class Encoder(nn.Module):
    """video (B, 3, T, H, W) -> moments (B, 2Z, t, h, w): means, then log-variances."""

    def __init__(self, config: VidVAEConfig):
        super().__init__()
        self.patch_size = config.patch_size
        widths, coarsest = config.encoder_widths, len(config.encoder_widths) - 1
        channels = 3 * config.patch_size**2
        self.conv_in = CausalConv3d(channels, widths[0], (config.time_taps[0], 3, 3), padding=1)
        self.scales = nn.ModuleList()
        width = widths[0]
        for scale in range(coarsest + 1):
            blocks = []
            for _ in range(config.encoder_blocks[scale]):
                blocks.append(ResBlock(config, width, widths[scale], scale))
                width = widths[scale]
            step = None
            if scale < coarsest and config.resample == "pool":
                step = PoolDown(width, time=scale < config.time_halvings)
            elif scale < coarsest:
                step = ShuffleDown(width, widths[scale + 1], time=scale < config.time_halvings)
                width = widths[scale + 1]
            self.scales.append(Scale(blocks, step))
        self.middle = Middle(config, width, coarsest) if config.middle_attention else None
        self.norm_out = make_norm(config, width) if config.norm_out else nn.Identity()
        self.conv_out = CausalConv3d(width, 2 * config.latent_channels, (config.time_taps[-1], 3, 3), padding=1)
        self.quant_conv = nn.Conv3d(2 * config.latent_channels, 2 * config.latent_channels, 1)
        nn.init.constant_(self.quant_conv.bias[config.latent_channels :], config.logvar_bias)  # pyright: ignore

    def forward(self, video: Tensor, state: CausalState | None = None) -> Tensor:
        patch = self.patch_size
        x = rearrange(video, "b c t (h p) (w q) -> b (c p q) t h w", p=patch, q=patch)  # (B, 3pp, T, H/p, W/p)
        x = _channels_last(x)
        x = self.conv_in(x, state)
        for scale in self.scales:
            x = scale(x, state)  # at last (B, C, t, h, w)
        if self.middle is not None:
            x = self.middle(x, state)
        x, room = active(self.norm_out, x, self.conv_out.room)
        x = self.conv_out(x, state, room)  # (B, 2Z, t, h, w)
        return self.quant_conv(x)


class Decoder(nn.Module):
    """raw latents (B, Z, t, h, w) -> video (B, 3, T, H, W)."""

    def __init__(self, config: VidVAEConfig):
        super().__init__()
        self.config, self.patch_size = config, config.patch_size
        widths, coarsest = config.decoder_widths, len(config.decoder_widths) - 1
        self.post_quant_conv = nn.Conv3d(config.latent_channels, config.latent_channels, 1)
        width = widths[-1]
        self.conv_in = CausalConv3d(config.latent_channels, width, (config.time_taps[-1], 3, 3), padding=1)
        self.middle = Middle(config, width, coarsest) if config.middle_attention else None
        scales = []
        for scale in reversed(range(coarsest + 1)):
            blocks = []
            for _ in range(config.decoder_blocks[scale]):
                blocks.append(ResBlock(config, width, widths[scale], scale))
                width = widths[scale]
            step = None
            if scale > 0 and config.resample == "pool":
                step = RepeatUp(width, time=scale <= config.time_halvings)
            elif scale > 0:
                step = ShuffleUp(width, widths[scale - 1], time=scale <= config.time_halvings)
                width = widths[scale - 1]
            scales.append(Scale(blocks, step))
        self.scales = nn.ModuleList(scales)  # from the coarsest to the finest
        self.norm_out = make_norm(config, width) if config.norm_out else nn.Identity()
        self.conv_out = CausalConv3d(width, 3 * config.patch_size**2, (config.time_taps[0], 3, 3), padding=1)

    def forward(self, raw: Tensor, state: CausalState | None = None) -> Tensor:
        patch = self.patch_size
        x = self.conv_in(self.post_quant_conv(_channels_last(raw)), state)  # (B, C, t, h, w)
        if self.middle is not None:
            x = self.middle(x, state)
        for scale in self.scales[:-2]:
            x = scale(x, state)
        if self.before_finest is not None:
            x = self.before_finest.through_blocks(x, state)
        if torch.is_grad_enabled() or self.before_finest is None:
            x = self._finest(x, state)
        else:  # causal: parts with a state give what the whole gives
            state = CausalState() if state is None else state
            batch, height, width = x.shape[0], x.shape[3], x.shape[4]
            at_once = cost.finest_frames(self.config, batch, height, width, x.element_size(), x.device.type)
            x = torch.cat([self._finest(part, state) for part in x.split(at_once, 2)], 2)
        return rearrange(x, "b (c p q) t h w -> b c t (h p) (w q)", p=patch, q=patch)  # (B, 3, T, H, W)

    @property
    def before_finest(self) -> Scale | None:
        """The last scale but one, where there is one: its step up goes with the finest scale, part by part."""
        scales = [scale for scale in self.scales if isinstance(scale, Scale)]
        return scales[-2] if len(scales) > 1 else None

    def _finest(self, x: Tensor, state: CausalState | None) -> Tensor:
        """The next to finest scale's result (B, C, T', H', W') -> (B, 3pp, T, H/p, W/p)."""
        if self.before_finest is not None:
            x = self.before_finest.next_scale(x, state)  # (B, C, T, H/p, W/p)
        x = self.scales[-1](x, state)
        x, room = active(self.norm_out, x, self.conv_out.room)
        return self.conv_out(x, state, room)


class VidVAE(nn.Module):
    """The video autoencoder. Videos are floats in [-1, 1]; latents are normalised per channel."""

    def __init__(self, config: VidVAEConfig):
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        for parameter in self.parameters():  # else each convolution of a call would reorder its weights
            if parameter.ndim == 5:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last_3d)

    @property
    def latent_channels(self) -> int:
        return self.config.latent_channels

    @property
    def time_factor(self) -> int:
        """Frames a latent frame stands for (the first stands for one): 4, or 1 for an image VAE."""
        return self.config.time_factor

    @property
    def space_factor(self) -> int:
        """Pixels a side that a latent position stands for."""
        return self.config.space_factor

    @property
    def piece_pixels(self) -> int:
        """Pixels (batch x frames x height x width) that are best encoded or decoded at once where the model lies."""
        parameter = self.decoder.conv_in.weight
        width = max(1, self.config.decoder_widths[0] // self.config.patch_size**2)
        return cost.PIECE_NUMBERS.get(parameter.device.type, cost.MOST_PIECE_NUMBERS) // width

    def posterior(self, video: Tensor) -> Posterior:
        """video (B, 3, T, H, W) in [-1, 1] -> the Gaussian over raw latents (B, Z, t, h, w).

        Raises UserError where T is not 1 + 4k or a size does not divide.
        """
        self.check_video(video)
        return self.posterior_piece(video)

    def posterior_piece(self, video: Tensor, state: CausalState | None = None) -> Posterior:
        """The same for a piece: 1 + 4k frames where `state` is new or None, 4k frames after that."""
        mean, logvar = self.encoder(video, state).chunk(2, 1)
        return Posterior(mean, logvar.clamp(-30.0, 20.0))

    def encode(
        self, video: Tensor, generator: torch.Generator | None = None, frames_per_piece: int | None = None
    ) -> Tensor:
        """video (B, 3, T, H, W) in [-1, 1] -> normalised latents (B, Z, t, h, w).

        With a `generator` a sample of the posterior, without one its mode. Videos of more than `frames_per_piece`
        frames (by default as many as fit `piece_pixels`) go through in pieces, with the same result.
        Raises UserError where T is not 1 + 4k or a size does not divide.
        """
        self.check_video(video)
        pieces = split_frames(video, frames_per_piece or self._frames_per_piece(video, 1))
        return torch.cat(list(encode_stream(self, pieces, generator)), 2)

    def decode(self, latents: Tensor, frames_per_piece: int | None = None) -> Tensor:
        """normalised latents (B, Z, t, h, w) -> video (B, 3, 1 + 4 (t - 1), H, W), about [-1, 1] but not clamped.

        Videos of more than `frames_per_piece` frames go through in pieces, as in `encode`.
        Raises UserError for latents of other channels.
        """
        return torch.cat(list(self.decode_pieces(latents, frames_per_piece)), 2)

    def decode_pieces(self, latents: Tensor, frames_per_piece: int | None = None) -> Iterator[Tensor]:
        """The same, a piece (B, 3, n, H, W) at a time, so that the video need not be there as a whole."""
        self.check_latents(latents)
        frames = frames_per_piece or self._frames_per_piece(latents, self.space_factor)
        return decode_stream(self, split_frames(latents, max(1, frames // self.time_factor)))

    def decode_raw(self, raw: Tensor, state: CausalState | None = None) -> Tensor:
        """raw latents (B, Z, t, h, w) -> video (B, 3, T, H, W); with `state`, a piece of it."""
        self.check_latents(raw)
        return self.decoder(raw, state)

    def normalise(self, raw: Tensor) -> Tensor:
        """raw latents -> latents: (raw - latents_mean) / latents_std, per channel."""
        return (raw - self._statistic("latents_mean", raw)) / self._statistic("latents_std", raw)

    def denormalise(self, latents: Tensor) -> Tensor:
        """latents -> raw latents."""
        return latents * self._statistic("latents_std", latents) + self._statistic("latents_mean", latents)

    def check_video(self, video: Tensor) -> None:
        """Raises UserError unless video is (B, 3, 1 + 4k, H, W) with H and W multiples of the space factor."""
        if video.ndim != 5 or video.shape[1] != 3:
            raise UserError(f"a video must be (batch, 3, frames, height, width), got {tuple(video.shape)}")
        check_num_frames(video.shape[2], self.time_factor)
        check_size(video.shape[3], video.shape[4], self.space_factor)

    def check_latents(self, latents: Tensor) -> None:
        """Raises UserError unless latents are (B, Z, t, h, w) with this VidVAE's Z."""
        channels = self.config.latent_channels
        if latents.ndim != 5 or latents.shape[1] != channels or not latents.shape[2]:
            raise UserError(
                f"latents must be (batch, {channels}, frames, height, width), got {tuple(latents.shape)}: "
                "use the VidVAE that made them"
            )

    def _frames_per_piece(self, x: Tensor, factor: int) -> int:
        """Frames that keep a piece of the batch below `piece_pixels`. x: pixels, or `factor` times coarser."""
        pixels_per_frame = x.shape[0] * x.shape[3] * x.shape[4] * factor**2
        return max(4, self.piece_pixels // pixels_per_frame)

    def _statistic(self, name: str, like: Tensor) -> Tensor | float:
        values = getattr(self.config, name)
        if not values:
            return 0.0 if name == "latents_mean" else 1.0
        return like.new_tensor(values).view(1, -1, 1, 1, 1)


def _channels_last(x: Tensor) -> Tensor:
    """Channels innermost: the layout that bf16 convolutions on CPUs, and channel norms, want."""
    return x.contiguous(memory_format=torch.channels_last_3d)

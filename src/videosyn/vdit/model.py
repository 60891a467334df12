"""VDiT, one class from nano to the paper's 731M (= 767,452,100 / 2^20). Paper section 3.2. Next: `block.py`."""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from videosyn.core.errors import UserError
from videosyn.vdit.block import Block, FeedForward, joined_parts, modulated_norm
from videosyn.vdit.config import VDiTConfig
from videosyn.vdit.embeddings import (
    Rope,
    ScalarEmbedder,
    frame_positions,
    kept,
    rope_frequencies,
    spatial_positions,
)
from videosyn.vdit.sharding import Sharding

LEAST_MAP_TIME = 0.02
"""Nearer to clean than this, a map's velocity is computed as at this time."""


class VDiT(nn.Module):
    """Noisy latents, their time and a text -> what the objective asks for (velocity, or noise)."""

    null_text: Tensor | None
    process_group: dist.ProcessGroup | None = None
    """Set: its processes, which are all given the same inputs, share the work of one forward (`sharding.py`)."""

    def __init__(self, config: VDiTConfig) -> None:
        super().__init__()
        self.config = config
        width, third = config.width, config.width // 3
        patch = (1, config.patch_size, config.patch_size)
        self.patch_embedder = nn.Conv3d(config.num_in_channels, width, patch, stride=patch)
        self.time_embedder = ScalarEmbedder(width)
        self.frame_count_embedder = ScalarEmbedder(width) if config.frame_count_conditioning else None
        self.fps_embedder = ScalarEmbedder(width) if config.fps_conditioning else None
        self.size_embedder = ScalarEmbedder(third) if config.size_conditioning else None
        self.aspect_embedder = ScalarEmbedder(third) if config.size_conditioning else None
        self.modulation = nn.Linear(width, 6 * width)
        self.temporal_modulation = nn.Linear(width, 3 * width)
        self.caption_projection = FeedForward(config.text_width, width, width)
        # Constants kept with the weights, because STDiT2 files carry them.
        self.rope_frequencies = nn.Parameter(rope_frequencies(config.head_width, config.rope_theta), False)
        self.blocks = nn.ModuleList([Block(config) for _ in range(config.depth)])
        self.final_table = nn.Parameter(torch.zeros(2, width))
        self.final = nn.Linear(width, config.patch_size**2 * config.num_out_channels)
        null = torch.randn(config.null_text_tokens, config.text_width) / config.text_width**0.5
        self.register_buffer("null_text", null if config.null_text_tokens else None)
        for layer in (self.modulation, self.temporal_modulation):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
        nn.init.xavier_uniform_(self.patch_embedder.weight.view(width, -1))
        nn.init.zeros_(self.final.weight)
        nn.init.zeros_(self.final.bias)

    def forward(
        self,
        latents: Tensor,
        timestep: Tensor,
        text: Tensor,
        text_mask: Tensor,
        fps: Tensor | None = None,
        height_width: Tensor | None = None,
        routed: Tensor | None = None,
    ) -> Tensor:
        """Latents (B, Z, t, h, w) -> (B, num_out_channels, t, h, w); with learned variance the first Z are the noise.

        With `map_channels` the latents' channels come first, then the map's, both in and out.

        timestep: (B,), or (B, t) where frames differ, in [0, 1000]; 0: a clean, given frame.
        text: (B, L, E) features; text_mask: (B, L) bool, False where padding; at least one True in a row.
        fps: (B,) frames per second, needed where the config conditions on them.
        height_width: (B, 2) pixels the latents stand for; default: their own size.
        routed: int64 (B, K), for training: the places among the S tokens of a frame that pass the middle blocks; the
        others go around them. K / S of these blocks' work, at no loss in what is learnt a step (TREAD, Krause et al.
        2025, arXiv 2501.04765). None: all.
        """
        config = self.config
        self._check(latents, timestep, text, text_mask, fps)
        batch, _, num_frames, height, width = latents.shape
        rows, columns = height // config.patch_size, width // config.patch_size
        dtype = self.final.weight.dtype
        tokens = self._patchify(latents.to(dtype))  # (B, t, S, C)
        if height_width is None:
            height_width = latents.new_tensor([[height, width]]).float() * config.space_factor
            height_width = height_width.expand(batch, 2)
            scale = (height * width) ** 0.5 * config.space_factor / config.base_size_px
            positions = kept(spatial_positions, rows, columns, config.width, scale, latents.device)  # (S, C)
        else:
            scale = height_width.float().prod(1).sqrt() / config.base_size_px
            positions = spatial_positions(rows, columns, config.width, scale, latents.device)[:, None]  # (B, 1, S, C)
        tokens = tokens + positions.to(dtype)
        if config.frame_positions:
            tokens = tokens + kept(frame_positions, num_frames, config.width, latents.device).to(dtype)[:, None]

        time = self.time_embedder(timestep.view(batch, -1))  # (B, 1 or t, C)
        spatial_condition = time + self._size_condition(height_width, time)
        temporal_condition = time + self._clock_condition(num_frames, fps, time)
        modulation = self.modulation(F.silu(spatial_condition)).unflatten(-1, (6, -1)).unsqueeze(2)
        temporal_modulation = self.temporal_modulation(F.silu(temporal_condition)).unflatten(-1, (3, -1)).unsqueeze(2)

        text = self.caption_projection(text.to(dtype))  # (B, L, C)
        bias = torch.zeros_like(text_mask, dtype=dtype).masked_fill(~text_mask, torch.finfo(dtype).min)[:, None, None]
        rope = Rope(self.rope_frequencies, num_frames, dtype)
        if self.process_group is None:
            around, middle = tokens, self.middle
            for index, block in enumerate(self.blocks):
                if routed is not None and index in middle and index == middle.start:
                    around, tokens = tokens, tokens.gather(2, _at(routed, tokens))
                tokens = block(tokens, modulation, temporal_modulation, rope, text, bias)
                if routed is not None and index in middle and index == middle.stop - 1:
                    tokens = around.scatter(2, _at(routed, around), tokens)
        else:
            sharding = Sharding(self.process_group, num_frames, rows * columns)
            modulation, temporal_modulation = map(sharding.own_frames, (modulation, temporal_modulation))
            tokens = sharding.own_frames(tokens)
            for block in self.blocks:
                tokens = block(tokens, modulation, temporal_modulation, rope, text, bias, sharding)
            tokens = sharding.gather(tokens)

        if config.legacy_stdit2:
            patches = self.final(self._legacy_final_norm(tokens, timestep.view(batch, -1), height_width))
        else:
            shift, scale = (self.final_table + spatial_condition[:, :, None, None]).unbind(dim=-2)
            patches = joined_parts(lambda *part: self.final(modulated_norm(*part)), tokens, shift, scale)
        out = rearrange(
            patches,
            "b t (h w) (p q z) -> b z t (h p) (w q)",
            h=rows,
            p=config.patch_size,
            q=config.patch_size,
        )
        return out if not config.map_channels else self._with_map_velocity(out, latents, timestep)

    @property
    def middle(self) -> range:
        """The blocks that tokens may be routed around: all but the first and the last sixth of them, one at least."""
        ends = max(1, self.config.depth // 6)
        return range(ends, max(ends, self.config.depth - ends))

    def null_features(self, batch: int) -> tuple[Tensor, Tensor]:
        """The stored "no caption": features (B, L, E) and mask (B, L). A UserError where the model has none."""
        if self.null_text is None:
            raise UserError("this VDiT stores no null caption (null_text_tokens is 0): take the text encoder's")
        features = self.null_text.expand(batch, -1, -1)
        return features, torch.ones(features.shape[:2], dtype=torch.bool, device=features.device)

    def _patchify(self, latents: Tensor) -> Tensor:
        """(B, Z, t, h, w) -> (B, t, S, C). The strided convolution as one product, which CPUs do faster."""
        patches = rearrange(
            latents, "b z t (h p) (w q) -> b t (h w) (z p q)", p=self.config.patch_size, q=self.config.patch_size
        )
        return F.linear(patches, self.patch_embedder.weight.flatten(1), self.patch_embedder.bias)

    def _size_condition(self, height_width: Tensor, like: Tensor) -> Tensor:
        """Height, width and aspect ratio (B, 2) -> (B, 1, C); zeros where the model does not ask for them."""
        if self.size_embedder is None or self.aspect_embedder is None:
            return like.new_zeros(1)
        size = self.size_embedder(height_width).flatten(1)  # (B, 2C/3)
        aspect = self.aspect_embedder(height_width[:, 0] / height_width[:, 1])  # (B, C/3)
        return torch.cat([size, aspect], dim=-1)[:, None]

    def _clock_condition(self, num_latent_frames: int, fps: Tensor | None, like: Tensor) -> Tensor:
        """Number of pixel frames, and frames per second (B,) -> (B or 1, 1, C); zeros where not asked for."""
        condition = like.new_zeros(1, 1, 1)
        if self.frame_count_embedder is not None:
            num_frames = 1 + self.config.time_factor * (num_latent_frames - 1)
            condition = condition + self.frame_count_embedder(torch.full((1, 1), num_frames, device=like.device))
        if self.fps_embedder is not None:
            assert fps is not None  # checked on entry
            condition = condition + self.fps_embedder(fps[:, None])
        return condition

    def _final_norm(self, tokens: Tensor, condition: Tensor) -> Tensor:
        """Tokens (B, t, S, C) normalised and modulated by the final table plus condition (B, 1 or t, C)."""
        shift, scale = (self.final_table + condition[:, :, None, None]).unbind(dim=-2)
        return modulated_norm(tokens, shift, scale)

    def _legacy_final_norm(self, tokens: Tensor, timestep: Tensor, height_width: Tensor) -> Tensor:
        """As STDiT2: conditioned on time alone; given frames are normalised a second time, with time 0 and size."""
        latest = timestep.amax(dim=1, keepdim=True)
        normal = self._final_norm(tokens, self.time_embedder(latest))
        if timestep.shape[1] == 1:
            return normal
        zero = self.time_embedder(torch.zeros_like(latest))
        given = self._final_norm(normal, zero + self._size_condition(height_width, zero))
        return torch.where((timestep == 0)[:, :, None, None], given, normal)

    def _with_map_velocity(self, out: Tensor, latents: Tensor, timestep: Tensor) -> Tensor:
        """The blocks' map is the clean one, which is smooth and easily said; the flow asks for its velocity, which is
        (noisy - clean) / time. `out` and `latents` with the map's channels last.
        """
        first = -self.config.map_channels
        time = (timestep / 1000).clamp(min=LEAST_MAP_TIME).view(len(out), 1, -1, 1, 1)
        velocity = (latents[:, first:].float() - out[:, first:].float()) / time
        return torch.cat([out[:, :first], velocity.to(out.dtype)], 1)

    def _check(self, latents: Tensor, timestep: Tensor, text: Tensor, mask: Tensor, fps: Tensor | None) -> None:
        config = self.config
        batch, channels, num_frames, height, width = latents.shape
        if channels != config.num_in_channels:
            raise UserError(f"latents must have {config.num_in_channels} channels, got {channels}")
        if height % config.patch_size or width % config.patch_size:
            raise UserError(f"latent height and width must be multiples of {config.patch_size}, got {height}x{width}")
        if timestep.shape not in ((batch,), (batch, num_frames)):
            raise UserError(f"timestep must be ({batch},) or ({batch}, {num_frames}), got {tuple(timestep.shape)}")
        if text.shape[-1] != config.text_width or mask.shape != text.shape[:2] or len(text) != batch:
            raise UserError(
                f"text must be ({batch}, L, {config.text_width}) with a mask ({batch}, L), "
                f"got {tuple(text.shape)} and {tuple(mask.shape)}"
            )
        if config.fps_conditioning and fps is None:
            raise UserError("this VDiT is conditioned on frames per second: give fps")


def _at(places: Tensor, tokens: Tensor) -> Tensor:
    """Places (B, K) of tokens (B, t, S, C) as an index (B, t, K, C)."""
    return places[:, None, :, None].expand(-1, tokens.shape[1], -1, tokens.shape[3])

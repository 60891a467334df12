"""What decoding with a VidVAE costs: the layers a piece passes through, and bytes alive at once. Torch-free.

Follows `blocks.py` and `upsampling.py` layer by layer. Used by `sampling/footprint.py` for memory and by
`sampling/duration.py` for time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from videosyn.vidvae.config import VidVAEConfig

PIECE_NUMBERS = {"cpu": 2**23}
"""Numbers (batch x frames x height x width x channels) at the finest scale that pass through at once, by device: on
CPUs as many as memory hands out again without clearing it."""
MOST_PIECE_NUMBERS = 2**29
"""The same on other devices: 4 frames of 720p at the paper's size."""
FINEST_BYTES = {"cpu": 2**24}
"""Of one tensor at a decoder's finest scale, by device: a piece with more goes through that scale in parts."""
MOST_FINEST_BYTES = 2**29
"""The same on other devices: 2 frames of 720p at the paper's size."""
NUMBERS_AT_ONCE = 2**21
"""Numbers that are made on the way at once: few enough that the C runtime hands the same memory out again, while pages
new to the process would have to be cleared first."""
FEWEST_TILED_PIXELS = 4096
"""Of all frames of a piece, from which on fp32 convolutions on CPUs go by tiles (`winograd.py`): fewer do not pay for
the kernels' change of basis."""
FEWEST_TILED_CHANNELS = 64
"""The same of channels that come in and go out: fewer do not pay for the pixels'."""
CPU_FRAGMENTS = 1.25
"""Of what is alive, what the C runtime holds: tensors of some megabytes leave gaps between those that stay."""


@dataclass(frozen=True)
class Layer:
    """A part of a decoder, and what passes through it at once in the steady state of a stream."""

    name: str
    """its place in the decoder, as `named_modules` has it"""
    kind: Literal["block", "attention", "up", "conv"]
    width: int
    """channels that come in"""
    out_width: int
    frames: int
    """that come in at once"""
    times: int
    """it is called so often for a piece"""
    height: int
    width_px: int
    """positions of a frame that come in"""
    taps: tuple[int, int] = (1, 1)
    """of its first and second convolution, in time"""
    doubles_time: bool = False

    @property
    def positions(self) -> int:
        """Of a frame."""
        return self.height * self.width_px


def by_tiles(layer: Layer, number_bytes: int, device: str) -> bool:
    """Whether its convolutions go by tiles."""
    wide = min(layer.width, layer.out_width) >= FEWEST_TILED_CHANNELS
    large = layer.frames * layer.positions >= FEWEST_TILED_PIXELS
    return device == "cpu" and number_bytes == 4 and layer.kind in ("block", "conv") and wide and large


def piece_frames(config: VidVAEConfig, batch: int, height: int, width: int, device: str) -> int:
    """Latent frames that are decoded at once, of videos of `height` x `width` pixels."""
    finest = max(1, config.decoder_widths[0] // config.patch_size**2)
    frames = PIECE_NUMBERS.get(device, MOST_PIECE_NUMBERS) // finest // (batch * height * width)
    return max(1, max(4, frames) // config.time_factor)


def finest_frames(config: VidVAEConfig, batch: int, height: int, width: int, number_bytes: int, device: str) -> int:
    """Frames of the next to finest scale, `height` x `width` positions there, that go on to the finest at once."""
    frame_bytes = batch * 4 * height * width * config.decoder_widths[0] * number_bytes
    most = FINEST_BYTES.get(device, MOST_FINEST_BYTES)
    return max(1, most // frame_bytes // (2 if config.time_halvings else 1))


def decoder_layers(
    config: VidVAEConfig, latent_frames: int, batch: int, height: int, width: int, number_bytes: int, device: str
) -> Iterator[Layer]:
    """What a piece of so many latent frames, of videos of `height` x `width` pixels, passes through, in order."""
    coarsest = len(config.decoder_widths) - 1
    frames, times = latent_frames, 1
    rows, columns = height // config.space_factor, width // config.space_factor
    now = config.decoder_widths[-1]
    yield Layer("conv_in", "conv", config.latent_channels, now, frames, times, rows, columns, (config.time_taps[-1], 1))
    taps = (config.time_taps[-1], config.second_time_taps[-1])
    if config.middle_attention:
        yield Layer("middle.block1", "block", now, now, frames, times, rows, columns, taps)
        yield Layer("middle.attention", "attention", now, now, frames, times, rows, columns)
        yield Layer("middle.block2", "block", now, now, frames, times, rows, columns, taps)
    for number, scale in enumerate(reversed(range(coarsest + 1))):
        taps = (config.time_taps[scale], config.second_time_taps[scale])
        for block in range(config.decoder_blocks[scale]):
            after = config.decoder_widths[scale]
            name = f"scales.{number}.blocks.{block}"
            yield Layer(name, "block", now, after, frames, times, rows, columns, taps)
            now = after
        if scale == 0:
            continue
        if scale == 1:
            at_once = min(frames, finest_frames(config, batch, rows, columns, number_bytes, device))
            times, frames = -(-frames // at_once), at_once
        after = config.decoder_widths[scale - 1] if config.resample == "shuffle" else now
        doubles = scale <= config.time_halvings
        name = f"scales.{number}.step"
        yield Layer(name, "up", now, after, frames, times, rows, columns, doubles_time=doubles)
        now, frames, rows, columns = after, frames * (2 if doubles else 1), 2 * rows, 2 * columns
    pixels = 3 * config.patch_size**2
    yield Layer("conv_out", "conv", now, pixels, frames, times, rows, columns, (config.time_taps[0], 1))


def decoder_bytes(
    config: VidVAEConfig, latent_frames: int, batch: int, height: int, width: int, number_bytes: int, device: str
) -> int:
    """Alive at the peak while pieces of so many latent frames are decoded, beside the weights and the result."""
    on_cpu = device == "cpu"
    layers = list(decoder_layers(config, latent_frames, batch, height, width, number_bytes, device))
    tensor = batch * number_bytes
    kept = working = activations = waiting = shared = 0
    for layer in layers:
        frame_in, frame_out = (tensor * layer.positions * each for each in (layer.width, layer.out_width))
        come = layer.frames * frame_in
        if layer.name == f"scales.{len(config.decoder_widths) - 2}.step":
            waiting = layer.times * come  # the next to finest scale's result, while parts of it go on
        past = [each - 1 for each in layer.taps]
        if layer.kind == "block":
            kept += past[0] * frame_in + past[1] * frame_out
            first, second = (past[0] + layer.frames) * frame_in, (past[1] + layer.frames) * frame_out
            made = layer.frames * frame_out
            active = max(first, second)
            norm = 2 * max(tensor * layer.positions * layer.width, min(come, NUMBERS_AT_ONCE * number_bytes))
            if on_cpu:  # activations lie in memory that all layers share
                need, activations = come + made + norm, max(activations, active)
            else:
                shortcut = made if layer.width != layer.out_width else 0
                need = come + max(first + made, second + 2 * made, shortcut + 2 * made) + norm
        elif layer.kind == "up" and config.resample == "pool":
            sums = 64 if layer.doubles_time else 48
            kernels = sums * layer.width * layer.out_width * number_bytes
            phases = 8 if layer.doubles_time else 4
            kept += (1 if layer.doubles_time else 2) * frame_in + (kernels if number_bytes < 4 else 0)
            need = 2 * come + (phases + 1) * layer.frames * frame_out + kernels // phases
        elif layer.kind == "up":
            need = come + 2 * (8 if layer.doubles_time else 4) * layer.frames * frame_out
        elif layer.kind == "attention":
            need = 6 * come
        else:
            kept += past[0] * frame_in
            need = come + 2 * (past[0] + layer.frames) * frame_in
        if by_tiles(layer, number_bytes, device):
            tiles = -(-layer.height // 4) * -(-layer.width_px // 4)
            strip = min(NUMBERS_AT_ONCE, 36 * tiles * max(layer.width, layer.out_width))
            shared = max(shared, 6 * strip * number_bytes)  # strips of tiles, in memory that all layers share
            need += layer.taps[0] * (36 + 9) * layer.width * layer.out_width * number_bytes  # kernels in their basis
        finest = layer.name == "conv_out" or layer.name.startswith(f"scales.{len(config.decoder_widths) - 1}.")
        working = max(working, need + (waiting if finest else 0))
    return int((kept + working + activations + shared) * (CPU_FRAGMENTS if on_cpu else 1))


def operations(layer: Layer, resample: str = "pool") -> float:
    """Of one call with one video: twice the number of multiplications, as many as the sums have."""
    places = 2 * layer.frames * layer.positions
    match layer.kind:
        case "block":
            shortcut = layer.width * layer.out_width if layer.width != layer.out_width else 0
            first, second = layer.taps[0] * layer.width, layer.taps[1] * layer.out_width
            return places * (9 * (first + second) * layer.out_width + shortcut)
        case "attention":
            return places * layer.width * (4 * layer.width + 2 * layer.positions)
        case "up" if resample == "pool":
            return places * (64 if layer.doubles_time else 48) * layer.width * layer.out_width
        case "up":
            return places * (8 if layer.doubles_time else 4) * layer.width * layer.out_width
        case _:
            return places * 9 * layer.taps[0] * layer.width * layer.out_width

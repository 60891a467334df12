"""How long films will take, told before they begin: shapes counted, and the model's own layers timed on samples.

A sample is small, and costs a second or two at the paper's size; it is taken once a run, and only where a film may take
long. The best of two counts: a machine that others use will take longer. How near predictions come:
`benchmarks/cost_model.py`. The counts: `vdit/cost.py`, `vidvae/cost.py`.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from videosyn.core.runtime import is_out_of_memory
from videosyn.sampling.fitting import footprint
from videosyn.sampling.model_index import Defaults
from videosyn.vdit import cost
from videosyn.vdit.attention import attend
from videosyn.vdit.cost import Load, attention_operations, product_operations
from videosyn.vdit.embeddings import Rope
from videosyn.vdit.model import VDiT
from videosyn.vidvae.causal import CausalState
from videosyn.vidvae.cost import FEWEST_TILED_PIXELS, Layer, by_tiles, decoder_layers, operations, piece_frames
from videosyn.vidvae.model import VidVAE

if TYPE_CHECKING:
    from videosyn.sampling.pipeline import VideoSynPipeline

LONG_S = 60
"""From here on a user is told."""
SURE_RATES = {"cpu": 1e10}
"""Operations a second that every device has (a CPU for each thread): what is short by these needs no samples."""
SURE_RATE_ELSE = 1e13
SAMPLE_TOKENS = {"cpu": 512}
SAMPLE_TOKENS_ELSE = 2**14
SAMPLE_LENGTH = 1024
"""Tokens of a frame whose attention is timed; longer rows cost as many times more as they have products."""
SAMPLE_POSITIONS = {"cpu": 512}
SAMPLE_POSITIONS_ELSE = 2**16
SAMPLE_OPERATIONS = {"cpu": 4e9}
SAMPLE_OPERATIONS_ELSE = 4e11
"""A decoder's layer is timed on so many positions, and on so many operations, at least."""
_timed: WeakKeyDictionary[nn.Module, dict[Any, float]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Duration:
    """Of one film, in seconds, without reading the prompt."""

    step_s: float
    num_predictions: int
    decoding_s: float

    @property
    def total_s(self) -> float:
        return self.step_s * self.num_predictions + self.decoding_s

    def note(self, num_films: int) -> str:
        """One line for the user."""
        films = f"{num_films} films take" if num_films > 1 else "the film takes"
        return (
            f"{films} about {_words(num_films * self.total_s)}: {self.num_predictions} predictions of "
            f"{_words(self.step_s)}, decoding {_words(self.decoding_s)}"
        )


def note_if_long(pipeline: VideoSynPipeline, asked: Defaults, num_films: int) -> str | None:
    """What to tell a user before films begin that will take longer than LONG_S, else None. Takes a second or two where
    they may. Nothing either where the samples do not fit into memory.
    """
    if num_films * _operations(pipeline, asked) < LONG_S * _sure_rate(pipeline.device):
        return None
    try:
        duration = predicted_duration(pipeline, asked)
    except RuntimeError as error:  # the film itself may fit, in tiles, and else says what would
        if not is_out_of_memory(error):
            raise
        return None
    return duration.note(num_films) if num_films * duration.total_s > LONG_S else None


@torch.inference_mode()
def predicted_duration(
    pipeline: VideoSynPipeline, asked: Defaults, clock: Callable[[], float] = time.perf_counter
) -> Duration:
    """Of one film as asked, every step guided if any is, none taken from a cache. clock: seconds."""
    size = (asked.num_frames, asked.height, asked.width)
    load = footprint(pipeline).load(1, *size, guided=asked.guidance != 1)
    shares = 1 if pipeline.vdit.process_group is None else pipeline.vdit.process_group.size()
    step_s = forward_seconds(pipeline.vdit, load, clock) / shares
    return Duration(step_s, _num_predictions(asked), decoding_seconds(pipeline.vae, *size, clock))


def forward_seconds(vdit: VDiT, load: Load, clock: Callable[[], float] = time.perf_counter) -> float:
    """Of one forward of a VDiT."""
    config, parameter = vdit.config, vdit.final.weight
    at_once = SAMPLE_TOKENS.get(parameter.device.type, SAMPLE_TOKENS_ELSE)
    sample = load
    if load.tokens > at_once:
        frames = min(load.frames, 32)
        sample = Load(1, frames, max(1, min(load.places, at_once // frames)), load.text_tokens)
    sample_s = _block_seconds(vdit, sample, clock)
    one_block = replace(config, depth=1)
    sampled = product_operations(one_block, sample) + attention_operations(one_block, sample)
    alike = replace(load, places=sample.places, batch=load.batch * load.places / sample.places)
    total = sample_s * (product_operations(config, load) + attention_operations(config, alike)) / sampled
    more = attention_operations(config, load) - attention_operations(config, alike)
    if more > 0:
        length = min(load.places, SAMPLE_LENGTH)
        total += more / _attention_rate(vdit, length, clock)
    return total


def decoding_seconds(
    vae: VidVAE, num_frames: int, height: int, width: int, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Of one video, its frames whole."""
    parameter, config = vae.decoder.conv_in.weight, vae.config
    latent_frames = 1 + (num_frames - 1) // config.time_factor
    device, number_bytes = parameter.device.type, parameter.element_size()
    piece = min(piece_frames(config, 1, height, width, device), max(1, latent_frames - 1))
    total, doublings = 0.0, 0
    for layer in decoder_layers(config, piece, 1, height, width, number_bytes, device):
        all_frames = 1 + 2**doublings * (latent_frames - 1)
        total += all_frames / layer.frames * _layer_seconds(vae, layer, clock)
        doublings += layer.doubles_time
    return total


def _operations(pipeline: VideoSynPipeline, asked: Defaults) -> float:
    """Of one film."""
    size = (asked.num_frames, asked.height, asked.width)
    load = footprint(pipeline).load(1, *size, guided=asked.guidance != 1)
    config, latent_frames = pipeline.vae.config, load.frames
    layers = decoder_layers(config, 1, 1, asked.height, asked.width, 4, "cpu")
    decoding = latent_frames * sum(layer.times * operations(layer, config.resample) for layer in layers)
    vdit = pipeline.vdit.config
    return decoding + _num_predictions(asked) * (product_operations(vdit, load) + attention_operations(vdit, load))


def _num_predictions(asked: Defaults) -> int:
    return 2 * asked.num_steps - 1 if asked.sampler == "heun" else asked.num_steps


def _sure_rate(device: torch.device) -> float:
    threads = torch.get_num_threads() if device.type == "cpu" else 1
    return threads * SURE_RATES.get(device.type, SURE_RATE_ELSE)


def _block_seconds(vdit: VDiT, sample: Load, clock: Callable[[], float]) -> float:
    """Of one block."""
    weight, width = vdit.final.weight, vdit.config.width

    def zeros(*shape: int) -> torch.Tensor:
        return torch.zeros(shape, dtype=weight.dtype, device=weight.device)

    def measure() -> float:
        rope = Rope(vdit.rope_frequencies, sample.frames, weight.dtype)
        batch = int(sample.batch)
        tokens = torch.randn(batch, sample.frames, sample.places, width).to(weight)
        text, bias = zeros(batch, sample.text_tokens, width), zeros(batch, 1, 1, sample.text_tokens)
        given = (tokens, zeros(1, 1, 1, 6, width), zeros(1, 1, 1, 3, width), rope, text, bias)
        with _uncompiled():
            vdit.blocks[0](*given)
            return min(_seconds(lambda: vdit.blocks[0](*given), weight.device, clock) for _ in range(2))

    return _once(vdit, ("block", sample), measure)


def _uncompiled() -> AbstractContextManager[Any]:
    """Within the block nothing is compiled: for a sample's shape it would take longer than it tells of."""
    if "torch._dynamo" not in sys.modules:  # where nothing was asked to be; seconds to import
        return nullcontext()
    return torch.compiler.set_stance("force_eager")


def _attention_rate(vdit: VDiT, length: int, clock: Callable[[], float]) -> float:
    """Operations a second of attention among `length` tokens."""
    config, weight = vdit.config, vdit.final.weight

    def rate() -> float:
        rows = max(1, cost.TOKENS_AT_ONCE.get(weight.device.type, cost.MOST_TOKENS_AT_ONCE) // length)
        heads = torch.randn(3, rows, config.num_heads, length, config.head_width).to(weight)
        attend(*heads)
        seconds = min(_seconds(lambda: attend(*heads), weight.device, clock) for _ in range(2))
        return rows * 4 * length**2 * config.width / seconds

    return _once(vdit, ("attention", length), rate)


def _layer_seconds(vae: VidVAE, layer: Layer, clock: Callable[[], float]) -> float:
    """Of one call with `layer.frames` frames, from a sample with fewer positions."""
    parameter, resample = vae.decoder.conv_in.weight, vae.config.resample
    sample = _sample(layer, resample, parameter)

    def run() -> float:
        module, state = vae.decoder.get_submodule(layer.name), CausalState()
        x = torch.randn(1, sample.width, sample.frames, sample.height, sample.width_px).to(parameter)
        x = x.contiguous(memory_format=torch.channels_last_3d)
        given = (x,) if layer.kind == "attention" else (x, state)
        module(*given)  # what is made once a video does not count
        return min(_seconds(lambda: module(*given), parameter.device, clock) for _ in range(2))

    key = replace(sample, name="", times=1)
    return _once(vae, key, run) * operations(layer, resample) / operations(sample, resample)


def _sample(layer: Layer, resample: str, parameter: torch.Tensor) -> Layer:
    """The same layer with as few positions as are computed in the same way."""
    device = parameter.device.type
    of_one = operations(layer, resample) / (layer.frames * layer.positions)
    wanted = SAMPLE_OPERATIONS.get(device, SAMPLE_OPERATIONS_ELSE) / of_one
    most = max(SAMPLE_POSITIONS.get(device, SAMPLE_POSITIONS_ELSE), wanted)
    if by_tiles(layer, parameter.element_size(), device):
        most = max(most, FEWEST_TILED_PIXELS)
    if layer.frames * layer.positions <= most:
        return layer
    side = 4 * math.ceil((most / layer.frames) ** 0.5 / 4)  # whole tiles
    return replace(layer, height=side, width_px=side)


def forget() -> None:
    """Drops all samples, so that the next prediction takes them anew."""
    _timed.clear()


def _once(module: nn.Module, key: Any, measure: Callable[[], float]) -> float:
    found = _timed.setdefault(module, {})
    if key not in found:
        found[key] = measure()
    return found[key]


def _seconds(function: Callable[[], object], device: torch.device, clock: Callable[[], float]) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    begin = clock()
    function()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return max(clock() - begin, 1e-9)


def _words(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"

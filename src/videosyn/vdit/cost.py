"""What a forward of a VDiT without gradients costs: products, and bytes alive at once. Torch-free. See `block.py`.

Used by `sampling/footprint.py` for memory and by `sampling/duration.py` for time.
"""

from __future__ import annotations

from dataclasses import dataclass

from videosyn.vdit.config import VDiTConfig

TOKENS_AT_ONCE = {"cpu": 2048}
"""Tokens that go through a branch at once without gradients, in whole frames or places, by device: on CPUs so few that
what a branch makes on its way stays in the caches and needs no new memory."""
MOST_TOKENS_AT_ONCE = 2**15
"""The same on other devices: enough to keep an accelerator busy, a sixth of a film of 113 frames at 720p."""
SHORT = 256 * 256
"""On CPUs, up to this many scores a head, plain products beat the fused kernel, which is slow backward."""
CPU_FRAGMENTS = 1.3
"""Of what is alive, what the C runtime holds: `benchmarks/cost_model.py`."""
CACHED = 6
"""Times all tokens that a block cache holds beside what its blocks take: what came in, the first block's result and
what it added, what it and the others had added before, and what the others add now."""


@dataclass(frozen=True)
class Load:
    """What goes in at once."""

    batch: float
    """B: films, and with guidance twice as many; a fraction where costs are compared"""
    frames: int
    """t"""
    places: int
    """S: tokens of a frame"""
    text_tokens: int
    """L"""

    @property
    def tokens(self) -> float:
        return self.batch * self.frames * self.places


def product_operations(config: VDiTConfig, load: Load) -> float:
    """Of the weights, all blocks: twice the number of multiplications."""
    of_tokens = 2 * load.tokens * config.width**2 * (4 + 4 + 2 + 2 * config.mlp_ratio)
    return config.depth * (of_tokens + 4 * load.batch * load.text_tokens * config.width**2)


def attention_operations(config: VDiTConfig, load: Load) -> float:
    """Of scores and weighted sums, all blocks: in space, in time and to the text."""
    return config.depth * 4 * load.tokens * config.width * (load.places + load.frames + load.text_tokens)


def part_sizes(load: Load, device: str) -> tuple[int, int]:
    """Tokens that are taken at once in space and the feed-forward, and in time."""
    most = TOKENS_AT_ONCE.get(device, MOST_TOKENS_AT_ONCE)

    def at_once(size: int, per_slice: int) -> int:
        return -(-size // number_of_parts(size, per_slice, most)) * per_slice

    batch = int(load.batch)
    return at_once(load.frames, batch * load.places), at_once(load.places, batch * load.frames)


def number_of_parts(size: int, per_slice: int, most: int) -> int:
    """In how many parts `size` slices of `per_slice` tokens go, each of at most `most` tokens or one slice."""
    return -(-size // max(1, most // per_slice))


def working_bytes(config: VDiTConfig, load: Load, number_bytes: int, device: str, cached: bool = False) -> int:
    """Alive at the peak, beside the weights: tokens as they came and as they become, and one part's intermediates.

    cached: with a `sampling/block_cache.py` around the blocks.
    In units of a part's tokens, (m, C): queries, keys and values are three, the feed-forward's middle `mlp_ratio`.
    """
    vector = config.width * number_bytes
    in_space, in_time = part_sizes(load, device)
    on_cpu = device == "cpu"
    through_mlp = in_space * (2 + config.mlp_ratio) * vector
    # Time: the branch's input, q, k, v as one, q and k turned, and on the way of k its products with the tables.
    through_time = in_time * (9 if on_cpu else 10) * vector + _scores(
        config, load.frames, in_time, number_bytes, on_cpu
    )
    # Space: the input, q, k, v as made and as laid out on CPUs; later the scaled q, and the result.
    scores = _scores(config, load.places, in_space, number_bytes, on_cpu)
    through_space = in_space * vector * (7 if on_cpu and not scores else 6) + scores
    text = load.batch * load.text_tokens * (3 * vector + config.text_width * number_bytes)
    per_frame = 20 * load.batch * load.frames * vector  # modulation, where frames differ in time
    latents = 16 * load.tokens * config.patch_size**2 * config.num_out_channels  # noise and predictions, float32
    at_last = 2 * load.tokens * vector if config.legacy_stdit2 else 0  # its last norms take all frames at once
    branches = max(through_mlp, through_time, through_space, at_last)
    alive = (2 + cached * CACHED) * load.tokens * vector + branches + text + per_frame + latents
    return int(alive * (CPU_FRAGMENTS if on_cpu else 1))


def _scores(config: VDiTConfig, length: int, tokens: int, number_bytes: int, on_cpu: bool) -> int:
    """Bytes of scores among `length` tokens, for `tokens` of them, where they are made at all."""
    made = on_cpu and length**2 <= SHORT
    return tokens * length * config.num_heads * number_bytes if made else 0

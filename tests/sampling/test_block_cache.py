import re

import numpy as np
import pytest
import torch
from torch import nn

from videosyn.core.errors import UserError
from videosyn.sampling.block_cache import BlockCache, cached_blocks

PROMPT = "a red ball bounces on the grass"


class Add(nn.Module):
    """Adds a share of the condition (B, 1, 1, 1) to the tokens, and counts the films it was asked for."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share, self.films = share, 0

    def forward(self, tokens, condition, table):
        assert len(condition) == len(tokens)
        assert table.shape == (2, 2)  # as long as the batch, and yet the same for all films
        self.films += len(tokens)
        return tokens + self.share * condition


def cache_of(threshold: float) -> tuple[BlockCache, Add, Add]:
    first, second = Add(1.0), Add(10.0)
    return BlockCache(nn.ModuleList([first, second]), threshold), first, second


def conditions(*values):
    return torch.tensor(values).view(-1, 1, 1, 1)


TOKENS, TABLE = torch.zeros(2, 3, 4, 5), torch.zeros(2, 2)


def test_what_changes_little_is_not_computed_again_film_by_film():
    cache, first, second = cache_of(0.1)
    out = cache(TOKENS, conditions(1.0, 1.0), TABLE)
    assert (out == 11).all()
    out = cache(TOKENS, conditions(1.05, 1.5), TABLE)
    assert out[0].unique().item() == pytest.approx(1.05 + 10)  # the first block is new, the other's share is kept
    assert out[1].unique().item() == pytest.approx(11 * 1.5)
    assert (first.films, second.films) == (4, 3)
    assert cache.share_reused == 0.25


def test_small_changes_add_up_until_they_count():
    cache, _, second = cache_of(0.1)
    for step in range(6):
        cache(TOKENS, conditions(*[1 + 0.04 * step] * 2), TABLE)
    assert second.films == 2 * 2  # at the first step and when 12 % had gathered; then 8 % of that is too little


def test_another_batch_begins_anew():
    cache, _, second = cache_of(0.5)
    cache(TOKENS, conditions(1.0, 1.0), TABLE)
    out = cache(TOKENS[:1], conditions(1.0), TABLE)
    assert (out == 11).all()
    assert second.films == 3


def test_a_film_with_a_threshold_of_zero_is_the_film_without_cache(tiny_pipeline):
    exact = tiny_pipeline(PROMPT, num_steps=6).frames
    assert np.array_equal(tiny_pipeline(PROMPT, num_steps=6, cache_threshold=0.0).frames, exact)
    with cached_blocks(tiny_pipeline.vdit, 0.0) as cache:
        assert np.array_equal(tiny_pipeline(PROMPT, num_steps=6).frames, exact)
    assert cache.share_reused == 0


def test_a_cached_film_differs_a_little_and_leaves_the_model_as_it_was(tiny_pipeline):
    blocks, counted = tiny_pipeline.vdit.blocks, []
    handle = blocks[1].register_forward_hook(lambda module, inputs, output: counted.append(len(output)))
    exact = tiny_pipeline(PROMPT, num_steps=8).frames.astype(int)
    whole = sum(counted)
    cached = tiny_pipeline(PROMPT, num_steps=8, cache_threshold=0.3).frames.astype(int)
    handle.remove()
    assert sum(counted) - whole < whole
    assert 0 < np.abs(cached - exact).mean() < 20
    assert tiny_pipeline.vdit.blocks is blocks


def test_a_cached_film_of_a_batch_is_the_film_made_alone(tiny_pipeline):
    prompts = [PROMPT, "a blue cube spins in the desert", "a ball"]
    options = {"num_steps": 8, "cache_threshold": 0.2}
    batch = tiny_pipeline(prompts, seed=7, **options).frames.astype(int)
    for index, prompt in enumerate(prompts):
        alone = tiny_pipeline(prompt, seed=7 + index, **options).frames[0]
        assert np.abs(batch[index] - alone).max() <= 1


def test_a_guidance_interval_and_a_cache_go_together(tiny_pipeline):
    options = {"num_steps": 8, "guidance_interval": (0.3, 0.8)}
    exact = tiny_pipeline(PROMPT, **options).frames
    assert np.array_equal(tiny_pipeline(PROMPT, **options, cache_threshold=0.0).frames, exact)
    assert tiny_pipeline(PROMPT, **options, cache_threshold=0.2).frames.shape == exact.shape


def test_a_failing_run_leaves_the_model_as_it_was(tiny_pipeline):
    blocks = tiny_pipeline.vdit.blocks
    with pytest.raises(RuntimeError, match="stopped"), cached_blocks(tiny_pipeline.vdit, 0.1):
        raise RuntimeError("stopped")
    assert tiny_pipeline.vdit.blocks is blocks


def test_a_negative_threshold_is_refused(tiny_pipeline):
    with pytest.raises(UserError, match=re.escape("cache threshold must be at least 0, got -0.1: use 0.1")):
        tiny_pipeline(PROMPT, cache_threshold=-0.1)

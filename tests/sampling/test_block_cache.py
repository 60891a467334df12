import re
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import load_file, save_file
from torch import nn

from videosyn.core.errors import UserError
from videosyn.sampling.block_cache import BlockCache, cached_blocks
from videosyn.vdit.model import VDiT
from videosyn.vdit.presets import TINY

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


def test_for_compiled_blocks_films_go_together_and_are_the_same():
    first, second = Add(1.0), Add(10.0)
    cache = BlockCache(nn.ModuleList([first, second]), 0.1, together=True)
    alone, *_ = cache_of(0.1)
    for values in ((1.0, 1.0), (1.05, 1.5), (1.06, 1.55)):
        assert torch.equal(cache(TOKENS, conditions(*values), TABLE), alone(TOKENS, conditions(*values), TABLE))
    assert second.films == 4  # no film in the third step


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


def two_steps(model: VDiT, noisy: torch.Tensor, threshold: float) -> tuple[torch.Tensor, BlockCache]:
    """The second step's prediction, where only the first of three frames has changed, and the cache."""
    texts = torch.ones(1, 4, TINY.text_width), torch.ones(1, 4, dtype=torch.bool)
    later = noisy.clone()
    later[:, :, :1] *= 3
    with cached_blocks(model, threshold) as cache:
        model(noisy, torch.tensor([500.0]), *texts)
        return model(later, torch.tensor([500.0]), *texts), cache


def run_process(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    model = VDiT(TINY).eval()
    model.load_state_dict(load_file(folder / "weights.safetensors"))
    told = load_file(folder / "told.safetensors")
    meet, patience = f"file://{folder}/meet", timedelta(seconds=30)
    dist.init_process_group("gloo", meet, timeout=patience, rank=rank, world_size=2)
    model.process_group = dist.group.WORLD
    with torch.inference_mode():
        out, cache = two_steps(model, told["noisy"], float(told["threshold"]))
    assert cache.num_computed == 2
    save_file({"out": out}, folder / f"{rank}.safetensors")
    dist.destroy_process_group()


@torch.inference_mode()
def test_processes_that_share_a_film_decide_together(tiny_pipeline, tmp_path, monkeypatch):
    """The second has the last frame, which changes too little: by itself it would see no reason to compute."""
    model, changes = tiny_pipeline.vdit, []

    def watch(cache, now, before):
        for frames in (slice(None), slice(2, None)):
            moved, were = (now - before)[:, frames].abs().mean(), before[:, frames].abs().mean()
            changes.append(float(moved / were))
        return torch.tensor([1.0])

    noisy = torch.randn(1, TINY.latent_channels, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(BlockCache, "_changes", watch)
    expected, _ = two_steps(model, noisy, 0.5)
    whole, last = changes
    assert last < 0.8 * whole
    threshold = torch.tensor((last + whole) / 2)
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    save_file({"noisy": noisy, "threshold": threshold}, tmp_path / "told.safetensors")
    mp.spawn(run_process, (tmp_path,), nprocs=2)
    for rank in range(2):
        torch.testing.assert_close(load_file(tmp_path / f"{rank}.safetensors")["out"], expected, rtol=0, atol=1e-5)

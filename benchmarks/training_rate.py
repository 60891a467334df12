"""Training of the paper's VDiT at 240p on one accelerator: its share of the matmul rate, and the largest batch.

    python benchmarks/training_rate.py                                       # xl, 17x240x432 and 65x240x432
    python benchmarks/training_rate.py --model tiny --buckets 17x64x64 --largest 64     # on a CPU, in seconds

Parts (--parts):

rate    a large product in the type that computes: what the share is measured against
step    whole steps of the training loop (forward, backward, clipping, optimizer, moving average) on latents in memory
batch   the largest batch of the first bucket that the predictor of --dry-run allows does run: its peak of memory

Operations are those of products and attention, forward once and backward twice; blocks that are computed a second time
(--checkpointing) count once, so that the share tells what training gets. Weights are random and latents noise, which
cost the same. Results are printed as they come, and kept in --out/training.json.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from measuring import KnownFeatures, Measuring
from peak import Peak

from videosyn.dataset.batches import WHOLE, LatentBatch, Share
from videosyn.dataset.buckets import Bucket, parse_buckets
from videosyn.diffusion.flow import FlowMatching
from videosyn.sampling.pipeline import VideoSynPipeline
from videosyn.training.blocks import blocks_of, compile_blocks, recompute
from videosyn.training.dit_batches import latent_size
from videosyn.training.dit_step import DiTStep
from videosyn.training.dry_run import memory_here
from videosyn.training.loop import _Run
from videosyn.training.memory import count_parameters, predicted_bytes, state_bytes, vdit_kept_bytes
from videosyn.training.options import DiTTraining
from videosyn.training.parallel import Processes
from videosyn.training.prefetch import Prefetch
from videosyn.vdit.cost import Load, attention_operations, product_operations
from videosyn.vdit.model import VDiT
from videosyn.vdit.presets import PRESETS
from videosyn.vidvae import presets as vae_presets
from videosyn.vidvae.model import VidVAE

PARTS = ("rate", "step", "batch")
VAES = {"xl": vae_presets.XL, "nano": vae_presets.NANO, "tiny": vae_presets.TINY}
TEXT_TOKENS = 250
"""Of T5 in a batch whose longest caption fills them."""


class Noise:
    """Batches of latents that cost nothing to make."""

    def __init__(self, bucket: Bucket, latents: torch.Tensor) -> None:
        self.bucket, self.latents = bucket, latents

    def batch(self, step: int, buckets: Sequence[Bucket], sizes: Sequence[int], share: Share = WHOLE) -> LatentBatch:
        size = len(self.latents)
        captions, seeds = ("a ship in a storm",) * size, tuple(range(size))
        return LatentBatch(self.bucket.name, step, self.bucket.frames, seeds, captions, self.latents, whole=size)


class Bench(Measuring):
    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__(options.out, "training.json", options.device, options.dtype)
        self.options = options
        self.config = PRESETS[options.model]
        self.buckets = parse_buckets(options.buckets)
        self.vae_config = VAES[options.model]

    def forget(self) -> None:
        """What the last model held is free again, before what is free is asked for."""
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def step(self) -> None:
        for bucket in self.buckets:
            self.forget()
            batch = self.options.batch or min(self.largest(bucket), self.options.largest)
            with self.training(bucket, batch) as act:
                act()  # kernels are chosen, memory is taken, blocks are compiled
                act()
                watched = Peak(self.device)
                one = statistics.median(self.seconds(act) for _ in range(self.options.rounds))
                peak = watched.all_bytes
            flops, tokens = self.operations(bucket, batch)
            self.say(
                f"step {bucket.name}",
                batch=batch,
                step_s=one,
                clips_s=batch / one,
                tokens_s=tokens / one,
                peak_gb=peak / 1e9,
                predicted_gb=self.predicted(bucket, batch) / 1e9,
                checkpointing=self.options.checkpointing,
                compiled=self.options.compile,
                teraflops=flops / one / 1e12,
                **self.share_of_rate(flops / one / 1e12),
            )

    def batch(self) -> None:
        self.forget()
        bucket = self.buckets[0]
        free = memory_here(self.training_options(bucket, 1, "unused")) or 0
        allowed = self.largest(bucket)
        batch = min(allowed, self.options.largest)
        with self.training(bucket, batch) as act:
            watched = Peak(self.device)
            act()
            act()
            peak = watched.all_bytes
        self.say(
            f"largest batch {bucket.name}",
            free_gb=free / 1e9,
            predictor_allows=allowed,
            ran=batch,
            predicted_gb=self.predicted(bucket, batch) / 1e9,
            peak_gb=peak / 1e9,
        )

    def operations(self, bucket: Bucket, batch: int) -> tuple[float, float]:
        """Of a step, and its tokens."""
        frames, height, width = latent_size(bucket, self.vae_config)
        load = Load(batch, frames, height * width // self.config.patch_size**2, TEXT_TOKENS)
        once = product_operations(self.config, load) + attention_operations(self.config, load)
        return 3 * once, load.tokens

    def predicted(self, bucket: Bucket, batch: int) -> int:
        trained, matrices = count_parameters(lambda: VDiT(self.config))
        state = state_bytes(trained, matrices, self.dtype.itemsize, muon=False)
        size = latent_size(bucket, self.vae_config)
        kept = vdit_kept_bytes(self.config, size, TEXT_TOKENS, self.dtype, self.options.checkpointing)
        return predicted_bytes(state, kept, batch)

    def largest(self, bucket: Bucket) -> int:
        """Clips that the predictor allows in what is free here."""
        free = memory_here(self.training_options(bucket, 1, "unused")) or 0
        none, one = (self.predicted(bucket, batch) for batch in (0, 1))
        if one > free:
            raise SystemExit(
                f"{bucket.name}: one clip is predicted to take {one / 1e9:.1f} GB, {free / 1e9:.1f} are free"
            )
        return (free - none) // (one - none)

    def training_options(self, bucket: Bucket, batch: int, out: str) -> DiTTraining:
        shape = f"{bucket.frames}x{bucket.height}x{bucket.width}"
        return DiTTraining(
            out=out, max_steps=10**6, batch_size=batch, max_batch_size=batch, buckets=(shape,), optimizer="adamw",
            adamw_lr=2e-5, log_seconds=1e9, device=self.options.device, dtype=self.options.dtype,
        )  # fmt: skip

    @contextmanager
    def training(self, bucket: Bucket, batch: int) -> Iterator[Any]:
        """A function that makes one step of the loop."""
        with tempfile.TemporaryDirectory() as folder:
            options = self.training_options(bucket, batch, folder)
            with torch.device(self.device):  # random numbers of a CPU would take minutes
                vdit = VDiT(self.config)
            vdit.to(self.dtype)
            blocks = blocks_of(vdit)
            if self.options.compile:
                compile_blocks(blocks)
            if self.options.checkpointing:
                recompute(blocks)
            text: Any = KnownFeatures(self.config.text_width, TEXT_TOKENS, self.device, self.dtype)
            with torch.device("meta"):  # its sizes alone are asked for
                vae = VidVAE(self.vae_config)
            pipeline = VideoSynPipeline(vae, vdit, text, FlowMatching())
            size = latent_size(bucket, self.vae_config)
            clips = Noise(bucket, torch.randn(batch, self.config.latent_channels, *size, device=self.device))
            step = DiTStep(options, pipeline, clips, parse_buckets(options.buckets), [])
            run = _Run(options, step, time.monotonic, Processes())
            batches = Prefetch(lambda index: step.batch(index, 0.5, WHOLE), 0)
            try:
                yield lambda: run._one_step(batches)
            finally:
                batches.close()
                run.saver.close()
                run.record.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=list(VAES), default="xl")
    parser.add_argument("--buckets", nargs="+", default=["17x240x432", "65x240x432"], help="FRAMESxHEIGHTxWIDTH")
    parser.add_argument("--batch", type=int, default=0, help="clips in a step; 0: as many as are predicted to fit")
    parser.add_argument("--largest", type=int, default=10**6, help="never more clips than this")
    parser.add_argument("--rounds", type=int, default=8, help="steps that are timed")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--checkpointing", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--compile", action="store_true", help="the VDiT's blocks, with torch.compile")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--out", default="training_rate")
    options = parser.parse_args()
    bench = Bench(options)
    for part in PARTS:
        if part in options.parts:
            getattr(bench, part)()


if __name__ == "__main__":
    main()

"""How large a VDiT's batches are, bucket by bucket, and whether processes can share them. Used by `dit_step.py`."""

from __future__ import annotations

from collections.abc import Sequence

from videosyn.core.errors import UserError
from videosyn.core.shapes import check_num_frames, check_size
from videosyn.dataset.batches import batch_sizes, check_shared
from videosyn.dataset.buckets import Bucket, parse_buckets
from videosyn.dataset.latent_cache import Vae
from videosyn.training.options import DiTTraining
from videosyn.training.parallel import check_team
from videosyn.vidvae.config import VidVAEConfig


def dit_batch_sizes(
    options: DiTTraining, buckets: Sequence[Bucket], vae: Vae | VidVAEConfig, patch_size: int
) -> list[int]:
    """Clips in a batch of each bucket: as many tokens as `batch_size` clips of the first bucket of the options have."""

    def tokens(bucket: Bucket) -> int:
        return tokens_of(latent_size(bucket, vae), patch_size)

    whole = options.batch_size * tokens(parse_buckets(options.buckets)[0])
    return batch_sizes(buckets, whole, options.max_batch_size, tokens)


def check_buckets(
    buckets: Sequence[Bucket], vae: Vae | VidVAEConfig, patch_size: int, sequence_parallel: int = 1
) -> None:
    """A UserError for a bucket that the VAE and the VDiT cannot divide, or where no team can divide any."""
    for bucket in buckets:
        check_num_frames(bucket.frames, vae.time_factor)
        check_size(bucket.height, bucket.width, vae.space_factor * patch_size)
    longest = max(latent_size(bucket, vae)[0] for bucket in buckets)
    divided = any(is_divided(latent_size(bucket, vae), patch_size, sequence_parallel) for bucket in buckets)
    if sequence_parallel > 1 and not divided:
        raise UserError(
            f"sequence_parallel {sequence_parallel} needs clips of as many latent frames, and tokens in each; the "
            f"longest have {longest}: choose fewer, or add a bucket of "
            f"{1 + vae.time_factor * (sequence_parallel - 1)} frames"
        )


def check_shared_by(options: DiTTraining, vae: Vae | VidVAEConfig, patch_size: int, processes: int) -> None:
    """A UserError where so many processes form no teams, or cannot share a batch of each bucket; or, where they divide
    the model and so compute in step, would cut their shares into different numbers of parts.
    """
    check_team(options.sequence_parallel, processes)

    def shares(bucket: Bucket) -> int:
        divided = is_divided(latent_size(bucket, vae), patch_size, options.sequence_parallel)
        return processes // (options.sequence_parallel if divided else 1)

    buckets = parse_buckets(options.buckets)
    sizes = dit_batch_sizes(options, buckets, vae, patch_size)
    check_shared(buckets, sizes, shares)
    if options.parallel != "fsdp":
        return
    for bucket, size in zip(buckets, sizes):
        least, left = divmod(size, shares(bucket))
        if left and options.accumulate > least:
            raise UserError(
                f"accumulate {options.accumulate} cannot cut the shares of a batch of {size} of bucket {bucket.name} "
                f"alike, {least} or {least + 1} clips a process, as parallel fsdp needs: set accumulate {least} or less"
            )


def is_divided(size: Sequence[int], patch_size: int, team_size: int) -> bool:
    """Whether a team of processes computes clips with latents of `size` (t, h, w) together."""
    frames, height, width = size
    return team_size > 1 and min(frames, tokens_of((1, height, width), patch_size)) >= team_size


def latent_size(bucket: Bucket, vae: Vae | VidVAEConfig) -> tuple[int, int, int]:
    """(t, h, w) of a bucket's latents."""
    time, space = vae.time_factor, vae.space_factor
    return 1 + (bucket.frames - 1) // time, bucket.height // space, bucket.width // space


def tokens_of(size: Sequence[int], patch_size: int) -> int:
    """Tokens of latents (t, h, w)."""
    frames, height, width = size
    return frames * height * width // patch_size**2


def with_images(buckets: tuple[Bucket, ...], share: float) -> tuple[Bucket, ...]:
    """The same buckets with `share` of all batches given to images, if there are any."""
    images = sum(bucket.share for bucket in buckets if bucket.frames == 1)
    films = sum(bucket.share for bucket in buckets if bucket.frames > 1)
    if not images or not films:
        return buckets
    return tuple(
        Bucket(
            bucket.frames,
            bucket.height,
            bucket.width,
            bucket.share / images * share if bucket.frames == 1 else bucket.share / films * (1 - share),
        )
        for bucket in buckets
    )

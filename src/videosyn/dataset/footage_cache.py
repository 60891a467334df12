"""Latents of footage, encoded once, and the features of its captions where the text encoder is frozen.

    windows -> decode -> VidVAE.encode -> shards of latents (n, Z, t, h, w), by bucket
    captions -> text encoder -> shards of features, each as long as its caption

A shard says which windows or captions it holds, so a killed run goes on where it was, and footage added later adds
shards: those that hold nothing but what is wanted stay, and only the rest is divided anew.
Shards are mapped, not read: memory does not grow with the dataset. Next: `footage_batches.py`.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.util import Finalize
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from videosyn.core.errors import UserError
from videosyn.core.runtime import pick_dtype
from videosyn.dataset.buckets import Bucket
from videosyn.dataset.decoders import Decoders
from videosyn.dataset.footage import Footage
from videosyn.dataset.footage_batches import Read
from videosyn.dataset.latent_cache import Vae, encode_frames, fingerprint, load_vae
from videosyn.dataset.shards import Shard, check_manifest, fill, read_shard, write_shard, write_tensors
from videosyn.dataset.windows import Window, Windows, wanted, window_id
from videosyn.text.features import TextEncoder, TextFeatures

SHARD_CLIPS = 64
"""Windows in a shard of latents."""
SHARD_CAPTIONS = 512


def write_footage_latents(
    folder: str | os.PathLike,
    vae_folder: str | os.PathLike,
    footage: Footage,
    windows: Windows,
    buckets: Sequence[Bucket],
    workers: int = 2,
    device: str = "cpu",
    dtype: str = "auto",
    part: tuple[int, int] = (0, 1),
    on_shard: Callable[[int, int], None] | None = None,
    load: Callable[[str | os.PathLike], Vae] = load_vae,
) -> list[Path]:
    """Encodes all windows into shards: `latents` bf16, `seeds` (the windows' ids) and `whole` bool (n,), False for a
    window that could not be read. Shards that exist are kept; of those that lack windows, these are tried again.
    Returns the paths of all.

    On CPUs `workers` processes decode and encode; on an accelerator they decode, and this process encodes.
    part: this process's number among those that fill the folder together, and how many they are. load: importable by
    name, opens `vae_folder`.
    """
    global _encoder
    check_manifest(folder, {"kind": "footage latents", "vae": fingerprint(vae_folder)})
    shards, contents = _plan(Path(folder), footage, windows, buckets)
    own = shards[part[0] :: part[1]]
    on_cpu = torch.device(device).type == "cpu"
    # A decoder may crash on a clip: where there are processes, it has one of its own.
    decoders = min(workers, 1) if on_cpu else workers
    setup = (load, os.fspath(vae_folder), footage, contents, device, dtype, decoders)
    done = sum(_is_whole(shard) for shard in own)
    for _ in fill(own, _encode_shard, _load_encoder, setup, workers if on_cpu else 0, _is_whole):
        done += 1
        if on_shard is not None:
            on_shard(done, len(own))
    if _encoder is not None:
        _encoder.decoders.close()
        _encoder = None
    return [shard.path for shard in shards]


def _plan(
    folder: Path, footage: Footage, windows: Windows, buckets: Sequence[Bucket]
) -> tuple[list[Shard], dict[str, tuple[Window, ...]]]:
    shards, contents = [], {}
    for bucket in buckets:
        by_id = {window_id(footage, window, bucket.name): window for window in windows.of[bucket.name]}
        for path, ids in _divide(folder, bucket.name, "seeds", list(by_id), SHARD_CLIPS):
            shards.append(Shard(bucket, ids, path))
            contents[path.name] = tuple(by_id[each] for each in ids)
    return shards, contents


def _divide(folder: Path, prefix: str, key: str, ids: Sequence[int], size: int) -> list[tuple[Path, tuple[int, ...]]]:
    """Shards `prefix`-*.safetensors with the ids that each holds, as its tensor `key` has them: together all of `ids`.

    Those that exist and hold only some of `ids`; of the others, `size` to a shard. Sorted by path: a process that comes
    when others have made some of them divides alike.
    """
    left = dict.fromkeys(ids)
    shards = []
    for path in sorted(folder.glob(f"{prefix}-*.safetensors")):
        held = tuple(_open(path).get_tensor(key).tolist())
        if all(each in left for each in held):
            shards.append((path, held))
            for each in held:
                left.pop(each, None)
    rest = tuple(left)
    for low in range(0, len(rest), size):
        some = rest[low : low + size]
        digest = hashlib.blake2b(repr(some).encode(), digest_size=8).hexdigest()
        shards.append((folder / f"{prefix}-{digest}.safetensors", some))
    return sorted(shards)


@dataclass(frozen=True)
class _Encoder:
    """What a process that fills a cache holds."""

    vae: Vae
    footage: Footage
    contents: dict[str, tuple[Window, ...]]
    decoders: Decoders


_encoder: _Encoder | None = None


def _load_encoder(
    load: Callable[[str], Vae],
    vae_folder: str,
    footage: Footage,
    contents: dict[str, tuple[Window, ...]],
    device: str,
    dtype: str,
    workers: int,
) -> None:
    global _encoder
    vae = load(vae_folder).to(device, pick_dtype(dtype, torch.device(device)))
    decoders = Decoders(workers)
    # A process of a pool waits for its own processes when it ends, after it has closed all queues, at priority 10.
    Finalize(decoders, decoders.close, exitpriority=20)
    _encoder = _Encoder(vae, footage, contents, decoders)


def _encode_shard(shard: Shard) -> None:
    assert _encoder is not None, "fill() calls _load_encoder first"
    vae, bucket = _encoder.vae, shard.bucket
    size = (
        1 + (bucket.frames - 1) // vae.time_factor,
        *(each // vae.space_factor for each in (bucket.height, bucket.width)),
    )
    if shard.path.exists():
        kept = read_shard(shard)
        latents, whole = kept["latents"], kept["whole"]
    else:
        latents = torch.zeros(len(shard.seeds), vae.latent_channels, *size, dtype=torch.bfloat16)
        whole = torch.zeros(len(shard.seeds), dtype=torch.bool)
    windows, missing = _encoder.contents[shard.path.name], (~whole).nonzero().flatten().tolist()
    for low in range(0, len(missing), 8):
        some = missing[low : low + 8]
        asked = [wanted(_encoder.footage, windows[place], bucket) for place in some]
        read = dict(zip(some, _encoder.decoders.read(asked)))
        frames = {place: each for place, each in read.items() if not isinstance(each, str)}
        for place, reason in read.items():
            if isinstance(reason, str):
                name = _encoder.footage.clips[windows[place].clip].name
                print(f"not in the cache: {name} {reason}", file=sys.stderr)
        if frames:
            places, video = list(frames), torch.from_numpy(np.stack(list(frames.values())))
            latents[places] = encode_frames(vae, video).to("cpu", torch.bfloat16)
            whole[places] = True
    if whole[missing].any() or not shard.path.exists():
        write_shard(shard, {"latents": latents, "whole": whole})


def _is_whole(shard: Shard) -> bool:
    """Whether it exists and lacks no window. A UserError where it is damaged."""
    return shard.path.exists() and bool(_open(shard.path).get_tensor("whole").all())


class CachedLatents:
    """Reads windows from shards. Fulfils `footage_batches.Reader`."""

    def __init__(
        self, footage: Footage, paths: Sequence[Path], max_damaged: int, tell: Callable[[str], None] = print
    ) -> None:
        """`max_damaged`: as many clips may be missing in the shards; one more is a UserError."""
        self.footage, self.max_damaged, self.tell = footage, max_damaged, tell
        self._files = [_open(path) for path in paths]
        self._rows: dict[int, tuple[int, int]] = {}
        for number, file in enumerate(self._files):
            whole = file.get_tensor("whole").tolist()
            ids = file.get_tensor("seeds").tolist()
            self._rows |= {each: (number, row) for row, (each, there) in enumerate(zip(ids, whole)) if there}

    def available(self, windows: Windows) -> Windows:
        """Without those that could not be read for the cache, which are named and counted."""
        kept = {
            name: tuple(each for each in some if self._id(each, name) in self._rows)
            for name, some in windows.of.items()
        }
        missing = {each.clip for name, some in windows.of.items() for each in {*some} - {*kept[name]}}
        names = sorted(self.footage.clips[clip].name for clip in missing)
        if names:
            some = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
            words = f"{len(names)} clips are not in the cache, because they cannot be read ({some})"
            if len(names) > self.max_damaged:
                raise UserError(f"{words}: mend them, they are tried again; or raise max_damaged {self.max_damaged}")
            self.tell(f"left out: {words}")
        return replace(windows, of=kept)

    def read(self, pool: Sequence[Window], chosen: Sequence[int], bucket: Bucket, across: Sequence[float]) -> Read:
        windows = tuple(pool[place] for place in chosen)
        rows = [self._rows[self._id(window, bucket.name)] for window in windows]
        latents = torch.stack([self._files[number].get_slice("latents")[row] for number, row in rows])
        return Read(windows, latents=latents)

    def _id(self, window: Window, bucket_name: str) -> int:
        return window_id(self.footage, window, bucket_name)


def write_text_features(
    folder: str | os.PathLike,
    load: Callable[[], TextEncoder],
    encoder_name: str,
    captions: Sequence[str],
    part: tuple[int, int] = (0, 1),
    on_shard: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Encodes each caption once, "" among them, into shards: `features` bf16 (sum of L, E), `lengths` and `ids` (n,).

    `load` gives the encoder, and is called only where something is missing.
    """
    check_manifest(folder, {"kind": "text features", "encoder": encoder_name})
    by_id = {caption_id(each): each for each in sorted({*captions, ""})}
    shards = _divide(Path(folder), "text", "ids", list(by_id), SHARD_CAPTIONS)
    missing = [(path, ids) for path, ids in shards[part[0] :: part[1]] if not path.exists()]
    encoder = load() if missing else None
    for done, (path, ids) in enumerate(missing, start=1):
        assert encoder is not None
        some, pieces = [by_id[each] for each in ids], []
        for low in range(0, len(some), 16):
            text = encoder.encode(some[low : low + 16])
            pieces += [row[mask].to("cpu", torch.bfloat16) for row, mask in zip(text.features, text.mask)]
        lengths = torch.tensor([len(each) for each in pieces], dtype=torch.int64)
        held = torch.tensor(ids, dtype=torch.int64)
        write_tensors(path, {"features": torch.cat(pieces), "lengths": lengths, "ids": held})
        if on_shard is not None:
            on_shard(done, len(missing))
    return [path for path, _ in shards]


class CachedText:
    """The features of captions that were encoded before. Fulfils `TextEncoder` for these captions and ""."""

    def __init__(self, paths: Sequence[Path], device: str | torch.device = "cpu") -> None:
        self.device = device
        self._files = [_open(path) for path in paths]
        self._rows: dict[int, tuple[int, int, int]] = {}
        for number, file in enumerate(self._files):
            lengths = file.get_tensor("lengths")
            ends = lengths.cumsum(0).tolist()
            for each, end, length in zip(file.get_tensor("ids").tolist(), ends, lengths.tolist()):
                self._rows[each] = (number, end - length, end)

    def encode(self, prompts: Sequence[str], max_tokens: int | None = None) -> TextFeatures:
        """A UserError for a caption that is not in the cache."""
        rows = []
        for prompt in prompts:
            place = self._rows.get(caption_id(prompt))
            if place is None:
                raise UserError(
                    f"the cache has no features of {prompt[:60]!r}: run videosyn cache with this configuration"
                )
            number, begin, end = place
            rows.append(self._files[number].get_slice("features")[begin:end])
        features = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)  # (B, L, E)
        lengths = torch.tensor([len(row) for row in rows])
        mask = torch.arange(features.shape[1]) < lengths[:, None]
        return TextFeatures(features.to(self.device), mask.to(self.device))

    def null(self, batch: int) -> TextFeatures:
        return self.encode([""] * batch)


def caption_id(caption: str) -> int:
    """63 bits of the caption's hash."""
    return int.from_bytes(hashlib.blake2b(caption.encode(), digest_size=8).digest()) >> 1


def _open(path: Path):
    """A shard, mapped. A UserError where it is missing or damaged."""
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is damaged ({error}): delete it, and it is made again") from error

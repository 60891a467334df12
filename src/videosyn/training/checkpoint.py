"""A run's state on disk: safetensors and JSON, whole or not at all, the last ones kept. Next: `loop.py`.

    step-00001234/state.json          scalars, and the size and checksum of every other file: written last
    step-00001234/state.safetensors   one process, or several that each have the whole model
    step-00001234/shard-*.safetensors divided models: DCP's safetensors, each process's parts

A folder is written under a hidden name and renamed, so a process that is killed leaves the checkpoints that were there.
"""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch.distributed as dist
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from videosyn.core.errors import UserError
from videosyn.core.tensor_file import save_tensors
from videosyn.training.parallel import on_all

KEEP = 2
"""Checkpoints kept, where nothing else is said."""
SCALARS = "state.json"
_CHUNK = 1 << 24


class DamagedCheckpoint(Exception):
    """A checkpoint whose files are not those that were written. The message says which."""


def save_checkpoint(
    folder: str | os.PathLike, step: int, tensors: Mapping[str, Tensor], scalars: dict[str, Any], keep: int = KEEP
) -> Path:
    """Writes `folder/step-00001234/` and removes all but the last `keep`."""

    def write(partial: Path) -> None:
        whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        save_tensors(whole, partial / "state.safetensors")

    partial = begin_checkpoint(folder, step)
    try:
        write(partial)
        return finish_checkpoint(partial, step, scalars, keep)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)  # on a full disk it would hold the last free bytes
        raise


def begin_checkpoint(folder: str | os.PathLike, step: int) -> Path:
    """An empty hidden folder for a checkpoint's files."""
    partial = Path(folder) / f".step-{step:08d}.partial"
    for left in Path(folder).glob(".step-*.partial"):  # of runs that were killed
        shutil.rmtree(left, ignore_errors=True)
    partial.mkdir(parents=True)
    return partial


def finish_checkpoint(partial: Path, step: int, scalars: dict[str, Any], keep: int) -> Path:
    """Adds the scalars and the files' checksums, and makes it a checkpoint; removes all but the last `keep`."""
    folder, final = partial.parent, partial.parent / f"step-{step:08d}"
    files = {path.name: [path.stat().st_size, _checksum(path)] for path in sorted(partial.iterdir())}
    text = json.dumps({"step": step, **scalars, "files": files}, indent=2) + "\n"
    (partial / SCALARS).write_text(text, encoding="utf-8")
    for path in partial.iterdir():
        _to_disk(path)
    if final.exists():
        shutil.rmtree(final)
    os.replace(partial, final)
    _to_disk(folder)
    for old in checkpoints(folder)[:-keep]:
        shutil.rmtree(old)
    return final


def checkpoints(folder: str | os.PathLike) -> list[Path]:
    """Checkpoints, oldest first."""
    return sorted(path for path in Path(folder).glob("step-*") if path.is_dir())


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `save_checkpoint` wrote: tensors by name, and the scalars with `step` among them."""
    scalars = load_scalars(path)
    try:
        return load_file(path / "state.safetensors"), scalars
    except (OSError, SafetensorError) as error:
        raise DamagedCheckpoint(f"{path.name}: {error}") from error


def load_scalars(path: Path) -> dict[str, Any]:
    """The scalars of a checkpoint whose files are all as they were written; else DamagedCheckpoint."""
    try:
        scalars = json.loads((path / SCALARS).read_text(encoding="utf-8"))
        for name, (size, checksum) in scalars.pop("files", {}).items():
            if (path / name).stat().st_size != size or _checksum(path / name) != checksum:
                raise DamagedCheckpoint(f"{path.name}: {name} is not the file that was written")
        return {**scalars, "step": int(scalars["step"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedCheckpoint(f"{path.name}: {error}") from error


def newest_whole(folder: Path, tell: Callable[[str], None]) -> tuple[Path, dict[str, Any]] | None:
    """The last checkpoint that is as it was written, with its scalars; damaged ones are told of and renamed."""
    for path in reversed(checkpoints(folder)):
        try:
            return path, load_scalars(path)
        except DamagedCheckpoint as error:
            aside = path.with_name(f"damaged-{path.name}")
            tell(f"a damaged checkpoint is skipped ({error}), it is now {aside.name}")
            shutil.rmtree(aside, ignore_errors=True)
            os.replace(path, aside)
    return None


class Saver:
    """Writes checkpoints in the background, one at a time: the step goes on while the disk is busy."""

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder, self.keep = folder, keep
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._running: Future[Path] | None = None

    def save(self, step: int, tensors: Mapping[str, Tensor], scalars: dict[str, Any]) -> None:
        """Copies the tensors and begins to write. Raises what the save before this one raised."""
        self.wait()
        copied = {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}
        self._running = self._thread.submit(save_checkpoint, self.folder, step, copied, scalars, self.keep)

    def wait(self) -> None:
        """Until what was begun is on the disk; raises OSError or SafetensorError where it cannot be."""
        running, self._running = self._running, None
        if running is not None:
            running.result()

    def close(self) -> None:
        self._thread.shutdown(wait=True)


class ShardedSaver:
    """The same for divided models: each process writes its parts, through DCP, as safetensors."""

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder, self.keep = folder, keep
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._running: Future[None] | None = None
        self._group: Any = dist.new_group(backend="gloo")  # a background thread must not share the step's group

    def save(self, step: int, tensors: Mapping[str, Tensor], scalars: dict[str, Any]) -> None:
        """Copies the tensors and begins to write, where every process has waited for the save before this one.

        Raises CannotSave, on every process, where the first one cannot make the folder.
        """
        from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
        from torch.distributed.checkpoint.state_dict_saver import async_save

        partial = self.folder / f".step-{step:08d}.partial"
        on_all(lambda: begin_checkpoint(self.folder, step) if dist.get_rank() == 0 else None)
        writer = HuggingFaceStorageWriter(str(partial), save_distributed=True)
        future = async_save(dict(tensors), storage_writer=writer, process_group=self._group)
        self._running = self._thread.submit(self._finish, future, partial, step, scalars)

    def wait(self) -> None:
        """Until what was begun is on the disk. Raises, not on every process, what the disk or DCP says."""
        running, self._running = self._running, None
        if running is not None:
            running.result()

    def close(self) -> None:
        self._thread.shutdown(wait=True)

    def _finish(self, future: Any, partial: Path, step: int, scalars: dict[str, Any]) -> None:
        try:
            future.result()  # on the first process: when all have written
            if dist.get_rank() == 0:
                finish_checkpoint(partial, step, scalars, self.keep)
        except BaseException:
            if dist.get_rank() == 0:
                shutil.rmtree(partial, ignore_errors=True)
            raise


def load_sharded(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Fills the live DTensors of a run, or whole tensors, with what is in a checkpoint, whatever number of processes
    wrote it.

    A UserError where it is of another model.
    """
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
    from torch.distributed.checkpoint.state_dict_loader import load

    reader = HuggingFaceStorageReader(str(path))
    if odd := sorted(reader.read_metadata().state_dict_metadata.keys() ^ tensors.keys()):
        raise UserError(f"{path} is another model's, {len(odd)} names differ ({', '.join(odd[:5])}): give another out")
    try:
        load(dict(tensors), storage_reader=reader)
    except CheckpointException as error:
        why = "; ".join(sorted({" ".join(str(each).split()) for each, _ in error.failures.values()}))
        raise UserError(f"{path} is another model's ({why}): give another out") from error


def _checksum(path: Path) -> int:
    checksum = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            checksum = zlib.crc32(chunk, checksum)
    return checksum


def _to_disk(path: Path) -> None:
    """What was written survives the machine, not only the process."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""`model_index.json`, the first page of a pipeline folder, and where one is found. Torch-free. Next: `pipeline.py`."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from videosyn.core import config as config_io
from videosyn.core.errors import UserError
from videosyn.core.files import atomic_file
from videosyn.core.shapes import check_num_frames, check_size
from videosyn.weights import SHIPPED, shipped_folder

INDEX_NAME = "model_index.json"
PIPELINE_CLASS = "VideoSynPipeline"
_VARIANTS = ["*.fp16.safetensors", "*.fp16-*.safetensors", "*.bf16.safetensors"]
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")


@dataclass(frozen=True)
class Defaults:
    """What a call that leaves something out gets."""

    num_frames: int = 17
    height: int = 96
    width: int = 96
    num_steps: int = 25
    guidance: float = 3.0
    fps: float = 8.0
    sampler: str = "euler"

    def updated(self, **asked: float | str | None) -> Defaults:
        """These defaults with what was asked for in their place; None means not asked."""
        return dataclasses.replace(self, **{name: value for name, value in asked.items() if value is not None})


@dataclass(frozen=True)
class Trained:
    """What the model saw in training. Zero means unknown."""

    max_frames: int = 0
    max_pixels: int = 0
    """Height times width of the largest frames."""

    def note(self, num_frames: int, height: int, width: int) -> str | None:
        """One line if a film far outside is asked for (over 1.5 times the frames or pixels), else None."""
        asked = []
        if self.max_frames and num_frames > 1.5 * self.max_frames:
            asked.append(f"{num_frames} frames (trained on up to {self.max_frames})")
        if self.max_pixels and height * width > 1.5 * self.max_pixels:
            asked.append(f"{height}x{width} (trained on up to {self.max_pixels} pixels a frame)")
        return f"far outside what this model was trained on: {', '.join(asked)}" if asked else None


@dataclass(frozen=True)
class ModelIndex:
    """The parts of a pipeline, by folder, as (library, class), and what this model is used with."""

    parts: Mapping[str, tuple[str, str]]
    defaults: Defaults = field(default_factory=Defaults)
    trained: Trained = field(default_factory=Trained)

    def save(self, folder: Path) -> None:
        """Writes model_index.json into `folder`, named and laid out as diffusers does."""
        index = {
            "_class_name": PIPELINE_CLASS,
            **{name: list(part) for name, part in self.parts.items()},
            "videosyn_defaults": dataclasses.asdict(self.defaults),
            "videosyn_trained": dataclasses.asdict(self.trained),
        }
        with atomic_file(folder / INDEX_NAME) as hidden:
            config_io.write_json(index, hidden)

    def check_size(self, folder: Path, num_frames: int, height: int, width: int) -> None:
        """A UserError unless the VidVAE and the VDiT of this folder can make that many frames of that many pixels."""
        from videosyn.vdit.config import VDiTConfig
        from videosyn.vidvae.config import VidVAEConfig

        vae = config_io.load_json(VidVAEConfig, folder / "vae" / "config.json")
        vdit = config_io.load_json(VDiTConfig, folder / "transformer" / "config.json")
        check_num_frames(num_frames, vae.time_factor)
        check_size(height, width, vae.space_factor * vdit.patch_size)

    @classmethod
    def load(cls, folder: Path) -> ModelIndex:
        """Reads the folder's index. A UserError where it is missing, damaged or another program's pipeline."""
        path = folder / INDEX_NAME
        if not path.exists():
            raise UserError(f"{folder} is not a model folder: it has no {INDEX_NAME}")
        mapping = config_io.read_json(path)
        if mapping.get("_class_name") != PIPELINE_CLASS:
            raise UserError(f"{folder} holds a {mapping.get('_class_name')}, not a {PIPELINE_CLASS}: give one of ours")
        parts = {name: tuple(part) for name, part in mapping.items() if isinstance(part, list) and len(part) == 2}
        return cls(
            parts,
            config_io.from_dict(Defaults, mapping.get("videosyn_defaults", {}), f"{path}: videosyn_defaults"),
            config_io.from_dict(Trained, mapping.get("videosyn_trained", {}), f"{path}: videosyn_trained"),
        )


def is_foreign(folder: Path) -> bool:
    """Whether a folder holds a pipeline of diffusers that is not ours."""
    path = folder / INDEX_NAME
    return path.is_file() and config_io.read_json(path).get("_class_name") not in (PIPELINE_CLASS, None)


def is_foreign_vae(folder: Path) -> bool:
    """Whether a folder holds a VAE, or another part, that is not ours."""
    path = folder / "config.json"
    return path.is_file() and config_io.read_json(path).get("_class_name") not in ("VidVAE", None)


def find_model(name: str) -> Path:
    """The folder of a shipped model, a local folder, or a hub id fetched by huggingface_hub; else a UserError."""
    shipped = shipped_folder(name)
    if shipped is not None:
        if not (shipped / INDEX_NAME).exists():
            raise UserError(f"the {name} model is missing from this installation: install videosyn again")
        return shipped
    folder = Path(os.path.expanduser(name))  # which leaves a ~user as it is where there is none
    if folder.is_dir():
        return folder
    if folder.exists() or not _HUB_ID.fullmatch(name):
        raise UserError(f"no model {name!r}: give {', '.join(SHIPPED)}, a folder that exists, or a hub id OWNER/NAME")
    return _fetch(name)


def _wanted(folder: Path) -> list[str]:
    """Files of a repository that a model needs: where it has an index, those of its parts, not what lies beside."""
    kinds = ("*.json", "*.safetensors", "*.model", "*.txt")
    if not (folder / INDEX_NAME).is_file():
        return [*kinds, "*.md"]
    index = config_io.read_json(folder / INDEX_NAME)
    parts = [name for name, part in index.items() if isinstance(part, list) and part and part[0] is not None]
    return [INDEX_NAME, "*.md", *(f"{part}/{kind}" for part in parts for kind in kinds)]


def _fetch(hub_id: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    except ImportError as error:
        raise UserError(f"{hub_id} is no folder here, and a hub id needs: pip install huggingface_hub") from error
    try:
        folder = Path(snapshot_download(hub_id, allow_patterns=[INDEX_NAME, "config.json"]))
        return Path(snapshot_download(hub_id, allow_patterns=_wanted(folder), ignore_patterns=_VARIANTS))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"{hub_id} is no folder here and cannot be fetched from the hub: {reason}") from error

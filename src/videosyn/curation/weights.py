"""Are the packages, the device and the weights there that a config needs? Asked before the first decode, not when a
stage comes to need them.

Next: `local_engine.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from videosyn.core.errors import UserError
from videosyn.curation.config import CurationConfig
from videosyn.curation.pipeline import PIPELINE, switched_on
from videosyn.weights import SHIPPED_CAPTIONERS

_HUB_TIMEOUT_S = 10.0


def check_machine(config: CurationConfig, stages: Sequence[str] | None = None) -> None:
    """Looks for the packages and the device of those of `stages` that are on, of all for None; imports no package.

    Raises UserError for the first that is not here, with the pip line that installs it.
    """
    on = {step.name for step in switched_on(PIPELINE, config) if stages is None or step.name in stages}
    models = []
    if config.dedup.clip_model and on & {"source_dedup", "dedup"}:
        models.append("dedup.clip_model")
    if config.aesthetics.head and "aesthetics" in on:
        models.append("aesthetics.clip_model")
    if config.captions.is_model and "captions" in on:
        models.append("captions.captioner")
    needs = [(field, "transformers", "curate,caption") for field in models]
    if "text" in on:
        needs += [("overlaid text", package, "curate") for package in ("rapidocr", "onnxruntime")]
    for what, package, extras in needs:
        if find_spec(package) is None:
            raise UserError(f"{what} needs {package}, which is not installed: pip install 'videosyn[{extras}]'")
    if models:
        from videosyn.core.runtime import pick_device

        pick_device(config.device)


def check_weights(config: CurationConfig) -> None:
    """Looks for the folders, files and hub ids of the stages that are on; loads and downloads no weights.

    Raises UserError for the first that is not here, neither as a path, nor in the hub's cache, nor on the hub.
    """
    named = {}
    if config.dedup.enabled:
        named["dedup.clip_model"] = config.dedup.clip_model
    if config.aesthetics.enabled:
        if bool(config.aesthetics.head) != bool(config.aesthetics.clip_model):
            raise UserError("aesthetics.head and aesthetics.clip_model need each other: give both, or none")
        named["aesthetics.clip_model"] = config.aesthetics.clip_model
        _check_head(config.aesthetics.head)
    if config.captions.is_model and config.captions.captioner not in SHIPPED_CAPTIONERS:
        named["captions.captioner"] = config.captions.captioner
    for field, model in named.items():
        if model:
            _check_model(field, model)


def _check_model(field: str, model: str) -> None:
    path = Path(model).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise UserError(f"{field}: {model} holds no config.json: give the folder of a transformers model")
    elif path.exists() or _is_path(model):
        raise UserError(f"{field}: no folder {model}: give the folder of a transformers model, or its hub id")
    else:
        _check_hub(field, model, "config.json")


def _check_head(head: str) -> None:
    field = "aesthetics.head"
    if not head or Path(head).expanduser().is_file():
        return
    owner_repo, name = "/".join(head.split("/")[:2]), "/".join(head.split("/")[2:])
    if _is_path(head) or "/" not in head:
        raise UserError(f"{field}: no file {head}: give LAION's head as a file, or OWNER/REPO/FILE on the hub")
    _check_hub(field, owner_repo, name)


def _is_path(word: str) -> bool:
    return word.startswith((".", "/", "~")) or "\\" in word


def _check_hub(field: str, repo: str, name: str) -> None:
    """`name`: a file of the repository; empty: any."""
    try:
        from huggingface_hub import HfApi, get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
    except ImportError as error:
        raise UserError(
            f"{field}: {repo} is no folder here, and the hub needs huggingface_hub: give a folder"
        ) from error
    try:
        if name and isinstance(try_to_load_from_cache(repo, name), str):
            return
        if name:
            get_hf_file_metadata(hf_hub_url(repo, name), timeout=_HUB_TIMEOUT_S)
        else:
            HfApi().model_info(repo, timeout=_HUB_TIMEOUT_S)
    except Exception as error:  # the hub's client has a dozen kinds
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"{field}: {repo} is no folder here, and not on the hub ({why}): give a folder") from error

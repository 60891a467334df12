"""A pipeline as a folder in the diffusers layout: model_index.json, vae/, transformer/, text_encoder/, scheduler/."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from videosyn.core import config as config_io
from videosyn.core.errors import UserError
from videosyn.core.model_folder import CONFIG_NAME, load_state, load_strict, save_module
from videosyn.core.runtime import pick_device, pick_dtype
from videosyn.diffusion.epsilon import EpsilonDDPM
from videosyn.diffusion.flow import FlowMatching
from videosyn.sampling.adapter import Adapter, merge_adapter
from videosyn.sampling.eight_bits import keep_in_eight_bits
from videosyn.sampling.fitting import weights_that_do_not_fit_mean_user_error
from videosyn.sampling.memory_mode import MemoryMode
from videosyn.sampling.model_index import INDEX_NAME, ModelIndex
from videosyn.sampling.offload import offload_blocks
from videosyn.sampling.text_on_demand import TextOnDemand
from videosyn.text.features import TextEncoder
from videosyn.text.nano import NanoTextEncoder
from videosyn.text.t5 import T5TextEncoder
from videosyn.vdit.config import VDiTConfig
from videosyn.vdit.model import VDiT
from videosyn.vidvae.config import VidVAEConfig
from videosyn.vidvae.model import VidVAE

if TYPE_CHECKING:
    from videosyn.sampling.pipeline import VideoSynPipeline

VAE, VDIT, TEXT, OBJECTIVE = "vae", "transformer", "text_encoder", "scheduler"
OBJECTIVE_CONFIG = "scheduler_config.json"
_OBJECTIVES = {cls.__name__: cls for cls in (FlowMatching, EpsilonDDPM)}


def save_pipeline(pipeline: VideoSynPipeline, folder: str | os.PathLike, int8: bool = False) -> None:
    """Writes every part, then model_index.json: a folder that has one is complete. An older one goes first, so that no
    mixture of two models loads.
    """
    if pipeline.memory != MemoryMode():
        raise UserError("this pipeline was loaded to take less memory: load it with memory='full' to save it")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / INDEX_NAME).unlink(missing_ok=True)
    save_module(folder / VAE, pipeline.vae, pipeline.vae.config, int8=int8)
    save_module(folder / VDIT, pipeline.vdit, pipeline.vdit.config, int8=int8)
    _save_text_encoder(pipeline.text_encoder, folder / TEXT, int8)
    (folder / OBJECTIVE).mkdir(exist_ok=True)
    config_io.save_json(pipeline.objective, folder / OBJECTIVE / OBJECTIVE_CONFIG)
    parts = {VAE: pipeline.vae, VDIT: pipeline.vdit, TEXT: pipeline.text_encoder, OBJECTIVE: pipeline.objective}
    names = {name: ("videosyn", type(part).__name__) for name, part in parts.items()}
    ModelIndex(names, pipeline.defaults, pipeline.trained).save(folder)


def load_pipeline(
    cls: type[VideoSynPipeline],
    folder: Path,
    device: str,
    dtype: str,
    memory: MemoryMode | None = None,
    adapter: tuple[Adapter, float] | None = None,
) -> VideoSynPipeline:
    """Reads a folder, strictly: every part there, every key accounted for, or a UserError.

    adapter: added to the VDiT's weights, so many times.
    """
    memory = memory or MemoryMode()
    index = ModelIndex.load(folder)
    place = pick_device(device)
    number = pick_dtype(dtype, place)
    vae_config = config_io.load_json(VidVAEConfig, folder / VAE / CONFIG_NAME)
    vdit_config = config_io.load_json(VDiTConfig, folder / VDIT / CONFIG_NAME)
    with _room_for(folder, place):
        vae, vdit = VidVAE(vae_config).to(number), VDiT(vdit_config).to(number)
        load_strict(vae, load_state(folder / VAE), folder / VAE)
        load_strict(vdit, load_state(folder / VDIT), folder / VDIT)
        if adapter is not None:
            merge_adapter(adapter[0], vdit, adapter[1])
        if memory.eight_bits is not None:
            keep_in_eight_bits(vdit.blocks, memory.eight_bits)
        if memory.offload:
            offload_blocks(vdit, vdit.blocks, place)
        text_encoder = _load_text_encoder(index, folder / TEXT, place, number, memory)
        vae, vdit = vae.to(place), vdit if memory.offload else vdit.to(place)
    objective = _load_objective(folder / OBJECTIVE / OBJECTIVE_CONFIG)
    return cls(vae, vdit, text_encoder, objective, index.defaults, index.trained, memory)


def _room_for(folder: Path, device: torch.device) -> AbstractContextManager[None]:
    return weights_that_do_not_fit_mean_user_error(folder, device, "use --memory int8-offload")


def _load_objective(path: Path) -> FlowMatching | EpsilonDDPM:
    name = config_io.read_json(path).get("_class_name")
    if name not in _OBJECTIVES:
        raise UserError(f"{path} must describe one of {', '.join(_OBJECTIVES)}, but its _class_name is {name!r}")
    return config_io.load_json(_OBJECTIVES[name], path)


def _save_text_encoder(encoder: TextEncoder, folder: Path, int8: bool) -> None:
    if isinstance(encoder, NanoTextEncoder):
        encoder.save(folder, int8=int8)
    elif isinstance(encoder, T5TextEncoder):
        encoder.save(folder)
    else:
        raise UserError(f"a {type(encoder).__name__} cannot be saved: use NanoTextEncoder or T5TextEncoder")


def _load_text_encoder(
    index: ModelIndex, folder: Path, device: torch.device, dtype: torch.dtype, memory: MemoryMode
) -> TextEncoder:
    name = index.parts.get(TEXT, ("", "nothing"))[1]
    if not folder.is_dir():  # one on demand would be missed only later
        raise UserError(f"{folder.parent} is incomplete: it has no {folder.name}, copy the model again")
    if name == "NanoTextEncoder":  # a few MB, kept whatever is asked
        return NanoTextEncoder.load(folder).to(device, dtype).eval()
    if name != "T5TextEncoder":
        raise UserError(f"{folder.parent}: text_encoder must be NanoTextEncoder or T5TextEncoder, got {name}")

    def load() -> TextEncoder:
        with _room_for(folder, device):
            if not memory.offload:
                return T5TextEncoder(folder, dtype=dtype, device=device)
            encoder = T5TextEncoder(folder, dtype=dtype, device="cpu")
            offload_blocks(encoder.model, encoder.model.encoder.block, device)
            return encoder

    if memory.text_on_demand:
        return TextOnDemand(load, config_io.read_json(folder / CONFIG_NAME).get("d_model"))
    return load()

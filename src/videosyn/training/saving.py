"""A model in training as its users load it: a pipeline folder, or the file of an adapter. Used by `dit_step.py`."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import torch

from videosyn.core import config as config_io
from videosyn.core.model_folder import save_module
from videosyn.sampling.model_index import ModelIndex
from videosyn.sampling.pipeline import VideoSynPipeline
from videosyn.sampling.storage import OBJECTIVE, OBJECTIVE_CONFIG, TEXT, VAE, VDIT
from videosyn.text.nano import NanoTextEncoder
from videosyn.text.t5 import T5TextEncoder
from videosyn.training.options import DiTTraining


def save_model(pipeline: VideoSynPipeline, folder: Path, text_source: str, adapter: bool) -> None:
    """Writes the pipeline's folder. `adapter`: only the adapter's file, which `pipe.load_lora_weights(folder)` reads.

    Where captions' features come from a cache, the text encoder of `text_source` is copied, once.
    """
    if adapter:
        from videosyn.training.lora import save_adapter

        save_adapter(pipeline.vdit, folder)
        return
    if isinstance(pipeline.text_encoder, (NanoTextEncoder, T5TextEncoder)):
        pipeline.save_pretrained(folder)
        return
    folder.mkdir(parents=True, exist_ok=True)
    save_module(folder / VAE, pipeline.vae, pipeline.vae.config)
    save_module(folder / VDIT, pipeline.vdit, pipeline.vdit.config)
    if not (folder / TEXT).exists():
        hidden = folder / f".{TEXT}.partial"  # large: a kill must not leave half of it in its place
        shutil.rmtree(hidden, ignore_errors=True)
        T5TextEncoder(text_folder(text_source), dtype=torch.bfloat16).save(hidden)
        os.replace(hidden, folder / TEXT)
    (folder / OBJECTIVE).mkdir(exist_ok=True)
    config_io.save_json(pipeline.objective, folder / OBJECTIVE / OBJECTIVE_CONFIG)
    parts = {VAE: "VidVAE", VDIT: "VDiT", TEXT: "T5TextEncoder", OBJECTIVE: type(pipeline.objective).__name__}
    names = {name: ("videosyn", part) for name, part in parts.items()}
    ModelIndex(names, pipeline.defaults, pipeline.trained).save(folder)


def frozen_text(options: DiTTraining) -> str:
    """The folder or hub id of the text encoder that is not trained; empty: a small one is trained along."""
    if options.text:
        return text_folder(options.text)
    if options.init and (Path(options.init) / "model_index.json").is_file():
        index = ModelIndex.load(Path(options.init))
        if index.parts.get(TEXT, ("", ""))[1] == "T5TextEncoder":
            return text_folder(options.init)
    return ""


def stages_of(options: DiTTraining) -> list[DiTTraining]:
    """The run's stages. The frozen text encoder that the first finds in `init` is that of all, by the same name: each
    stage's model has a copy, and the features of captions belong to one name.
    """
    first, *later = options.staged()
    text = frozen_text(first)
    return [first, *(replace(stage, text=text) if text and stage.data else stage for stage in later)]


def text_folder(source: str) -> str:
    """The text encoder's folder of a pipeline; any other folder, or a hub id, is one itself."""
    inside = Path(source) / TEXT
    return str(inside) if inside.is_dir() else source

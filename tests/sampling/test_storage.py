import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from videosyn.core.errors import UserError
from videosyn.core.model_folder import save_module
from videosyn.diffusion.epsilon import EpsilonDDPM
from videosyn.sampling import storage
from videosyn.sampling.pipeline import VideoSynPipeline
from videosyn.text.nano import NanoTextEncoder
from videosyn.vdit.model import VDiT
from videosyn.vidvae.model import VidVAE
from videosyn.vidvae.presets import TINY

PROMPT = "a red ball bounces"


@pytest.fixture
def folder(tiny_folder, tmp_path):
    """A copy to damage."""
    return shutil.copytree(tiny_folder, tmp_path / "model")


def load(folder):
    return VideoSynPipeline.from_pretrained(folder, device="cpu", dtype="fp32")


def test_a_saved_pipeline_makes_the_same_frames(tiny_pipeline, tiny_folder):
    again = load(tiny_folder)
    assert np.array_equal(again(PROMPT).frames, tiny_pipeline(PROMPT).frames)
    assert (again.defaults, again.trained, again.objective) == (
        tiny_pipeline.defaults,
        tiny_pipeline.trained,
        tiny_pipeline.objective,
    )


def test_the_folder_is_laid_out_as_diffusers_lays_it_out(tiny_folder):
    names = {str(path.relative_to(tiny_folder)) for path in tiny_folder.rglob("*") if path.is_file()}
    assert names == {
        "model_index.json",
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
        "transformer/config.json",
        "transformer/diffusion_pytorch_model.safetensors",
        "text_encoder/config.json",
        "text_encoder/diffusion_pytorch_model.safetensors",
        "text_encoder/tokenizer.json",
        "scheduler/scheduler_config.json",
    }
    index = json.loads((tiny_folder / "model_index.json").read_text())
    assert index["_class_name"] == "VideoSynPipeline"
    assert index["transformer"] == ["videosyn", "VDiT"]


def test_int8_is_a_quarter_of_the_size_and_nearly_the_same_film(tiny_pipeline, tmp_path):
    tiny_pipeline.save_pretrained(tmp_path / "int8", int8=True)
    tiny_pipeline.save_pretrained(tmp_path / "full")

    def size(folder):
        return sum(file.stat().st_size for file in folder.rglob("*.safetensors"))

    assert size(tmp_path / "int8") < 0.45 * size(tmp_path / "full")  # biases and headers are not quantised
    difference = load(tmp_path / "int8")(PROMPT).frames.astype(float) - tiny_pipeline(PROMPT).frames
    assert np.abs(difference).mean() < 3


def test_the_papers_objective_survives_the_folder(tiny_pipeline, tmp_path):
    parts = (tiny_pipeline.vae, tiny_pipeline.vdit, tiny_pipeline.text_encoder)
    VideoSynPipeline(*parts, EpsilonDDPM(num_levels=500)).save_pretrained(tmp_path / "paper")
    assert load(tmp_path / "paper").objective == EpsilonDDPM(num_levels=500)


def test_bf16_is_kept_by_every_part(tiny_folder):
    pipeline = VideoSynPipeline.from_pretrained(tiny_folder, device="cpu", dtype="bf16")
    for model in (pipeline.vae, pipeline.vdit, pipeline.text_encoder):
        assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert pipeline(PROMPT).frames.shape == (1, 5, 32, 32, 3)


@pytest.mark.parametrize(
    "part",
    ["vae/config.json", "transformer/diffusion_pytorch_model.safetensors", "text_encoder/tokenizer.json",
     "scheduler/scheduler_config.json", "model_index.json"],
)  # fmt: skip
@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_a_missing_or_damaged_part_is_a_user_error_that_names_it(folder, part, damage):
    path = folder / part
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(UserError) as caught:
        load(folder)
    assert path.parent.name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_of_another_model_are_refused(folder):
    shutil.copy(
        folder / "vae/diffusion_pytorch_model.safetensors", folder / "transformer/diffusion_pytorch_model.safetensors"
    )
    with pytest.raises(UserError, match=r"does not fit VDiT: \d+ missing .* \d+ foreign"):
        load(folder)


@pytest.mark.parametrize("channels", [3, 8])
def test_a_vae_of_other_latents_than_the_vdits_is_refused(folder, channels):
    config = replace(TINY, latent_channels=channels)
    save_module(folder / "vae", VidVAE(config), config)
    with pytest.raises(UserError, match=f"the VAE has {channels} latent channels, the VDiT 4: use the VAE it was"):
        load(folder)


def test_a_text_encoder_of_another_width_than_the_vdits_is_refused(folder, tiny_pipeline):
    encoder = tiny_pipeline.text_encoder
    NanoTextEncoder(replace(encoder.config, width=24), encoder.tokenizer).save(folder / "text_encoder")
    with pytest.raises(UserError, match="the text encoder is 24 wide, the VDiT reads 16: use the one it was"):
        load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"_class_name": "WanPipeline"}, "holds a WanPipeline, not a VideoSynPipeline"),
        ({"text_encoder": ["transformers", "CLIPTextModel"]}, "text_encoder must be NanoTextEncoder or T5TextEncoder"),
        ({"videosyn_defaults": {"framse": 1}}, "unknown key 'framse'"),
    ],
)
def test_a_foreign_index_is_refused(folder, change, message):
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, **change}))
    with pytest.raises(UserError, match=message):
        load(folder)


def test_a_foreign_objective_is_refused(folder):
    (folder / "scheduler/scheduler_config.json").write_text(json.dumps({"_class_name": "PNDMScheduler"}))
    with pytest.raises(UserError, match="its _class_name is 'PNDMScheduler'"):
        load(folder)


@pytest.mark.parametrize("part", [VidVAE, VDiT, NanoTextEncoder])
def test_weights_that_do_not_fit_are_a_user_error_that_says_what_would(tiny_folder, monkeypatch, part):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(part, "to", full)
    with pytest.raises(UserError, match=f"out of memory: the weights of {tiny_folder} do not fit on cpu: free some"):
        load(tiny_folder)
    monkeypatch.setattr(storage, "pick_device", lambda name: torch.device("cuda"))
    with pytest.raises(UserError, match="on cuda: use --memory int8-offload, or --device cpu"):
        load(tiny_folder)


@pytest.mark.parametrize("stopped_at", ["save_module", "_save_text_encoder", "ModelIndex.save"])
def test_a_save_over_an_older_model_that_is_stopped_leaves_nothing_that_loads(
    tiny_pipeline, folder, monkeypatch, stopped_at
):
    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"videosyn.sampling.storage.{stopped_at}", stop)
        with pytest.raises(KeyboardInterrupt):
            tiny_pipeline.save_pretrained(folder)
    with pytest.raises(UserError, match=r"it has no model_index.json"):
        load(folder)
    assert not list(folder.glob(".*"))
    tiny_pipeline.save_pretrained(folder)
    load(folder)

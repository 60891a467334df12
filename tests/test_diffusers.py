import dataclasses
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

pytest.importorskip("diffusers")

import diffusers
from diffusers import (
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    FirstBlockCacheConfig,
    FlowMatchEulerDiscreteScheduler,
    PyramidAttentionBroadcastConfig,
    UniPCMultistepScheduler,
)
from diffusers.utils.import_utils import is_accelerate_available, is_peft_available

from videosyn.core.errors import UserError
from videosyn.diffusers import AutoencoderVidVAE, PromptEncoder, VDiTTransformer3DModel, VideoSynDiffusionPipeline
from videosyn.diffusers.folder import model_folder
from videosyn.diffusion.epsilon import EpsilonDDPM
from videosyn.sampling.pipeline import VideoSynPipeline
from videosyn.text.t5 import T5TextEncoder
from videosyn.vdit.model import VDiT
from videosyn.vdit.presets import TINY
from videosyn.weights import shipped_folder

PROMPT = "a red ball bounces on the grass"
MODELS = [("vae", AutoencoderVidVAE), ("transformer", VDiTTransformer3DModel)]


@pytest.fixture
def pipe(tiny_pipeline):
    """A twin that shares the tiny pipeline's weights."""
    pipe = VideoSynDiffusionPipeline.from_core(tiny_pipeline)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture
def folder(tiny_folder, tmp_path):
    """A copy to damage."""
    return shutil.copytree(tiny_folder, tmp_path / "model")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def latents_of(pipe, **arguments):
    return pipe(PROMPT, **{"generator": seeded(), "output_type": "latent", **arguments}).frames


def latents_of_core(pipeline, monkeypatch, **arguments):
    """What our own pipeline hands to its decoder."""
    seen = []
    decode = pipeline.vae.decode_pieces
    with monkeypatch.context() as patch:
        patch.setattr(pipeline.vae, "decode_pieces", lambda latents: seen.append(latents.clone()) or decode(latents))
        pipeline(PROMPT, **arguments)
    return seen[0]


# The same films


def test_a_models_map_is_denoised_along_and_left_out(tiny_pipeline, monkeypatch):
    torch.manual_seed(0)
    vdit = VDiT(dataclasses.replace(TINY, map_channels=6)).eval()
    torch.nn.init.normal_(vdit.final.weight, std=0.1)
    ours = tiny_pipeline
    mapped = VideoSynPipeline(ours.vae, vdit, ours.text_encoder, ours.objective, ours.defaults, ours.trained)
    twin = VideoSynDiffusionPipeline.from_core(mapped)
    twin.set_progress_bar_config(disable=True)
    latents = latents_of(twin)
    assert latents.shape[1] == TINY.latent_channels
    torch.testing.assert_close(latents, latents_of_core(mapped, monkeypatch, seed=0), rtol=1e-4, atol=1e-4)
    assert twin(PROMPT, output_type="np", generator=seeded()).frames.shape == (1, 5, 32, 32, 3)


@pytest.mark.parametrize(
    ("num_frames", "height", "width", "num_steps", "guidance"),
    [(5, 32, 32, 2, 3.0), (9, 48, 80, 7, 5.0), (1, 32, 32, 4, 1.0)],
)
def test_latents_are_those_of_our_own_pipeline(
    tiny_pipeline, pipe, monkeypatch, num_frames, height, width, num_steps, guidance
):
    size = {"num_frames": num_frames, "height": height, "width": width}
    ours = latents_of_core(tiny_pipeline, monkeypatch, **size, num_steps=num_steps, guidance=guidance)
    twins = latents_of(pipe, **size, num_inference_steps=num_steps, guidance_scale=guidance)
    assert (ours - twins).abs().max() < 1e-4
    assert ours.std() > 0.5


@pytest.mark.parametrize("sampler", ["dpm++", "unipc"])
def test_multistep_schedulers_from_the_default_ones_config_sample_as_ours(tiny_pipeline, pipe, monkeypatch, sampler):
    scheduler = {"dpm++": DPMSolverMultistepScheduler, "unipc": UniPCMultistepScheduler}[sampler]
    pipe.scheduler = scheduler.from_config(pipe.scheduler.config)
    ours = latents_of_core(tiny_pipeline, monkeypatch, num_steps=5, sampler=sampler, height=48, width=64)
    twins = latents_of(pipe, num_inference_steps=5, height=48, width=64)
    assert (ours - twins).abs().max() < 1e-4


@pytest.mark.parametrize("negative_prompt", [None, "a blue cube"])
@pytest.mark.parametrize("legacy", [False, True])
def test_a_transformers_own_null_caption_counts_as_in_our_own_pipeline(
    tiny_pipeline, monkeypatch, legacy, negative_prompt
):
    torch.manual_seed(0)
    config = dataclasses.replace(TINY, null_text_tokens=6, legacy_stdit2=legacy, qk_norm="rms")
    vdit = VDiT(config)
    for parameter in vdit.parameters():
        if parameter.ndim > 1 and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    parts = tiny_pipeline.vae, vdit, tiny_pipeline.text_encoder, tiny_pipeline.objective, tiny_pipeline.defaults
    core = VideoSynPipeline(*parts)
    pipe = VideoSynDiffusionPipeline.from_core(core)
    pipe.set_progress_bar_config(disable=True)
    ours = latents_of_core(core, monkeypatch, negative_prompt=negative_prompt)
    assert (ours - latents_of(pipe, negative_prompt=negative_prompt)).abs().max() < 1e-4


@pytest.mark.parametrize("num_levels", [1000, 500])
def test_the_papers_objective_samples_with_its_schedulers(tiny_pipeline, num_levels):
    parts = (tiny_pipeline.vae, tiny_pipeline.vdit, tiny_pipeline.text_encoder)
    pipe = VideoSynDiffusionPipeline.from_core(VideoSynPipeline(*parts, EpsilonDDPM(num_levels)))
    pipe.set_progress_bar_config(disable=True)
    assert isinstance(pipe.scheduler, diffusers.DDIMScheduler)
    told = []
    pipe.transformer.time_embedder.register_forward_pre_hook(lambda _, inputs: told.append(inputs[0].max().item()))
    size = {"num_frames": 1, "height": 32, "width": 32, "num_inference_steps": 2}
    assert latents_of(pipe, **size).isfinite().all()
    assert max(told) == 500  # of [0, 1000], whatever the number of levels
    pipe.scheduler = DDPMScheduler.from_config(pipe.scheduler.config)
    assert latents_of(pipe, **size).isfinite().all()


def test_learned_variances_are_used_by_ddpm_and_by_no_other_scheduler(tiny_pipeline):
    torch.manual_seed(0)
    vdit = VDiT(dataclasses.replace(TINY, out_channels=2 * TINY.latent_channels))
    torch.nn.init.normal_(vdit.final.weight, std=0.1)
    size = {"num_frames": 5, "height": 32, "width": 32, "num_inference_steps": 3}
    films = []
    for learned in (False, True):
        parts = tiny_pipeline.vae, vdit, tiny_pipeline.text_encoder, EpsilonDDPM(learned_variance=learned)
        core = VideoSynPipeline(*parts, dataclasses.replace(tiny_pipeline.defaults, sampler="ddpm"))
        pipe = VideoSynDiffusionPipeline.from_core(core)
        pipe.set_progress_bar_config(disable=True)
        films.append(latents_of(pipe, **size))
    assert films[0].isfinite().all()
    assert not torch.allclose(*films, atol=0.01)
    config = pipe.scheduler.config
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(config)
    with pytest.raises(UserError, match=r"make it by from_config\(pipe.scheduler.config, variance_type=None\)"):
        pipe(PROMPT, **size)
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(config, variance_type=None)
    assert latents_of(pipe, **size).isfinite().all()


def test_films_of_a_batch_have_their_own_generators(pipe):
    batch = latents_of(pipe, num_videos_per_prompt=2, generator=[seeded(3), seeded(4)])
    assert (batch[1:] - latents_of(pipe, generator=seeded(4))).abs().max() < 1e-4


def test_output_types_show_the_same_film(tiny_pipeline, pipe):
    ours = tiny_pipeline(PROMPT).frames[0].astype(int)  # (T, H, W, 3)
    images = pipe(PROMPT, generator=seeded()).frames[0]
    (array,) = pipe(PROMPT, generator=seeded(), output_type="np", return_dict=False)
    tensor = pipe([PROMPT], generator=seeded(), output_type="pt").frames
    assert np.abs(np.stack([np.asarray(image) for image in images]) - ours).max() <= 1
    assert np.abs(array[0] * 255 - ours).max() <= 1
    assert array.shape == (1, 5, 32, 32, 3)
    assert tensor.shape == (1, 5, 3, 32, 32)


def test_a_callback_sees_and_changes_latents_and_can_interrupt(pipe):
    seen = []

    def stop_after_two(pipe, step, timestep, tensors):
        seen.append((step, float(pipe.current_timestep) == float(timestep)))
        pipe._interrupt = step == 1
        return {"latents": torch.zeros_like(tensors["latents"])}

    assert not latents_of(pipe, num_inference_steps=4, callback_on_step_end=stop_after_two).any()
    assert seen == [(0, True), (1, True)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompt": " "}, "a prompt must not be empty"),
        ({"negative_prompt": ["a", "b"]}, "negative_prompt must be one"),
        ({"num_frames": 6}, "frames must be 1 + 4k, got 6: use 5 or 9"),
        ({"height": 40}, "height must be a multiple of 16"),
        ({"num_inference_steps": 0}, "num_inference_steps must be at least 1"),
        ({"num_videos_per_prompt": 0}, "num_videos_per_prompt must be at least 1"),
        ({"output_type": "gif"}, "output_type must be one of"),
        ({"latents": torch.zeros(1, 4, 2, 4, 5)}, "latents must be (1, 4, 2, 4, 4)"),
        ({"generator": [seeded()] * 2}, "generators must be one"),
        ({"callback_on_step_end_tensor_inputs": ["noise"]}, "callbacks can have"),
    ],
)
def test_what_cannot_be_made_is_a_user_error(pipe, arguments, message):
    with pytest.raises(UserError, match=re.escape(message)):
        pipe(**{"prompt": PROMPT, **arguments})


def test_a_scheduler_that_samples_another_objective_is_refused(pipe):
    pipe.scheduler = UniPCMultistepScheduler()
    with pytest.raises(UserError, match="does not sample a FlowMatching model"):
        pipe(PROMPT)
    pipe.scheduler = FlowMatchEulerDiscreteScheduler(shift=2.0)  # a shift of one's own is kept
    assert pipe(PROMPT, output_type="np").frames.shape == (1, 5, 32, 32, 3)


# The same folders


def test_a_folder_of_ours_loads_in_the_twin_and_the_twins_in_ours(tiny_folder, tmp_path, pipe):
    loaded = VideoSynDiffusionPipeline.from_pretrained(tiny_folder, torch_dtype=torch.float32)
    loaded.set_progress_bar_config(disable=True)
    assert torch.equal(latents_of(loaded), latents_of(pipe))
    loaded.save_pretrained(tmp_path / "again")
    names = {str(path.relative_to(tiny_folder)) for path in tiny_folder.rglob("*")}
    assert {str(path.relative_to(tmp_path / "again")) for path in (tmp_path / "again").rglob("*")} == names
    for name in names - {"scheduler/scheduler_config.json"}:  # which has the scheduler's note
        if (tiny_folder / name).is_file():
            assert (tmp_path / "again" / name).read_bytes() == (tiny_folder / name).read_bytes()
    ours = VideoSynPipeline.from_pretrained(tmp_path / "again", device="cpu", dtype="fp32")
    assert ours.objective == pipe.objective
    images = pipe(PROMPT, generator=seeded()).frames[0]
    assert np.abs(ours(PROMPT).frames[0].astype(int) - np.stack(images)).max() <= 1


def test_the_index_is_one_that_diffusers_reads(tiny_folder):
    index = diffusers.DiffusionPipeline.load_config(tiny_folder)
    assert index["_class_name"] == "VideoSynPipeline"
    parts, options = VideoSynDiffusionPipeline._get_signature_keys(VideoSynDiffusionPipeline)
    assert {name for name, entry in index.items() if isinstance(entry, list)} == set(parts)
    assert {name for name in index if name.startswith("videosyn_")} <= set(options)


def test_what_save_pretrained_would_not_read_is_refused(tiny_folder, tmp_path):
    pipe = VideoSynDiffusionPipeline.from_pretrained(tiny_folder)
    for saver, wrong in ((pipe, {"int_8": True}), (pipe.vae, {"token": "x"}), (pipe.transformer, {"repo_id": "a/b"})):
        with pytest.raises(UserError, match=f"does not know '{next(iter(wrong))}' without push_to_hub"):
            saver.save_pretrained(tmp_path / "out", **wrong)
    with pytest.raises(UserError, match="max_shard_size is a number of bytes, got '5GB'"):
        pipe.vae.save_pretrained(tmp_path / "out", max_shard_size="5GB")
    assert not (tmp_path / "out").exists()


def test_the_shipped_model_opens_with_the_hubs_options():
    folder = model_folder("nano", local_files_only=True)
    assert folder == shipped_folder("nano")


def test_the_scheduler_in_use_survives_the_folder(pipe, tmp_path):
    pipe.scheduler = UniPCMultistepScheduler.from_config(pipe.scheduler.config, solver_order=3)
    pipe.save_pretrained(tmp_path / "unipc")
    again = VideoSynDiffusionPipeline.from_pretrained(tmp_path / "unipc")
    again.set_progress_bar_config(disable=True)
    assert isinstance(again.scheduler, UniPCMultistepScheduler)
    assert again.scheduler.config.solver_order == 3
    assert torch.equal(latents_of(again), latents_of(pipe))


def test_int8_folders_load_dequantised_and_bf16_stays_bf16(tiny_pipeline, tmp_path, pipe):
    tiny_pipeline.save_pretrained(tmp_path / "int8", int8=True)
    loaded = VideoSynDiffusionPipeline.from_pretrained(tmp_path / "int8")
    loaded.set_progress_bar_config(disable=True)
    assert 0 < (latents_of(loaded) - latents_of(pipe)).abs().mean() < 0.1
    half = VideoSynDiffusionPipeline.from_pretrained(tmp_path / "int8", torch_dtype=torch.bfloat16)
    half.set_progress_bar_config(disable=True)
    assert {half.vae.dtype, half.transformer.dtype, half.text_encoder.dtype} == {torch.bfloat16}
    assert half(PROMPT, output_type="np").frames.shape == (1, 5, 32, 32, 3)


def test_a_t5_encoder_is_a_component_as_nanos_is(tiny_pipeline, tmp_path):
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    vocabulary = {word: index for index, word in enumerate(["<pad>", "</s>", "<unk>", "a", "red", "ball"])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    specials = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=words, **specials).save_pretrained(tmp_path / "t5")
    config = transformers.T5Config(vocab_size=len(vocabulary), d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    transformers.T5EncoderModel(config).save_pretrained(tmp_path / "t5")

    text_encoder = T5TextEncoder(tmp_path / "t5", dtype=torch.float32)
    parts = (tiny_pipeline.vae, tiny_pipeline.vdit, text_encoder, tiny_pipeline.objective, tiny_pipeline.defaults)
    pipe = VideoSynDiffusionPipeline.from_core(VideoSynPipeline(*parts))
    pipe.save_pretrained(tmp_path / "film")
    again = VideoSynDiffusionPipeline.from_pretrained(tmp_path / "film")
    for each in (pipe, again):
        each.set_progress_bar_config(disable=True)
    assert torch.equal(latents_of(again), latents_of(pipe))
    assert again.to(torch.bfloat16).text_encoder.encoder.model.dtype == torch.bfloat16


@pytest.mark.parametrize(("part", "twin"), MODELS)
def test_a_model_round_trips_alone_with_its_config(tiny_folder, tmp_path, part, twin):
    model = twin.from_pretrained(tiny_folder, subfolder=part)
    model.save_pretrained(tmp_path / part)
    for file in (tiny_folder / part).iterdir():
        assert (tmp_path / part / file.name).read_bytes() == file.read_bytes()
    model.save_config(tmp_path / "config")
    again = twin.from_config(twin.load_config(tmp_path / "config"))
    assert {key: value.shape for key, value in again.state_dict().items()} == {
        key: value.shape for key, value in model.state_dict().items()
    }
    assert dict(again.config)["_class_name"] == twin.__name__
    assert model.config._name_or_path == str(tiny_folder)


@pytest.mark.parametrize(("part", "twin"), MODELS)
@pytest.mark.parametrize("damage", ["missing", "foreign", "misshapen"])
def test_every_key_must_fit(folder, part, twin, damage):
    path = folder / part / "diffusion_pytorch_model.safetensors"
    state = load_file(path)
    key = next(key for key, value in state.items() if value.ndim > 1)
    if damage == "missing":
        del state[key]
    elif damage == "foreign":
        key = "of.another.model"
        state[key] = torch.zeros(1)
    else:
        state[key] = state[key][1:].clone()
    save_file(state, path)
    message = {"missing": "1 missing", "foreign": "1 foreign", "misshapen": "1 of another shape"}[damage]
    for load in (
        lambda: twin.from_pretrained(folder, subfolder=part),
        lambda: VideoSynDiffusionPipeline.from_pretrained(folder),
    ):
        with pytest.raises(
            UserError, match=rf"does not fit {twin.core_class.__name__}: {message} \({re.escape(key)}\)$"
        ):
            load()


def test_foreign_configs_objectives_encoders_and_options_are_refused(folder):
    with pytest.raises(UserError, match="must describe a VDiT"):
        VDiTTransformer3DModel.from_pretrained(folder, subfolder="vae")
    with pytest.raises(UserError, match=r"must hold a NanoTextEncoder or a T5 encoder, got 'VidVAE'"):
        PromptEncoder.from_pretrained(folder, subfolder="vae")
    with pytest.raises(UserError, match="got 'device'"):
        VideoSynDiffusionPipeline.from_pretrained(folder, device="cpu")
    with pytest.raises(UserError, match=r"dtype must be a torch\.dtype"):
        VideoSynDiffusionPipeline.from_pretrained(folder, torch_dtype="auto")
    path = folder / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "_diffusers": {"_class_name": "UNet2DModel"}}))
    with pytest.raises(UserError, match="is no scheduler"):
        VideoSynDiffusionPipeline.from_pretrained(folder)
    path.write_text('{"_class_name": "DDIMScheduler"}')
    with pytest.raises(UserError, match="must describe one of FlowMatching, EpsilonDDPM"):
        VideoSynDiffusionPipeline.from_pretrained(folder)


def test_parts_of_other_models_are_refused(tiny_folder, pipe):
    vae = AutoencoderVidVAE(**{**pipe.vae.config, "latent_channels": 8})
    with pytest.raises(UserError, match="the VAE has 8 latent channels, the VDiT 4: use the VAE it was trained with"):
        VideoSynDiffusionPipeline.from_pretrained(tiny_folder, vae=vae)
    transformer = VDiTTransformer3DModel(**{**pipe.transformer.config, "text_width": 24})
    with pytest.raises(UserError, match="the text encoder is 16 wide, the VDiT reads 24: use the one it was"):
        VideoSynDiffusionPipeline.from_pretrained(tiny_folder, transformer=transformer)


def test_components_make_another_pipeline_and_given_ones_are_used(pipe, tiny_folder):
    other = VideoSynDiffusionPipeline(**pipe.components, **pipe.parameters)
    other.set_progress_bar_config(disable=True)
    assert torch.equal(latents_of(other), latents_of(pipe))
    assert VideoSynDiffusionPipeline.from_pretrained(tiny_folder, transformer=pipe.transformer).transformer is (
        pipe.transformer
    )
    assert "FlowMatching" in repr(pipe)


def test_push_to_hub_uploads_the_folder_and_its_card(pipe, monkeypatch):
    uploaded = {}

    def upload_folder(repo_id, folder_path, **_):
        root = Path(folder_path)
        uploaded[repo_id] = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}

    hub = "diffusers.utils.hub_utils."
    monkeypatch.setattr(hub + "create_repo", lambda name, **_: type("Repo", (), {"repo_id": name}))
    monkeypatch.setattr(hub + "upload_folder", upload_folder)
    monkeypatch.setattr(hub + "load_or_create_model_card", lambda *_, **__: None)
    card = type("Card", (), {"save": lambda self, path: Path(path).write_text("card")})
    monkeypatch.setattr(hub + "populate_model_card", lambda _: card())
    pipe.push_to_hub("me/film")
    pipe.transformer.push_to_hub("me/vdit")
    assert {"model_index.json", "README.md", "text_encoder/tokenizer.json"} <= uploaded["me/film"]
    assert uploaded["me/vdit"] == {"config.json", "diffusion_pytorch_model.safetensors", "README.md"}


def test_only_safetensors_of_one_precision_are_written(pipe, tmp_path):
    for model in (pipe, pipe.vae):
        with pytest.raises(UserError, match="safetensors only"):
            model.save_pretrained(tmp_path / "model", safe_serialization=False)
        with pytest.raises(UserError, match="one precision"):
            model.save_pretrained(tmp_path / "model", variant="fp16")


# The models as diffusers' users know them


def test_the_autoencoder_encodes_and_decodes_raw_latents(tiny_pipeline, pipe, monkeypatch):
    video = torch.rand(1, 3, 17, 32, 32, generator=seeded()) * 2 - 1
    distribution = pipe.vae.encode(video).latent_dist
    assert torch.allclose(pipe.vae.normalise(distribution.mode()), tiny_pipeline.vae.encode(video), atol=1e-5)
    whole = pipe.vae.decode(distribution.mode()).sample
    assert torch.allclose(whole, tiny_pipeline.vae.decode_raw(distribution.mode()), atol=1e-5)
    assert torch.equal(pipe.vae(video, return_dict=False)[0], whole)
    sampled = pipe.vae(video, sample_posterior=True, generator=seeded()).sample
    assert torch.equal(sampled, pipe.vae.decode(distribution.sample(seeded()), return_dict=False)[0])
    monkeypatch.setattr(type(pipe.vae), "piece_pixels", 32 * 32 * 8)  # two latent frames at once
    pieces = pipe.vae.encode(video, return_dict=False)[0]
    assert torch.allclose(pieces.parameters, distribution.parameters, atol=1e-5)
    assert torch.allclose(pipe.vae.decode(distribution.mode()).sample, whole, atol=1e-5)
    with pytest.raises(UserError, match="frames must be 1 \\+ 4k, got 16"):
        pipe.vae.encode(video[:, :, :16])


def test_the_transformer_answers_as_its_core(tiny_pipeline, pipe):
    inputs = torch.randn(2, 4, 2, 4, 4, generator=seeded()), torch.tensor([900.0, 10.0]), torch.randn(2, 3, 16)
    mask = torch.ones(2, 3, dtype=torch.bool)
    ours = tiny_pipeline.vdit(*inputs, mask)
    assert torch.allclose(pipe.transformer(*inputs).sample, ours, atol=1e-5)
    assert torch.allclose(pipe.transformer(*inputs, mask.long(), return_dict=False)[0], ours, atol=1e-5)
    mask[:, 1:] = False
    assert not torch.allclose(pipe.transformer(*inputs, mask).sample, ours, atol=1e-5)


def test_changed_configs_reach_the_core_and_copies_keep_them(pipe):
    import copy

    pipe.vae.register_to_config(latents_std=[2.0] * 4)
    twin = copy.deepcopy(pipe.vae)
    assert twin.config["latents_std"] == twin.config.latents_std == (2.0,) * 4
    assert twin.config.space_factor == 8
    assert twin.to_core().config.latents_std == (2.0,) * 4
    assert torch.equal(twin.normalise(torch.full((1, 4, 1, 1, 1), 4.0)), torch.full((1, 4, 1, 1, 1), 2.0))


def test_gradient_checkpointing_recomputes_blocks_and_gives_the_same_gradients(tiny_pipeline):
    model = VDiTTransformer3DModel.from_config(VDiTTransformer3DModel.from_core(tiny_pipeline.vdit).config).train()
    model.load_state_dict(tiny_pipeline.vdit.state_dict())
    inputs = torch.randn(1, 4, 2, 4, 4, generator=seeded()), torch.tensor([500.0]), torch.randn(1, 3, 16)
    calls = []
    model.blocks[0].mlp.register_forward_hook(lambda *_: calls.append(1))
    gradients = []
    for enable in (False, True):
        if enable:
            model.enable_gradient_checkpointing()
        model.zero_grad()
        model(*inputs).sample.square().sum().backward()
        gradients.append(model.blocks[0].mlp.fc1.weight.grad.clone())
    assert torch.allclose(*gradients, atol=1e-6)
    assert gradients[0].any()
    assert len(calls) == 3  # once without, twice with
    assert not AutoencoderVidVAE._supports_gradient_checkpointing


@pytest.mark.parametrize("kind", ["first block", "pyramid"])
def test_diffusers_caches_skip_work(pipe, kind):
    exact = latents_of(pipe, num_inference_steps=6)
    if kind == "first block":
        config = FirstBlockCacheConfig(threshold=100.0)  # always below it: all but the first block run once
        module = pipe.transformer.blocks[1].mlp
    else:
        config = PyramidAttentionBroadcastConfig(
            spatial_attention_block_skip_range=2,
            spatial_attention_timestep_skip_range=(-1, 1001),
            spatial_attention_block_identifiers=("temporal_attention",),
            current_timestep_callback=lambda: pipe.current_timestep,
        )
        module = pipe.transformer.blocks[1].temporal_attention.qkv
    calls = []
    module.register_forward_hook(lambda *_: calls.append(1))
    pipe.transformer.enable_cache(config)
    cached = latents_of(pipe, num_inference_steps=6)
    assert len(calls) == {"first block": 1, "pyramid": 3}[kind]
    assert not torch.equal(cached, exact)
    assert torch.equal(latents_of(pipe, num_inference_steps=6), cached)  # a new film begins with an empty cache
    pipe.transformer.disable_cache()
    assert torch.equal(latents_of(pipe, num_inference_steps=6), exact)


def test_other_attention_backends_are_refused_not_ignored(pipe):
    pipe.transformer.set_attention_backend("native")
    with pytest.raises(UserError, match="attention here is torch's own"):
        pipe.transformer.set_attention_backend("flash")


def test_a_pipeline_moves_as_one(pipe, tiny_folder):
    moved = VideoSynDiffusionPipeline.from_pretrained(tiny_folder).to("cpu", torch.bfloat16)
    assert {moved.vae.dtype, moved.transformer.dtype, moved.text_encoder.dtype} == {torch.bfloat16}
    assert moved.text_encoder.encoder.words.weight.dtype == torch.bfloat16


@pytest.mark.skipif(not is_accelerate_available(), reason="accelerate is not installed")
@pytest.mark.parametrize("kind", ["block_level", "leaf_level"])
def test_group_offloading_changes_nothing(tiny_folder, pipe, kind):
    offloaded = VideoSynDiffusionPipeline.from_pretrained(tiny_folder)
    offloaded.set_progress_bar_config(disable=True)
    for model in (offloaded.vae, offloaded.transformer):
        model.enable_group_offload(torch.device("cpu"), offload_type=kind, num_blocks_per_group=1)
    ours, theirs = (p(PROMPT, generator=seeded(), output_type="pt").frames for p in (pipe, offloaded))
    assert torch.equal(ours, theirs)


@pytest.mark.skipif(not is_accelerate_available(), reason="accelerate is not installed")
def test_accelerates_offload_brings_every_weight(tiny_folder, pipe):
    import accelerate

    exact = pipe(PROMPT, generator=seeded(), output_type="pt").frames
    offloaded = VideoSynDiffusionPipeline.from_pretrained(tiny_folder)
    offloaded.set_progress_bar_config(disable=True)
    for model in (offloaded.transformer, offloaded.vae):  # weights are on "meta" but while their layer computes
        accelerate.cpu_offload(model, execution_device=torch.device("cpu"))
    assert torch.equal(offloaded(PROMPT, generator=seeded(), output_type="pt").frames, exact)
    whole = VideoSynDiffusionPipeline.from_pretrained(tiny_folder)
    whole.set_progress_bar_config(disable=True)
    whole.enable_model_cpu_offload(device="cpu")
    assert torch.equal(whole(PROMPT, generator=seeded(), output_type="pt").frames, exact)
    layers = VideoSynDiffusionPipeline.from_pretrained(tiny_folder)
    layers.enable_sequential_cpu_offload(device="cpu")
    assert layers.transformer.final.weight.is_meta
    assert not any(weight.is_meta for weight in layers.text_encoder.parameters())  # its tokens follow its weights
    mapped = VDiTTransformer3DModel.from_pretrained(tiny_folder, subfolder="transformer", device_map="cpu")
    assert torch.equal(mapped.final.weight, pipe.transformer.final.weight)


@pytest.mark.skipif(not is_peft_available(), reason="peft is not installed")
def test_lora_files_load_and_a_model_with_adapters_is_not_saved_as_one_without(tiny_folder, pipe, tmp_path):
    from peft import LoraConfig

    trained = VDiTTransformer3DModel.from_pretrained(tiny_folder, subfolder="transformer")
    trained.add_adapter(LoraConfig(r=2, target_modules=["qkv", "proj"], init_lora_weights=False))
    trained.save_lora_adapter(tmp_path / "lora")
    exact = latents_of(pipe)
    with pytest.raises(UserError, match="unload adapters"):
        trained.save_pretrained(tmp_path / "model")
    loaded = VDiTTransformer3DModel.from_pretrained(tiny_folder, subfolder="transformer")
    loaded.load_lora_adapter(str(tmp_path / "lora"), prefix=None, use_safetensors=True)
    pipe.transformer = loaded
    assert not torch.equal(latents_of(pipe), exact)
    loaded.unload_lora()
    assert torch.equal(latents_of(pipe), exact)


@pytest.fixture
def lora(tiny_folder, tmp_path):
    """Two adapter files, "one" with a header that says alpha is 6 of rank 2, as diffusers writes them."""
    peft = pytest.importorskip("peft")
    for name, alpha in (("one", 6), ("two", 2)):
        torch.manual_seed(alpha)
        trained = VDiTTransformer3DModel.from_pretrained(tiny_folder, subfolder="transformer")
        trained.add_adapter(
            peft.LoraConfig(r=2, lora_alpha=alpha, target_modules=["qkv", "proj", "fc1"], init_lora_weights=False)
        )
        layers = peft.get_peft_model_state_dict(trained)
        metadata = {"r": 2, "lora_alpha": alpha, "target_modules": ["qkv", "proj", "fc1"]}
        VideoSynDiffusionPipeline.save_lora_weights(
            tmp_path / name, layers, transformer_lora_adapter_metadata=metadata if alpha > 2 else None
        )
    return tmp_path


def test_a_pipeline_loads_weighs_fuses_and_unloads_adapters(tiny_folder, pipe, lora):
    plain = latents_of(pipe)
    pipe.load_lora_weights(lora / "one", adapter_name="one")
    one = latents_of(pipe)
    pipe.load_lora_weights(str(lora / "two/pytorch_lora_weights.safetensors"), adapter_name="two")
    assert pipe.get_list_adapters() == {"transformer": ["one", "two"]}
    pipe.set_adapters("one", 0.0)
    torch.testing.assert_close(latents_of(pipe), plain)
    pipe.set_adapters(["one", "two"], [1.0, 0.5])
    both = latents_of(pipe)
    pipe.delete_adapters("two")
    pipe.set_adapters("one")
    torch.testing.assert_close(latents_of(pipe), one)
    assert min((one - plain).abs().max(), (both - one).abs().max()) > 1e-3
    merged = VideoSynPipeline.from_pretrained(tiny_folder, "cpu", "fp32", lora=lora / "one", lora_scale=0.5)
    pipe.set_adapters("one", 0.5)
    half = latents_of(pipe)
    torch.testing.assert_close(latents_of(VideoSynDiffusionPipeline.from_core(merged)), half, rtol=0, atol=1e-4)
    pipe.set_adapters("one")
    pipe.fuse_lora(lora_scale=0.5)
    torch.testing.assert_close(latents_of(pipe), half, rtol=0, atol=1e-4)
    pipe.unfuse_lora()
    pipe.unload_lora_weights()
    torch.testing.assert_close(latents_of(pipe), plain, rtol=0, atol=1e-4)
    pipe.to_core()


def test_adapters_that_do_not_fit_are_refused_and_leave_the_model_as_it_was(tiny_folder, pipe, lora):
    path = lora / "one/pytorch_lora_weights.safetensors"
    state = load_file(path)
    name = "transformer.blocks.0.mlp.fc1.lora_A.weight"
    cases = {
        "1 keys foreign .text_encoder.x": {**state, "text_encoder.x": torch.zeros(2)},
        "1 keys foreign .transformer.blocks.9.mlp.fc1": {**state, name.replace("0", "9"): state[name].clone()},
        f"1 keys missing .{name}": {key: value for key, value in state.items() if key != name},
        "2 keys of another shape": {**state, name: state[name][:, :-1].contiguous()},
        "is empty": {},
    }
    plain = latents_of(pipe)
    for message, damaged in cases.items():
        save_file(damaged, lora / "damaged.safetensors")
        with pytest.raises(UserError, match=message):
            pipe.load_lora_weights(lora / "damaged.safetensors")
        with pytest.raises(UserError, match=message):
            VideoSynPipeline.from_pretrained(tiny_folder, "cpu", "fp32", lora=lora / "damaged.safetensors")
    assert torch.equal(latents_of(pipe), plain)
    with pytest.raises(UserError, match="there is no file"):
        pipe.load_lora_weights(lora / "none.safetensors")
    with pytest.raises(UserError, match="no adapter is called 'one': there are none"):
        pipe.set_adapters("one")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match="damaged"):
        pipe.load_lora_weights(path)


def test_the_readmes_example_runs(tiny_folder, tmp_path, monkeypatch):
    readme = Path(__file__).parents[1] / "README.md"
    section = readme.read_text(encoding="utf-8").split("## With diffusers")[1].split("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(code.replace('"nano"', repr(str(tiny_folder))), {})
    assert (tmp_path / "ball.webp").stat().st_size > 0

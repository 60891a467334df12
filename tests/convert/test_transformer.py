"""`convert pixart-alpha` and `convert open-sora-1.1`: every tensor accounted for, the same outputs, films."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from stdit2_names import their_name

from videosyn import VideoSynPipeline
from videosyn.app.cli import run
from videosyn.app.convert import _text_encoder
from videosyn.app.convert_options import TransformerOptions
from videosyn.convert.checkpoint import Checkpoint, read_checkpoint
from videosyn.convert.transformer import PREFIX, pixart_to_vdit, stdit2_to_vdit
from videosyn.core.errors import UserError
from videosyn.core.video_file import read_video
from videosyn.vdit.config import VDiTConfig
from videosyn.vdit.model import VDiT

GOLDEN = Path(__file__).parent.parent / "vdit" / "golden" / "stdit2_tiny.safetensors"
"""A tiny random STDiT2 under its own names, its inputs and outputs (tests/vdit/test_stdit2.py)."""
FIXTURE = "VIDEOSYN_STDIT2_FIXTURE"
"""Names a safetensors file of the same kind that the original code wrote: `model.*`, what went in, what came out."""


@pytest.fixture
def stdit2(tmp_path) -> Path:
    """The golden file's model as Open-Sora publishes its own: one safetensors file."""
    state = {key.removeprefix("model."): value for key, value in load_file(GOLDEN).items() if key.startswith("model.")}
    path = tmp_path / "stdit2.safetensors"
    save_file(state, path, metadata={"config": json.dumps({"input_sq_size": 8})})
    return path


@pytest.mark.parametrize("with_size", [False, True])
@torch.no_grad()
def test_one_frame_of_a_converted_pixart_is_pixarts(make_pixart, tmp_path, with_size):
    theirs = make_pixart(with_size)
    theirs.save_pretrained(tmp_path)
    ours = pixart_to_vdit(read_checkpoint(tmp_path))
    torch.manual_seed(1)
    image, times = torch.randn(2, 4, 16, 16), torch.tensor([20, 900])
    text, mask = torch.randn(2, 6, 16), torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
    size = {"resolution": torch.tensor([[128.0, 128.0]] * 2), "aspect_ratio": torch.ones(2, 1)}
    expected = theirs(
        image,
        encoder_hidden_states=text,
        timestep=times,
        encoder_attention_mask=mask,
        added_cond_kwargs=size if with_size else {"resolution": None, "aspect_ratio": None},
    ).sample
    out = ours(image[:, :, None], times, text, mask, fps=torch.tensor([8.0, 24.0]))[:, :, 0]
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-4)
    assert expected.std() > 0.1
    assert ours.config.base_size_px == 128


@torch.no_grad()
def test_the_original_pixart_file_gives_the_model_of_diffusers_folder(make_pixart, tmp_path):
    make_pixart().save_pretrained(tmp_path)
    ours = pixart_to_vdit(read_checkpoint(tmp_path))
    original = {
        their_name(key): value[:, :, 0] if key == "patch_embedder.weight" else value
        for key, value in ours.state_dict().items()
        if not any(part in key for part in ("temporal", "rope", "frame_count", "fps"))
    }
    assert "blocks.0.attn.qkv.weight" in original
    extra = {"pos_embed": torch.zeros(1, 64, 24), "y_embedder.y_embedding": torch.randn(5, 16)}
    torch.save({"state_dict": {**original, **extra}}, tmp_path / "pixart.pth")
    again = pixart_to_vdit(read_checkpoint(tmp_path / "pixart.pth"), num_heads=2, base_size_px=128)
    for key, value in original.items():
        found = again.state_dict()[next(name for name in ours.state_dict() if their_name(name) == key)]
        assert torch.equal(found.view_as(value), value)
    assert not again.blocks[0].temporal_attention.proj.weight.any()
    assert torch.equal(again.null_features(1)[0][0], extra["y_embedder.y_embedding"])


@torch.no_grad()
def test_a_converted_stdit2_computes_what_the_original_does(stdit2):
    model = stdit2_to_vdit(read_checkpoint(stdit2)).float()
    assert model.config.time_factor == 1
    model.config = replace(model.config, time_factor=4)  # the golden's clips count four frames to a latent frame
    tensors = load_file(GOLDEN)
    given = tensors["given"].bool()
    for timestep, expected in (
        (tensors["timestep"], tensors["output"]),
        (tensors["timestep"][:, None].masked_fill(given, 0), tensors["output_given"]),
    ):
        out = model(tensors["x"], timestep, tensors["y"], tensors["mask"].bool(), fps=tensors["fps"])
        torch.testing.assert_close(out, expected, rtol=0, atol=1e-4)
    config = model.config
    assert (config.num_heads, config.depth, config.base_size_px, config.null_text_tokens) == (2, 2, 8, 6)


def test_inputs_and_outputs_beside_an_stdit2_are_named_and_not_read(
    stdit2, image_vae_folder, t5_folder, tmp_path, capsys
):
    beside = tmp_path / "beside.safetensors"
    info = {f"info.{name}": torch.ones(2) for name in ("height", "width", "num_frames")}
    save_file({**load_file(GOLDEN), **info}, beside, metadata={"config": json.dumps({"input_sq_size": 8})})
    out = tmp_path / "out"
    words = ["--vae", str(image_vae_folder), "--text-encoder", str(t5_folder), "--dtype", "fp32"]
    assert run(["convert", "open-sora-1.1", str(beside), str(out), *words]) == 0
    told = capsys.readouterr()
    note = told.err.splitlines()[0]
    assert note.startswith(f"videosyn: {beside} also holds tensors under info, ")
    assert note.endswith(" and 4 more: they are not read")  # x, y, mask, timestep, fps, given and two outputs
    assert f"{len(load_file(stdit2))} tensors of {beside}, " in told.out
    state = stdit2_to_vdit(read_checkpoint(stdit2)).state_dict()
    found = VideoSynPipeline.from_pretrained(out, device="cpu", dtype="fp32").vdit.state_dict()
    assert all(torch.equal(value, state[name].float()) for name, value in found.items())


@pytest.mark.skipif(FIXTURE not in os.environ, reason=f"{FIXTURE} names no STDiT2 with its inputs and outputs")
@torch.no_grad()
def test_an_stdit2_of_the_original_code_computes_what_it_did_there():
    path = Path(os.environ[FIXTURE])
    tensors = load_file(path)
    model = stdit2_to_vdit(read_checkpoint(path, prefix=PREFIX)).float()
    num_frames, num_latent = tensors["info.num_frames"][0].int().item(), tensors["x"].shape[2]
    model.config = replace(model.config, time_factor=(num_frames - 1) // (num_latent - 1))
    text, mask, fps = tensors["y"].squeeze(1), tensors["mask"].bool(), tensors["info.fps"]
    size = torch.stack([tensors["info.height"], tensors["info.width"]], 1)
    per_frame = tensors["timestep"][:, None].masked_fill(~tensors["x_mask"].bool(), 0)
    for timestep, expected in ((tensors["timestep"], "output"), (per_frame, "output_masked")):
        out = model(tensors["x"], timestep, text, mask, fps=fps, height_width=size)
        torch.testing.assert_close(out, tensors[expected], rtol=0, atol=1e-4)


def test_an_stdit2_without_query_and_key_norms_is_inferred(tmp_path):
    config = VDiTConfig(
        latent_channels=4,
        out_channels=8,
        text_width=16,
        width=48,
        depth=3,
        num_heads=4,
        mlp_ratio=2,
        qk_norm="none",
        frame_count_conditioning=True,
        fps_conditioning=True,
        legacy_stdit2=True,
        null_text_tokens=6,
        time_factor=1,
    )
    model = VDiT(config)
    state = {their_name(key): value for key, value in model.state_dict().items()}
    found = stdit2_to_vdit(Checkpoint(tmp_path, state))
    assert found.config == config


def test_every_foreign_missing_and_doubled_tensor_is_named(stdit2, make_pixart, tmp_path):
    found = read_checkpoint(stdit2)
    with pytest.raises(UserError, match=r"1 foreign \(y_embedder.extra\)"):
        stdit2_to_vdit(Checkpoint(found.path, {**found.state, "y_embedder.extra": torch.zeros(1)}))
    twice = {**found.state, "patch_embedder.bias": torch.zeros(1)}
    with pytest.raises(UserError, match=r"holds patch_embedder.bias twice, the second time as patch_embedder.bias"):
        stdit2_to_vdit(Checkpoint(found.path, twice))
    less = {name: value for name, value in found.state.items() if name != "blocks.1.attn_temp.proj.bias"}
    with pytest.raises(UserError, match=r"1 missing \(blocks.1.temporal_attention.proj.bias\)"):
        stdit2_to_vdit(Checkpoint(found.path, less))
    with pytest.raises(UserError, match="has 2 heads, by its rotary frequencies, got 4"):
        stdit2_to_vdit(found, num_heads=4)
    make_pixart().save_pretrained(tmp_path / "pixart")
    pixart = read_checkpoint(tmp_path / "pixart")
    less = {name: value for name, value in pixart.state.items() if name != "transformer_blocks.0.attn1.to_k.weight"}
    with pytest.raises(UserError, match="has no companion for all of q, k, v"):
        pixart_to_vdit(Checkpoint(pixart.path, less, pixart.config))


def test_open_sora_becomes_a_pipeline_that_makes_films_by_its_own_rules(
    stdit2, image_vae_folder, t5_folder, tmp_path, capsys
):
    out = tmp_path / "open-sora"
    words = ["--vae", str(image_vae_folder), "--text-encoder", str(t5_folder), "--dtype", "fp32"]
    assert run(["convert", "open-sora-1.1", str(stdit2), str(out), *words]) == 0
    pipeline = VideoSynPipeline.from_pretrained(out, device="cpu", dtype="fp32")
    assert (pipeline.vae.time_factor, pipeline.text_encoder.max_tokens) == (1, 200)
    assert (pipeline.objective.guided_channels, pipeline.vdit.config.num_out_channels) == (3, 8)
    assert pipeline.objective.learned_variance
    defaults = pipeline.defaults
    assert (defaults.num_steps, defaults.guidance, defaults.sampler, defaults.num_frames) == (100, 7.0, "ddpm", 16)
    film = tmp_path / "film.webp"
    words = ["--steps", "2", "--frames", "6", "--height", "32", "--width", "48", "--dtype", "fp32", "--device", "cpu"]
    assert run(["generate", "a red ball bounces", "--model", str(out), "-o", str(film), *words]) == 0
    assert read_video(film)[0].shape == (6, 32, 48, 3)
    for steps, nearest in (("1", 2), ("1001", 1000)):
        words[1] = steps
        capsys.readouterr()
        assert run(["generate", "a red ball", "--model", str(out), "-o", str(tmp_path / "no.webp"), *words]) == 2
        error = capsys.readouterr().err.strip()
        message = f"within 2 and 1000, the noise levels of this model, got {steps}: use {nearest}"
        assert error.splitlines()[-1] == f"videosyn: steps of ddpm must lie {message}"
        assert not (tmp_path / "no.webp").exists()


def test_a_pixart_pipeline_folder_brings_its_own_vae_and_text_encoder(
    make_pixart, image_vae, t5_folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("HOME", str(tmp_path))
    source, out = tmp_path / "pixart", tmp_path / "out"
    make_pixart().save_pretrained(source / "transformer")
    weights = source / "transformer" / "diffusion_pytorch_model.safetensors"
    save_file({**load_file(weights), "pos_embed.pos_embed": torch.zeros(1, 64, 24)}, weights)  # as older files have it
    image_vae.save_pretrained(source / "vae")
    for file in t5_folder.iterdir():
        place = source / ("tokenizer" if file.name.startswith("tokenizer") else "text_encoder")
        place.mkdir(exist_ok=True)
        (place / file.name).write_bytes(file.read_bytes())
    assert run(["convert", "pixart-alpha", "~/pixart", "~/out", "--dtype", "fp32"]) == 0
    told = capsys.readouterr()
    assert "its temporal attention is new and silent" in told.err
    assert ", 1 dropped, " in told.out
    assert told.out.endswith(f"{out}: 1 dropped, tables of positions, which are computed: pos_embed.pos_embed\n")
    pipeline = VideoSynPipeline.from_pretrained(out, device="cpu", dtype="fp32")
    assert (pipeline.vae.time_factor, pipeline.text_encoder.max_tokens) == (4, 120)
    frames = pipeline("a red ball", num_steps=2, num_frames=5, height=32, width=32).frames
    assert frames.shape == (1, 5, 32, 32, 3)
    image = pipeline("a red ball", num_steps=2, num_frames=1, height=32, width=32).frames
    assert image.std() > 1
    assert not np.array_equal(frames[0, 0], frames[0, 4])  # silent: each latent frame is an image of its own noise


def test_another_transformer_is_refused_by_the_names_of_its_tensors(tmp_path):
    state = {"transformer_blocks.0.ff.weight": torch.zeros(2, 2), "pos_embed.proj.weight": torch.zeros(4, 4, 2, 2)}
    with pytest.raises(UserError, match="is not what it is taken for: it has no tensor"):
        pixart_to_vdit(Checkpoint(tmp_path, state, {"sample_size": None}))


@pytest.mark.parametrize("content", [[torch.zeros(1)], torch.zeros(1), {}], ids=["list", "tensor", "nothing"])
def test_a_pickle_that_holds_no_tensors_by_name_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(UserError, match="must hold tensors by name, got a"):
        read_checkpoint(tmp_path / "x.pth")


def test_a_text_encoder_published_as_a_pickle_alone_is_taken(t5_folder, tmp_path):
    folder = shutil.copytree(t5_folder, tmp_path / "t5")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    options = TransformerOptions(tmp_path / "source", tmp_path / "out", text_encoder=str(folder))
    assert _text_encoder(options, 120).model.config.d_model == 16


def test_a_text_encoder_that_lacks_a_tensor_is_refused(stdit2, image_vae_folder, t5_folder, tmp_path, capsys):
    folder = shutil.copytree(t5_folder, tmp_path / "t5")
    file = folder / "model.safetensors"
    whole = load_file(file)
    name = next(name for name in whole if name.endswith("SelfAttention.q.weight"))
    save_file({key: value for key, value in whole.items() if key != name}, file, {"format": "pt"})
    words = ["--vae", str(image_vae_folder), "--text-encoder", str(folder)]
    assert run(["convert", "open-sora-1.1", str(stdit2), str(tmp_path / "out"), *words]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"is no whole T5 encoder: 1 missing ({name})" in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["convert", "sd-vae", "absent", "out"], "no weights at absent: give a diffusers folder or a file of weights"),
        (["convert", "sd-vae", "notes.txt", "out"], "weights must be .safetensors, .pth, .pt, .ckpt, .bin, got notes"),
        (["convert", "sd-vae", "bad.ckpt", "out"], "bad.ckpt holds more than tensors, or is damaged: it is not read"),
        (["convert", "sd-vae", "bad.safetensors", "out"], "bad.safetensors is damaged"),
        (["convert", "open-sora-1.1", "model.safetensors", "out"], "model.safetensors is no STDiT2: it has no tensor"),
        (["convert", "pixart-alpha", "notes.txt", "."], ". exists already: choose a new folder"),
    ],
)
def test_a_mistake_is_one_line_code_2_and_nothing_written(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("no weights")
    torch.save({"state_dict": {"a": torch.zeros(1)}, "code": Path("x")}, tmp_path / "bad.ckpt")  # a pickled object
    (tmp_path / "bad.safetensors").write_bytes(b"x" * 99)
    save_file({"a.weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    before = sorted(path.name for path in tmp_path.iterdir())
    assert run(words) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith(f"videosyn: {message}")
    assert "\n" not in error
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_every_path_is_taken_from_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    options = TransformerOptions(Path("~/a"), Path("~/b"), vae=Path("~/c"), text_encoder="~/d")
    paths = options.source, options.output, options.vae, Path(options.text_encoder or "")
    assert paths == tuple(tmp_path / name for name in "abcd")


def test_a_base_size_that_the_folder_contradicts_is_refused(make_pixart, tmp_path):
    make_pixart().save_pretrained(tmp_path)
    found = read_checkpoint(tmp_path)
    for asked in (64, 0):
        with pytest.raises(UserError, match=rf"says base_size 128, got {asked}: leave it out$"):
            pixart_to_vdit(found, base_size_px=asked)
    silent = {name: value for name, value in found.config.items() if name != "sample_size"}
    assert pixart_to_vdit(replace(found, config=silent), base_size_px=64).config.base_size_px == 64
    with pytest.raises(UserError, match="base_size_px must be at least 1, got 0"):
        pixart_to_vdit(replace(found, config=silent), base_size_px=0)


@pytest.mark.parametrize("flag", ["heads", "base-size"])
def test_heads_and_a_base_size_that_are_not_above_0_are_refused(stdit2, tmp_path, capsys, flag):
    assert run(["convert", "open-sora-1.1", str(stdit2), str(tmp_path / "out"), f"--{flag}", "0"]) == 2
    assert capsys.readouterr().err == f"videosyn: {flag} must be above 0, got 0: leave it out\n"


def test_open_soras_folder_is_taken_as_its_file_is(stdit2, tmp_path):
    folder = tmp_path / "STDiT2"
    folder.mkdir()
    shutil.copy(stdit2, folder / "model.safetensors")
    (folder / "config.json").write_text('{"model_type": "stdit2", "input_sq_size": 16}')
    found = stdit2_to_vdit(read_checkpoint(folder))
    assert found.config.base_size_px == 16
    state = stdit2_to_vdit(read_checkpoint(stdit2)).state_dict()
    assert all(torch.equal(value, state[name]) for name, value in found.state_dict().items())


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_pipeline_that_cannot_be_written_whole_is_not_there(
    stdit2, image_vae_folder, t5_folder, tmp_path, monkeypatch, capsys, error
):
    def fail(*_):
        raise error

    monkeypatch.setattr("videosyn.text.t5.T5TextEncoder.save", fail)  # the VAE and the transformer are written by then
    before = sorted(tmp_path.iterdir())
    words = ["--vae", str(image_vae_folder), "--text-encoder", str(t5_folder)]
    stopped = isinstance(error, KeyboardInterrupt)
    assert run(["convert", "open-sora-1.1", str(stdit2), str(tmp_path / "out"), *words]) == (130 if stopped else 2)
    message = "stopped, nothing half written" if stopped else "out cannot be written ([Errno 28] No space left"
    assert message in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before

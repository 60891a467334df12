"""Small random Wan, LTX, CogVideoX and Latte pipelines, built from config and saved as diffusers saves them."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from videosyn.app.cli import run
from videosyn.core.errors import UserError
from videosyn.core.video_file import read_metadata, read_video
from videosyn.evaluation.sources import open_any_vae, reconstruct
from videosyn.sampling.foreign import ForeignPipeline, open_pipeline
from videosyn.sampling.foreign_vae import ForeignVae
from videosyn.sampling.pipeline import VideoSynPipeline

SIZE = {"num_frames": 9, "height": 32, "width": 32}


MAKERS = ("wan", "ltx", "cogvideox")


@pytest.fixture
def folders(foreign_folders) -> dict[str, Path]:
    return foreign_folders


@pytest.mark.parametrize("name", MAKERS)
def test_generate_takes_any_text_to_video_folder(folders, name, tmp_path, capsys):
    out = tmp_path / "film.webp"
    words = ["--model", str(folders[name]), "-o", str(out), "--frames", "9", "--height", "32", "--width", "32"]
    assert run(["generate", "a red ball", *words, "--steps", "2", "--seed", "4", "--dtype", "fp32"]) == 0
    frames, fps = read_video(out)
    assert frames.shape == (9, 32, 32, 3)
    assert fps == pytest.approx({"wan": 16, "ltx": 25, "cogvideox": 8}[name], abs=0.5)
    settings = json.loads(read_metadata(out)["settings"])
    assert (settings["num_frames"], settings["num_steps"]) == (9, 2)


def test_a_film_of_several_is_the_film_made_alone_with_its_seed(folders):
    pipeline = open_pipeline(str(folders["wan"]), "cpu", "fp32")
    assert isinstance(pipeline, ForeignPipeline)
    done = []
    both = pipeline(["a red ball", "a ball"], num_steps=2, seed=5, progress=lambda *step: done.append(step), **SIZE)
    assert both.frames.shape == (2, 9, 32, 32, 3)
    assert (both.seeds, both.prompts) == ([5, 6], ["a red ball", "a ball"])
    assert np.array_equal(both.frames[1], pipeline("a ball", num_steps=2, seed=6, **SIZE).frames[0])
    assert done == [(step, 4) for step in (1, 2, 3, 4)]


def test_a_pipeline_that_takes_no_callback_tells_of_its_steps_too(folders):
    pipeline = open_pipeline(str(folders["wan"]), "cpu", "fp32")
    assert isinstance(pipeline, ForeignPipeline)

    def watched():
        steps, pictures = [], []
        output = pipeline(
            ["a red ball", "a ball"],
            num_steps=3,
            progress=lambda *step: steps.append(step),
            preview=lambda films, shown: pictures.append((films, shown())),
            batch=2,
            **SIZE,
        )
        return output.frames, steps, pictures

    frames, steps, pictures = watched()
    assert steps == [(2, 6), (4, 6), (6, 6)]
    pipeline._accepts = {name: each for name, each in pipeline._accepts.items() if name != "callback_on_step_end"}
    frames_again, steps_again, pictures_again = watched()
    assert np.array_equal(frames_again, frames)
    assert steps_again == steps
    assert [films for films, _ in pictures_again] == [films for films, _ in pictures] != []
    assert all(np.array_equal(one, other) for (_, one), (_, other) in zip(pictures, pictures_again))

    class Unwanted(BaseException):
        pass

    def refuse(done, total):
        raise Unwanted

    with pytest.raises(Unwanted):
        pipeline("a red ball", num_steps=3, progress=refuse, **SIZE)
    assert "step" not in vars(pipeline.pipeline.scheduler)  # what watched is gone


def test_the_first_block_cache_of_diffusers_is_a_flag_too_and_goes_off_again(folders):
    pipeline = open_pipeline(str(folders["wan"]), "cpu", "fp32")
    exact = pipeline("a red ball", num_steps=6, **SIZE).frames
    computed = []
    pipeline.pipeline.transformer.blocks[1].attn1.register_forward_hook(lambda *_: computed.append(1))
    cached = pipeline("a red ball", num_steps=6, cache_threshold=0.9, **SIZE).frames
    assert 2 <= len(computed) < 12  # with and without the prompt, at the first step at least
    assert not np.array_equal(cached, exact)
    assert np.array_equal(pipeline("a red ball", num_steps=6, **SIZE).frames, exact)


def test_our_own_folders_open_as_ours(tiny_folder):
    assert isinstance(open_pipeline(str(tiny_folder), "cpu", "fp32"), VideoSynPipeline)


@pytest.mark.parametrize("name", MAKERS)
def test_the_vae_of_any_folder_reconstructs(folders, name):
    vae = open_any_vae(str(folders[name]), "cpu", "fp32")
    assert isinstance(vae, ForeignVae)
    video = torch.rand(1, 3, 9, 32, 32) * 2 - 1
    with torch.inference_mode():
        assert vae.decode(vae.encode(video)).shape == video.shape


def hunyuan_vae():
    from diffusers import AutoencoderKLHunyuanVideo

    return AutoencoderKLHunyuanVideo(
        latent_channels=4,
        down_block_types=("HunyuanVideoDownBlock3D",) * 4,
        up_block_types=("HunyuanVideoUpBlock3D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=1,
        norm_num_groups=4,
    )


def wan_vae():
    from diffusers import AutoencoderKLWan

    mean, std = [0.5, -1.0, 2.0, 0.0], [2.0, 0.5, 1.0, 4.0]
    return AutoencoderKLWan(
        base_dim=3,
        z_dim=4,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        latents_mean=mean,
        latents_std=std,
    )


def ltx_vae(make_ltx):
    vae = make_ltx().vae
    vae.latents_mean.copy_(torch.linspace(-1, 1, 8))
    vae.latents_std.copy_(torch.linspace(1, 3, 8))
    return vae


@pytest.fixture(scope="module")
def vae_folders(foreign_makers, tmp_path_factory) -> dict[str, Path]:
    found = {}
    torch.manual_seed(0)
    make = foreign_makers
    vaes = {
        "wan": wan_vae(),
        "ltx": ltx_vae(make["ltx"]),
        "cogvideox": make["cogvideox"]().vae,
        "hunyuan": hunyuan_vae(),
    }
    for name, vae in vaes.items():
        found[name] = tmp_path_factory.mktemp(f"{name}_vae")
        vae.save_pretrained(found[name])
    return found


def as_its_pipelines_do(name: str, vae, raw: torch.Tensor) -> torch.Tensor:
    from diffusers import LTXPipeline

    if name == "wan":
        mean, std = (torch.tensor(vae.config[key]).view(1, -1, 1, 1, 1) for key in ("latents_mean", "latents_std"))
        return (raw - mean) / std
    if name == "ltx":
        return LTXPipeline._normalize_latents(raw, vae.latents_mean, vae.latents_std, vae.config.scaling_factor)
    return raw * vae.config.scaling_factor


@pytest.mark.parametrize(
    ("name", "factors"),
    [("wan", (4, 4, 8)), ("ltx", (8, 4, 4)), ("cogvideox", (4, 4, 8)), ("hunyuan", (4, 4, 8))],
)
@torch.inference_mode()
def test_any_video_vae_encodes_and_decodes_in_our_axes(vae_folders, name, factors):
    vae = open_any_vae(str(vae_folders[name]), "cpu", "fp32")
    assert (vae.latent_channels, vae.time_factor, vae.space_factor) == factors
    video = torch.rand(2, 3, 9, 32, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    latents = vae.encode(video)
    frames = 1 + 8 // vae.time_factor
    assert latents.shape == (2, vae.latent_channels, frames, 32 // vae.space_factor, 48 // vae.space_factor)
    raw = vae.vae.encode(video).latent_dist.mode()
    torch.testing.assert_close(latents, as_its_pipelines_do(name, vae.vae, raw))
    assert not torch.allclose(latents, raw, atol=1e-3)
    decoded = vae.decode(latents)
    assert decoded.shape == video.shape
    torch.testing.assert_close(decoded, vae.vae.decode(raw).sample, rtol=1e-3, atol=1e-4)


def test_the_vae_of_a_pipeline_is_found_and_what_is_none_refused(folders, tmp_path):
    assert type(open_any_vae(str(folders["wan"]), "cpu", "bf16").vae).__name__ == "AutoencoderKLWan"
    (tmp_path / "config.json").write_text('{"_class_name": "WanTransformer3DModel"}')
    with pytest.raises(UserError, match="holds a WanTransformer3DModel, neither a VidVAE nor one of diffusers'"):
        open_any_vae(str(tmp_path), "cpu", "fp32")


def test_an_image_vae_takes_a_video_frame_by_frame(tmp_path):
    from diffusers import AutoencoderKL

    image_vae = AutoencoderKL(
        block_out_channels=(8, 8),  # pyright: ignore[reportArgumentType]
        down_block_types=("DownEncoderBlock2D",) * 2,  # pyright: ignore[reportArgumentType]
        up_block_types=("UpDecoderBlock2D",) * 2,  # pyright: ignore[reportArgumentType]
        norm_num_groups=2,
    ).eval()
    image_vae.save_pretrained(tmp_path)
    vae = open_any_vae(str(tmp_path), "cpu", "fp32")
    video = torch.rand(1, 3, 3, 16, 16) * 2 - 1
    with torch.inference_mode():
        expected = image_vae.decode(image_vae.encode(video[:, :, 1]).latent_dist.mode()).sample
        torch.testing.assert_close(vae.decode(vae.encode(video))[:, :, 1], expected, rtol=1e-4, atol=1e-5)
        raw = image_vae.encode(video[:, :, 1]).latent_dist.mode()
        torch.testing.assert_close(vae.encode(video)[:, :, 1], raw * 0.18215)
    assert (vae.time_factor, vae.space_factor, vae.latent_channels) == (1, 2, 4)


def test_an_image_vae_with_the_old_names_of_its_attention_is_whole(tmp_path):
    from diffusers import AutoencoderKL

    image_vae = AutoencoderKL(block_out_channels=(8,), norm_num_groups=2)  # pyright: ignore[reportArgumentType]
    image_vae.save_pretrained(tmp_path)
    (file,) = tmp_path.glob("*.safetensors")
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    pattern = re.compile(r"(?<=attentions\.0\.)(to_[qkv]|to_out\.0)(?=\.)")
    state = {pattern.sub(lambda match: old[match[0]], key): value for key, value in load_file(file).items()}
    assert "encoder.mid_block.attentions.0.proj_attn.weight" in state
    save_file(state, file, {"format": "pt"})
    vae = open_any_vae(str(tmp_path), "cpu", "fp32")
    assert isinstance(vae, ForeignVae)
    found = vae.vae.state_dict()
    assert all(torch.equal(value, found[key]) for key, value in image_vae.state_dict().items())
    del state["decoder.mid_block.attentions.0.query.bias"]
    save_file(state, file, {"format": "pt"})
    with pytest.raises(UserError, match=r"1 missing \(decoder\.mid_block\.attentions\.0\.to_q\.bias\)"):
        open_any_vae(str(tmp_path), "cpu", "fp32")


def test_frames_that_a_vae_does_not_give_back_are_refused(folders):
    vae = open_any_vae(str(folders["wan"]), "cpu", "fp32")
    with pytest.raises(UserError, match=r"7 frames of 32x32 come back as 5 of 32x32: choose frames and sizes"):
        reconstruct(vae, torch.zeros(1, 7, 32, 32, 3, dtype=torch.uint8))


def test_a_missing_and_a_foreign_tensor_are_refused(folders, tmp_path):
    folder = shutil.copytree(folders["wan"], tmp_path / "wan")
    file = next((folder / "transformer").glob("*.safetensors"))
    whole = load_file(file)
    name = sorted(whole)[0]
    save_file({key: value for key, value in whole.items() if key != name}, file, {"format": "pt"})
    with pytest.raises(UserError, match=rf"does not fit WanTransformer3DModel: 1 missing \({name}\)"):
        open_pipeline(str(folder), "cpu", "fp32")
    save_file({**whole, "foreign": torch.zeros(1)}, file, {"format": "pt"})
    with pytest.raises(UserError, match=r"1 foreign \(foreign\)"):
        open_pipeline(str(folder), "cpu", "fp32")


def test_a_text_encoder_is_whole_or_refused(folders, tmp_path):
    folder = shutil.copytree(folders["wan"], tmp_path / "wan")
    file = next((folder / "text_encoder").glob("*.safetensors"))
    whole = load_file(file)
    name = next(key for key in sorted(whole) if "block.1" in key)
    save_file({key: value for key, value in whole.items() if key != name}, file, {"format": "pt"})
    with pytest.raises(UserError, match=rf"text_encoder does not fit T5EncoderModel: 1 missing \({name}\)"):
        open_pipeline(str(folder), "cpu", "fp32")
    save_file({**whole, "foreign": torch.zeros(1)}, file, {"format": "pt"})
    with pytest.raises(UserError, match=r"text_encoder does not fit T5EncoderModel: 1 foreign \(foreign\)"):
        open_pipeline(str(folder), "cpu", "fp32")
    save_file(whole, file, {"format": "pt"})  # the table of words lies there once, though two layers have it
    assert isinstance(open_pipeline(str(folder), "cpu", "fp32"), ForeignPipeline)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--height", "40"], "height must be a multiple of 16, got 40: use 32 or 48"),
        (["--image", __file__], "--image works with VideoSyn models alone"),
        (["--compile"], "--compile works with VideoSyn models alone"),
        (["--sampler", "euler"], "--sampler works with VideoSyn models alone"),
        (["--guidance-interval", "0", "1"], "--guidance-interval works with VideoSyn models alone"),
    ],
)
def test_a_mistake_is_one_line_code_2_and_nothing_written(folders, tmp_path, capsys, words, message):
    out = tmp_path / "film.mp4"
    size = ["--frames", "9", "--width", "32", "--steps", "1"]
    assert run(["generate", "a ball", "--model", str(folders["wan"]), "-o", str(out), *size, *words]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("videosyn: ")
    assert message in error
    assert not out.exists()


class Touches:
    """Unpickled, it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_pickled_weights_are_not_read(folders, tmp_path):
    folder = shutil.copytree(folders["wan"], tmp_path / "wan")
    (file,) = (folder / "transformer").glob("*.safetensors")
    torch.save({**load_file(file), "more": Touches(tmp_path / "unpickled")}, file.with_suffix(".bin"))
    file.unlink()
    with pytest.raises(UserError, match="does not load"):
        open_pipeline(str(folder), "cpu", "fp32")
    assert not (tmp_path / "unpickled").exists()


def test_weights_that_do_not_fit_are_a_user_error(foreign_folders, monkeypatch):
    from diffusers import WanPipeline

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(WanPipeline, "to", full)
    with pytest.raises(UserError, match=r"out of memory: the weights of .* do not fit on cpu"):
        open_pipeline(str(foreign_folders["wan"]), "cpu", "fp32")


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("wan", {"num_frames": 8}, "frames must be 1 + 4k, got 8: use 5 or 9"),
        ("ltx", {"num_frames": 12}, "frames must be 1 + 8k, got 12: use 9 or 17"),
        ("cogvideox", {"num_frames": 10}, "frames must be 1 + 4k, got 10: use 9 or 13"),
        ("wan", {"num_steps": 0}, "num_steps must be at least 1, got 0: use 1 or more"),
    ],
)
def test_other_numbers_of_frames_or_steps_than_a_pipeline_makes_are_refused(folders, name, arguments, message):
    pipeline = open_pipeline(str(folders[name]), "cpu", "fp32")
    with pytest.raises(UserError, match=re.escape(message)):
        pipeline("a red ball", **{**SIZE, "num_steps": 1, **arguments})

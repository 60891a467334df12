"""`convert sd-vae`: an image VAE, from diffusers' folder or the CompVis original, inflated."""

import re

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from videosyn.app.cli import run
from videosyn.convert.checkpoint import Checkpoint, read_checkpoint
from videosyn.convert.image_vae import to_vidvae
from videosyn.core.errors import UserError
from videosyn.dataset.latent_cache import load_vae

TO_COMPVIS = (
    (r"^encoder\.down_blocks\.(\d+)\.resnets\.", r"encoder.down.\1.block."),
    (r"^encoder\.down_blocks\.(\d+)\.downsamplers\.0\.", r"encoder.down.\1.downsample."),
    (r"^decoder\.up_blocks\.0\.", "decoder.up.three."),
    (r"^decoder\.up_blocks\.1\.", "decoder.up.2."),
    (r"^decoder\.up_blocks\.2\.", "decoder.up.1."),
    (r"^decoder\.up_blocks\.3\.", "decoder.up.0."),
    (r"\.three\.", ".3."),
    (r"^decoder\.up\.(\d+)\.resnets\.", r"decoder.up.\1.block."),
    (r"^decoder\.up\.(\d+)\.upsamplers\.0\.", r"decoder.up.\1.upsample."),
    (r"\.mid_block\.resnets\.0\.", ".mid.block_1."),
    (r"\.mid_block\.resnets\.1\.", ".mid.block_2."),
    (r"\.mid_block\.attentions\.0\.group_norm\.", ".mid.attn_1.norm."),
    (r"\.mid_block\.attentions\.0\.to_([qkv])\.", r".mid.attn_1.\1."),
    (r"\.mid_block\.attentions\.0\.to_out\.0\.", ".mid.attn_1.proj_out."),
    (r"\.conv_shortcut\.", ".nin_shortcut."),
    (r"\.conv_norm_out\.", ".norm_out."),
)


def compvis(image_vae) -> dict[str, torch.Tensor]:
    state = {}
    for name, tensor in image_vae.state_dict().items():
        for pattern, replacement in TO_COMPVIS:
            name = re.sub(pattern, replacement, name)
        is_projection = "attn_1" in name and tensor.ndim == 2
        state[name] = tensor[..., None, None] if is_projection else tensor
    return state


@torch.inference_mode()
def assert_is_the_image_vae(vae, image_vae, scaling: float) -> None:
    """One image, and every frame of a still video, come out as the image VAE gives them."""
    torch.manual_seed(1)
    image = torch.rand(1, 3, 32, 40) * 2 - 1
    mean = image_vae.encode(image).latent_dist.mean
    decoded = image_vae.decode(mean).sample
    for num_frames in (1, 5):
        video = image.unsqueeze(2).expand(-1, -1, num_frames, -1, -1)
        latents = vae.encode(video)
        torch.testing.assert_close(latents, (mean * scaling).unsqueeze(2).expand_as(latents), rtol=0, atol=1e-4)
        torch.testing.assert_close(vae.decode(latents), decoded.unsqueeze(2).expand_as(video), rtol=0, atol=1e-4)
    assert decoded.std() > 0.01


def test_the_command_turns_diffusers_folder_into_a_vidvae(image_vae, image_vae_folder, tmp_path, capsys):
    assert run(["convert", "sd-vae", str(image_vae_folder), str(tmp_path / "vae")]) == 0
    assert f"{len(image_vae.state_dict())} tensors of {image_vae_folder}" in capsys.readouterr().out
    vae = load_vae(tmp_path / "vae")
    assert (vae.config.encoder_widths, vae.config.norm_groups, vae.time_factor) == ((8, 16, 16, 24), 4, 4)
    assert_is_the_image_vae(vae, image_vae, scaling=0.2)


def test_the_compvis_original_gives_the_same_and_its_training_leftovers_are_dropped(image_vae, tmp_path):
    path = tmp_path / "vae.ckpt"
    extra = {"loss.discriminator.main.0.weight": torch.zeros(2), "model_ema.decay": torch.tensor(0.99)}
    torch.save({"state_dict": {**compvis(image_vae), **extra}}, path)
    vae = to_vidvae(read_checkpoint(path), norm_groups=4)
    assert_is_the_image_vae(vae, image_vae, scaling=0.18215)


def test_frame_by_frame_it_is_the_image_vae_on_any_video(image_vae, image_vae_folder):
    vae = to_vidvae(read_checkpoint(image_vae_folder), time_halvings=0)
    assert vae.time_factor == 1
    torch.manual_seed(2)
    video = torch.rand(1, 3, 6, 32, 32) * 2 - 1  # six different frames: any number will do
    with torch.inference_mode():
        means = image_vae.encode(video[0].transpose(0, 1)).latent_dist.mean
        torch.testing.assert_close(vae.encode(video)[0], (means * 0.2).transpose(0, 1), rtol=0, atol=1e-4)
        decoded = image_vae.decode(means).sample.transpose(0, 1)
        torch.testing.assert_close(vae.decode(vae.encode(video))[0], decoded, rtol=0, atol=1e-4)


def test_a_vae_without_quant_convolutions_and_with_a_shift_is_taken_too(make_small_vae):
    without = {"use_quant_conv": False, "use_post_quant_conv": False}
    image_vae, found = make_small_vae(latent_channels=6, shift_factor=0.1, **without)
    vae = to_vidvae(found, time_halvings=1)
    image = torch.rand(1, 3, 16, 16) * 2 - 1
    with torch.inference_mode():
        mean = image_vae.encode(image).latent_dist.mean
        torch.testing.assert_close(vae.encode(image.unsqueeze(2))[:, :, 0], (mean - 0.1) * 0.5, rtol=0, atol=1e-4)


def test_a_tensor_too_many_or_too_few_is_named(image_vae, image_vae_folder):
    found = read_checkpoint(image_vae_folder)
    state = dict(found.state)
    with pytest.raises(UserError, match=r"foreign\.weight"):
        to_vidvae(Checkpoint(found.path, {**state, "foreign.weight": torch.zeros(1)}, found.config))
    del state["decoder.mid_block.resnets.1.norm1.bias"]
    with pytest.raises(UserError, match=r"decoder\.middle\.block2\.norm1\.bias"):
        to_vidvae(Checkpoint(found.path, state, found.config))
    with pytest.raises(UserError, match="it has no tensor"):
        to_vidvae(Checkpoint(found.path, {"a.weight": torch.zeros(1)}))


def test_what_the_file_says_is_not_overruled(image_vae_folder):
    with pytest.raises(UserError, match=r"says norm_num_groups 4, got 8: leave it out$"):
        to_vidvae(read_checkpoint(image_vae_folder), norm_groups=8)


@pytest.fixture
def make_small_vae(tmp_path):
    """-> an image VAE and what is read of its folder."""

    def make(**options):
        from diffusers import AutoencoderKL

        torch.manual_seed(0)
        image_vae = AutoencoderKL(
            block_out_channels=(8, 16),  # pyright: ignore[reportArgumentType]
            down_block_types=("DownEncoderBlock2D",) * 2,  # pyright: ignore[reportArgumentType]
            up_block_types=("UpDecoderBlock2D",) * 2,  # pyright: ignore[reportArgumentType]
            norm_num_groups=4,
            scaling_factor=0.5,
            **options,
        ).eval()
        image_vae.save_pretrained(tmp_path)
        return image_vae, read_checkpoint(tmp_path)

    return make


def without(found: Checkpoint, *names: str) -> Checkpoint:
    return Checkpoint(found.path, {name: found.state[name] for name in found.state if name not in names}, found.config)


@pytest.mark.parametrize("absent", ["quant_conv", "post_quant_conv"])
def test_each_quant_convolution_is_the_identity_only_where_the_vae_is_without_it(make_small_vae, absent):
    image_vae, found = make_small_vae(**{f"use_{absent}": False})
    assert_is_the_image_vae(to_vidvae(found, time_halvings=1), image_vae, scaling=0.5)
    there = {"quant_conv": "post_quant_conv", "post_quant_conv": "quant_conv"}[absent]
    with pytest.raises(UserError, match=rf"is incomplete: {there}\.weight and {there}\.bias missing, copy"):
        to_vidvae(without(found, f"{there}.weight", f"{there}.bias"), time_halvings=1)


def test_a_quant_convolution_of_which_a_tensor_is_missing_is_refused(make_small_vae):
    _, found = make_small_vae()
    for cut in ("quant_conv.weight", "quant_conv.bias", "post_quant_conv.weight"):
        with pytest.raises(UserError, match=rf"is incomplete: {re.escape(cut)} missing, copy the model again$"):
            to_vidvae(without(found, cut), time_halvings=1)
    layers = [f"{layer}.{kind}" for layer in ("quant_conv", "post_quant_conv") for kind in ("weight", "bias")]
    file = Checkpoint(found.path, found.state)  # a file alone says nothing: all four may be absent together
    with pytest.raises(UserError, match=r"quant_conv\.weight and quant_conv\.bias missing"):
        to_vidvae(without(file, *layers[:2]), time_halvings=1, norm_groups=4)
    vae = to_vidvae(without(file, *layers), time_halvings=1, norm_groups=4)
    assert torch.equal(vae.decoder.post_quant_conv.weight.squeeze(), torch.eye(4))


def test_a_mean_and_spread_for_each_channel_are_kept(make_small_vae):
    mean, std = [0.5, -1.0, 2.0, 0.0], [2.0, 0.5, 1.0, 4.0]
    image_vae, found = make_small_vae(latents_mean=mean, latents_std=std)
    vae = to_vidvae(found, time_halvings=1)
    image = torch.rand(1, 3, 16, 16) * 2 - 1
    with torch.inference_mode():
        raw = image_vae.encode(image).latent_dist.mean
        expected = (raw - torch.tensor(mean).view(4, 1, 1)) * 0.5 / torch.tensor(std).view(4, 1, 1)
        torch.testing.assert_close(vae.encode(image.unsqueeze(2))[:, :, 0], expected, rtol=0, atol=1e-4)


def test_what_is_dropped_and_what_is_not_read_is_told(image_vae, tmp_path, capsys):
    state = compvis(image_vae)
    extra = {f"loss.discriminator.main.{index}.weight": torch.zeros(2) for index in range(7)}
    extra["model_ema.decay"] = torch.tensor(0.99)
    saved = {"state_dict": {**state, **extra}, "state_dict_ema": state, "epoch": 3, "names": ["a"]}
    torch.save(saved, tmp_path / "vae.ckpt")
    words = ["convert", "sd-vae", str(tmp_path / "vae.ckpt"), str(tmp_path / "out"), "--norm-groups", "4"]
    assert run(words) == 0
    told = capsys.readouterr()
    used, loss, copy = told.out.splitlines()
    assert used.startswith(f"{tmp_path / 'out'}: {len(state)} tensors of {tmp_path / 'vae.ckpt'}, 8 dropped, ")
    names = ", ".join(f"loss.discriminator.main.{index}.weight" for index in range(5))
    assert loss == f"{tmp_path / 'out'}: 7 dropped, training's discriminator and perceptual loss: {names} and 2 more"
    assert copy == f"{tmp_path / 'out'}: 1 dropped, training's second copy of the VAE: model_ema.decay"
    assert told.err == f"videosyn: {tmp_path / 'vae.ckpt'} also holds tensors under state_dict_ema: they are not read\n"


@pytest.mark.parametrize("suffix", ["ckpt", "safetensors"])
def test_of_a_whole_stable_diffusion_checkpoint_the_vae_is_taken_and_the_rest_named(
    image_vae, tmp_path, capsys, suffix
):
    path, out = tmp_path / f"sd.{suffix}", tmp_path / "out"
    whole = {f"first_stage_model.{name}": tensor.contiguous() for name, tensor in compvis(image_vae).items()}
    whole |= {f"model.diffusion_model.input_blocks.{index}.0.weight": torch.zeros(2) for index in range(3)}
    whole |= {f"cond_stage_model.transformer.layers.{index}.weight": torch.zeros(2) for index in range(2)}
    whole |= {"alphas_cumprod": torch.zeros(4), "betas": torch.zeros(4), "model_ema.decay": torch.zeros(1)}
    whole["first_stage_model.loss.logvar"] = torch.zeros(1)
    if suffix == "ckpt":
        torch.save({"state_dict": whole, "global_step": 7}, path)
    else:
        save_file(whole, path)
    assert run(["convert", "sd-vae", str(path), str(out), "--norm-groups", "4", "--scaling-factor", "0.2"]) == 0
    told = capsys.readouterr()
    names = re.match(rf"videosyn: {re.escape(str(path))} also holds tensors under (.*): they are not read\n$", told.err)
    assert names is not None
    assert names[1].startswith("model, cond_stage_model, ")
    assert set(names[1].split(", ")) == {"model", "cond_stage_model", "alphas_cumprod", "betas", "model_ema"}
    assert f"{len(image_vae.state_dict())} tensors of {path}, " in told.out
    assert "1 dropped, training's discriminator and perceptual loss: loss.logvar\n" in told.out
    assert_is_the_image_vae(load_vae(out), image_vae, scaling=0.2)


@pytest.mark.parametrize(("content", "why"), [(b"", "EOFError"), (b"Read me first", "pop from empty list")])
def test_a_file_that_is_no_pickle_is_refused_in_one_line(tmp_path, content, why):
    path = tmp_path / "vae.ckpt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"vae\.ckpt is damaged \({why}\): copy it again$"):
        read_checkpoint(path)


def test_an_old_pickle_cut_off_anywhere_is_refused(tmp_path):
    path = tmp_path / "vae.ckpt"
    torch.save({"a.weight": torch.zeros(4, 4)}, path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    assert list(read_checkpoint(path).state) == ["a.weight"]
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"damaged[^\n]*$"):
            read_checkpoint(path)


def test_another_vae_and_numbers_not_above_0_are_refused_in_one_line(tiny_folder, tmp_path, capsys):
    source, out = str(tiny_folder), str(tmp_path / "out")
    assert run(["convert", "sd-vae", source, out]) == 2
    assert "vae is no image VAE of Stable Diffusion's kind: it has no tensor" in capsys.readouterr().err
    for flag in ("norm-groups", "scaling-factor"):
        assert run(["convert", "sd-vae", source, out, f"--{flag}", "0"]) == 2
        assert capsys.readouterr().err == f"videosyn: {flag} must be above 0, got 0: leave it out\n"


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (OSError(28, "No space left on device"), 2, "out cannot be written ([Errno 28] No space left on device): make"),
        (SafetensorError("I/O error"), 2, "out cannot be written (I/O error): make room, or choose another folder"),
        (KeyboardInterrupt(), 130, "stopped, nothing half written"),
    ],
)
def test_a_folder_that_cannot_be_written_whole_is_not_there(
    image_vae_folder, tmp_path, monkeypatch, capsys, error, code, message
):
    def fail(folder, *_):
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        raise error

    monkeypatch.setattr("videosyn.app.convert.save_module", fail)
    assert run(["convert", "sd-vae", str(image_vae_folder), str(tmp_path / "out")]) == code
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []

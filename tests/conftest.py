"""What tests of several layers share: a complete pipeline small enough to run in milliseconds."""

import os
import signal

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny tensors: more threads only wait; subprocesses inherit it

import pytest
import torch

torch.set_num_threads(1)
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in a shell's background job; subprocesses inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def tiny_pipeline():
    """A VideoSynPipeline of the TINY presets with fixed random weights, float32, on the CPU. Do not change it."""
    from videosyn.diffusion.flow import FlowMatching
    from videosyn.sampling.model_index import Defaults, Trained
    from videosyn.sampling.pipeline import VideoSynPipeline
    from videosyn.text.config import NanoTextEncoderConfig
    from videosyn.text.nano import NanoTextEncoder
    from videosyn.text.tokenizer import WordTokenizer
    from videosyn.vdit import presets as vdit_presets
    from videosyn.vdit.model import VDiT
    from videosyn.vidvae import presets as vidvae_presets
    from videosyn.vidvae.model import VidVAE

    torch.manual_seed(0)
    tokenizer = WordTokenizer.from_words("a the red blue ball cube bounces spins on in grass desert".split())
    vdit = VDiT(vdit_presets.TINY)
    text = NanoTextEncoder(
        NanoTextEncoderConfig(len(tokenizer), width=vdit_presets.TINY.text_width, depth=1, num_heads=2), tokenizer
    )
    pipeline = VideoSynPipeline(
        VidVAE(vidvae_presets.TINY),
        vdit,
        text,
        FlowMatching(),
        Defaults(num_frames=5, height=32, width=32, num_steps=2, guidance=3.0, fps=8.0),
        Trained(max_frames=17, max_pixels=96 * 96),
    )
    for model in (pipeline.vdit, pipeline.vae):  # outputs start at zero, which would hide every difference
        for parameter in model.parameters():
            if parameter.requires_grad and parameter.ndim > 1 and not parameter.any():
                torch.nn.init.normal_(parameter, std=0.1)
    return pipeline


@pytest.fixture(scope="session")
def tiny_folder(tiny_pipeline, tmp_path_factory):
    """The tiny pipeline, saved. Copy it before changing anything in it."""
    folder = tmp_path_factory.mktemp("tiny") / "model"
    tiny_pipeline.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_captioner_folder(tmp_path_factory):
    """A captioner as `train captioner` writes it, with random weights."""
    pytest.importorskip("transformers")
    from dataclasses import replace

    from videosyn.captioner.model import Captioner
    from videosyn.captioner.presets import TINY
    from videosyn.captioner.storage import save_captioner
    from videosyn.captioner.tokenizer import make_tokenizer

    torch.manual_seed(0)
    tokenizer = make_tokenizer(["a red ball bounces", "describe"] * 4, 280)
    folder = tmp_path_factory.mktemp("captioner") / "tiny-captioner"
    save_captioner(
        folder, Captioner(replace(TINY, language={**TINY.language, "vocab_size": len(tokenizer)}), tokenizer)
    )
    return folder


@pytest.fixture(scope="session")
def save_t5():
    """save_t5(folder, width) writes a tiny random T5 encoder, and a tokenizer of whole words, as transformers does."""

    def save(folder, width=16):
        from tokenizers import Tokenizer, models, pre_tokenizers, processors
        from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

        words = ["<pad>", "</s>", "<unk>", "a", "red", "blue", "ball", "bounces"]
        backend = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
        backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        backend.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
        PreTrainedTokenizerFast(
            tokenizer_object=backend, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
        ).save_pretrained(folder)
        torch.manual_seed(0)
        config = T5Config(vocab_size=len(words), d_model=width, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
        T5EncoderModel(config).save_pretrained(folder)
        return folder

    return save


@pytest.fixture(scope="session")
def foreign_makers(save_t5, tmp_path_factory):
    """Name -> a function that makes a small random pipeline of diffusers' around one tiny T5."""
    from functools import partial

    from transformers import AutoTokenizer, T5EncoderModel

    folder = save_t5(tmp_path_factory.mktemp("t5"), width=32)
    parts = T5EncoderModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder, model_max_length=64)
    makers = {"wan": _wan, "ltx": _ltx, "cogvideox": _cogvideox, "latte": _latte}
    return {name: partial(make, *parts) for name, make in makers.items()}


@pytest.fixture(scope="session")
def foreign_folders(foreign_makers, tmp_path_factory):
    """Name -> folder of each, saved as diffusers saves them. Copy one before changing anything in it."""
    found = {}
    for name, make in foreign_makers.items():
        torch.manual_seed(0)
        found[name] = tmp_path_factory.mktemp(name)
        make().save_pretrained(found[name])
    return found


def _wan(text_encoder, tokenizer):
    from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler, WanPipeline, WanTransformer3DModel

    vae = AutoencoderKLWan(
        base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True]
    )
    transformer = WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=16,
        out_channels=16,
        text_dim=32,
        freq_dim=256,
        ffn_dim=32,
        num_layers=2,
        cross_attn_norm=True,
        qk_norm="rms_norm_across_heads",
        rope_max_seq_len=32,
    )
    return WanPipeline(
        tokenizer=tokenizer,
        text_encoder=text_encoder,
        vae=vae,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=7.0),
        transformer=transformer,
    )


def _ltx(text_encoder, tokenizer):
    from diffusers import (
        AutoencoderKLLTXVideo,
        FlowMatchEulerDiscreteScheduler,
        LTXPipeline,
        LTXVideoTransformer3DModel,
    )

    transformer = LTXVideoTransformer3DModel(
        in_channels=8,
        out_channels=8,
        patch_size=1,
        patch_size_t=1,
        num_attention_heads=4,
        attention_head_dim=8,
        cross_attention_dim=32,
        num_layers=1,
        caption_channels=32,
    )
    vae = AutoencoderKLLTXVideo(
        latent_channels=8,
        block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8),
        layers_per_block=(1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1, 1),
        spatio_temporal_scaling=(True, True, False, False),
        decoder_spatio_temporal_scaling=(True, True, False, False),
        decoder_inject_noise=(False, False, False, False, False),
        upsample_residual=(False, False, False, False),
        upsample_factor=(1, 1, 1, 1),
        timestep_conditioning=False,
        patch_size=1,
        patch_size_t=1,
        encoder_causal=True,
        decoder_causal=False,
    )
    return LTXPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        transformer=transformer,
    )


def _cogvideox(text_encoder, tokenizer):
    from diffusers import AutoencoderKLCogVideoX, CogVideoXPipeline, CogVideoXTransformer3DModel, DDIMScheduler

    transformer = CogVideoXTransformer3DModel(
        num_attention_heads=4,
        attention_head_dim=8,
        in_channels=4,
        out_channels=4,
        time_embed_dim=2,
        text_embed_dim=32,
        num_layers=1,
        sample_width=4,
        sample_height=4,
        sample_frames=9,
        patch_size=2,
        temporal_compression_ratio=4,
        max_text_seq_length=226,
    )
    vae = AutoencoderKLCogVideoX(
        in_channels=3,
        out_channels=3,
        down_block_types=("CogVideoXDownBlock3D",) * 4,
        up_block_types=("CogVideoXUpBlock3D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=2,
        temporal_compression_ratio=4,
    )
    return CogVideoXPipeline(
        tokenizer=tokenizer,
        text_encoder=text_encoder,
        vae=vae,
        transformer=transformer,
        scheduler=DDIMScheduler(),
    )


def _latte(text_encoder, tokenizer):
    from diffusers import AutoencoderKL, DDIMScheduler, LattePipeline, LatteTransformer3DModel

    transformer = LatteTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        in_channels=4,
        out_channels=8,
        num_layers=1,
        cross_attention_dim=16,
        attention_bias=True,
        sample_size=4,
        patch_size=2,
        activation_fn="gelu-approximate",
        num_embeds_ada_norm=1000,
        norm_type="ada_norm_single",
        norm_elementwise_affine=False,
        caption_channels=32,
        video_length=16,
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=2,
    )
    return LattePipeline(
        tokenizer=tokenizer,
        text_encoder=text_encoder,
        vae=vae,
        transformer=transformer,
        scheduler=DDIMScheduler(),
    )

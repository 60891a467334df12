"""The pipeline that the benchmarks time: a model that exists, or the NANO presets with random weights, equally fast."""

from __future__ import annotations

from videosyn.core.errors import UserError
from videosyn.core.runtime import pick_dtype
from videosyn.sampling.model_index import Defaults
from videosyn.sampling.pipeline import VideoSynPipeline
from videosyn.vdit.config import VDiTConfig
from videosyn.vidvae.config import VidVAEConfig


def nano_or_random(name: str) -> tuple[VideoSynPipeline, str]:
    """(pipeline on the CPU, a line that says what it is)."""
    import torch

    try:
        return VideoSynPipeline.from_pretrained(name, device="cpu"), f"model {name}"
    except UserError:
        if name != "nano":
            raise
    pipeline = random_nano()
    number = pick_dtype("auto", torch.device("cpu"))
    for model in (pipeline.vae, pipeline.vdit, pipeline.text_encoder):
        model.to(number)
    return pipeline, "NANO presets with random weights"


def random_nano() -> VideoSynPipeline:
    """The NANO presets, untrained."""
    from videosyn.vdit.presets import NANO

    return random_of(NANO)


def random_tiny() -> VideoSynPipeline:
    """The TINY presets, untrained: a film of five frames in a few milliseconds."""
    from videosyn.vdit.presets import TINY as VDIT
    from videosyn.vidvae.presets import TINY as VIDVAE

    return _random(VDIT, VIDVAE, Defaults(num_frames=5, height=32, width=32, num_steps=4), num_heads=2)


def random_of(vdit: VDiTConfig) -> VideoSynPipeline:
    """Any VDiT for nano's latents and texts, untrained, with the NANO preset's VidVAE."""
    from videosyn.vidvae.presets import NANO as VIDVAE

    return _random(vdit, VIDVAE, Defaults(), num_heads=3)


def _random(vdit: VDiTConfig, vidvae: VidVAEConfig, defaults: Defaults, num_heads: int) -> VideoSynPipeline:
    from videosyn.diffusion.flow import FlowMatching
    from videosyn.text.config import NanoTextEncoderConfig
    from videosyn.text.nano import NanoTextEncoder
    from videosyn.text.tokenizer import WordTokenizer
    from videosyn.vdit.model import VDiT
    from videosyn.vidvae.model import VidVAE

    tokenizer = WordTokenizer.from_words("a red ball bounces on the grass at sunset".split())
    text = NanoTextEncoder(NanoTextEncoderConfig(len(tokenizer), vdit.text_width, num_heads=num_heads), tokenizer)
    return VideoSynPipeline(VidVAE(vidvae), VDiT(vdit), text.eval(), FlowMatching(), defaults)

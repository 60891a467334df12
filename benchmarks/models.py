"""The pipeline that the benchmarks time: a model that exists, or the NANO presets with random weights, equally fast."""

from __future__ import annotations

from videosyn.core.errors import UserError
from videosyn.core.runtime import pick_dtype
from videosyn.sampling.pipeline import VideoSynPipeline


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
    from videosyn.diffusion.flow import FlowMatching
    from videosyn.text.config import NanoTextEncoderConfig
    from videosyn.text.nano import NanoTextEncoder
    from videosyn.text.tokenizer import WordTokenizer
    from videosyn.vdit import presets as vdit_presets
    from videosyn.vdit.model import VDiT
    from videosyn.vidvae import presets as vidvae_presets
    from videosyn.vidvae.model import VidVAE

    tokenizer = WordTokenizer.from_words("a red ball bounces on the grass at sunset".split())
    text = NanoTextEncoder(NanoTextEncoderConfig(len(tokenizer), vdit_presets.NANO.text_width), tokenizer)
    return VideoSynPipeline(VidVAE(vidvae_presets.NANO), VDiT(vdit_presets.NANO), text.eval(), FlowMatching())

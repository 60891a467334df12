"""videosyn for the diffusers world: thin `ModelMixin` and `DiffusionPipeline` twins of our own models and pipeline.

The same weights, the same folders and, with Euler, the same films; around them diffusers' schedulers, offloading,
caches, quantisation, `push_to_hub`. Loading stays strict: every key is accounted for, or it is a UserError.
Importing this imports diffusers; nothing else in videosyn imports this. Start with `pipeline.py`, then `twin.py`.
"""

from videosyn.diffusers.autoencoder import AutoencoderVidVAE
from videosyn.diffusers.pipeline import VideoSynDiffusionPipeline, VideoSynPipelineOutput
from videosyn.diffusers.prompt_encoder import PromptEncoder
from videosyn.diffusers.transformer import VDiTTransformer3DModel

__all__ = [
    "AutoencoderVidVAE",
    "PromptEncoder",
    "VDiTTransformer3DModel",
    "VideoSynDiffusionPipeline",
    "VideoSynPipelineOutput",
]

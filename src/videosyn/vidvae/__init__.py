"""VidVAE, the video autoencoder. Start with `config.py`, then `causal.py`, `blocks.py`, `model.py`, `streaming.py`."""

from videosyn.vidvae.config import VidVAEConfig
from videosyn.vidvae.model import VidVAE
from videosyn.vidvae.posterior import Posterior

__all__ = ["Posterior", "VidVAE", "VidVAEConfig"]

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from videosyn.core.model_folder import save_module
from videosyn.dataset.buckets import Bucket
from videosyn.dataset.latent_cache import calibrate_folder
from videosyn.vidvae.model import VidVAE
from videosyn.vidvae.presets import TINY

sys.path.insert(0, str(Path(__file__).parent))  # so that tests find clips_folder.py


@pytest.fixture(scope="session")
def vae_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny VidVAE, calibrated on eight clips."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("vae")
    save_module(folder, VidVAE(TINY), TINY)
    calibrate_folder(folder, Bucket(5, 32, 32), num_clips=8, dtype="fp32")
    return folder

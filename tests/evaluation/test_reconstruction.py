import json

import torch

from videosyn.core.model_folder import save_module
from videosyn.evaluation.options import ReconstructionConfig
from videosyn.evaluation.reconstruction import run
from videosyn.vidvae.model import VidVAE
from videosyn.vidvae.presets import TINY


def test_a_vae_is_measured_and_its_figures_written(tmp_path):
    torch.manual_seed(0)
    vae = VidVAE(TINY)
    save_module(tmp_path / "vae", vae, vae.config)
    output = tmp_path / "report.json"
    config = ReconstructionConfig(
        str(tmp_path / "vae"), num_clips=6, frames=5, height=48, width=48, batch_size=3, output=output, dtype="fp32"
    )
    figures = run(config)
    written = json.loads(output.read_text())
    assert written["settings"]["num_clips"] == 6
    assert 0 < figures["psnr_db"] < 40  # untrained
    assert figures["ssim"] < 0.9
    assert figures["decoded_frames_per_s"] > 0
    assert written["edge_psnr_db"] == figures["edge_psnr_db"]

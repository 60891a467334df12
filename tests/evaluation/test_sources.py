"""Where VAEs are found."""

import json
import shutil

from videosyn.app.cli import run
from videosyn.evaluation.sources import open_any_vae
from videosyn.sampling import model_index
from videosyn.sampling.foreign_vae import ForeignVae
from videosyn.vidvae.model import VidVAE


def test_a_vae_that_is_a_repository_of_its_own_is_found_by_its_hub_id(
    foreign_folders, tiny_folder, tmp_path, monkeypatch
):
    fetched = {
        "someone/wan-vae": shutil.copytree(foreign_folders["wan"] / "vae", tmp_path / "wan-vae"),
        "someone/vidvae": shutil.copytree(tiny_folder / "vae", tmp_path / "vidvae"),
        "someone/wan": foreign_folders["wan"],
    }
    monkeypatch.setattr(model_index, "_fetch", fetched.__getitem__)
    for name, kind in (("wan-vae", ForeignVae), ("vidvae", VidVAE), ("wan", ForeignVae)):
        assert isinstance(open_any_vae(f"someone/{name}", "cpu", "fp32"), kind)
    words = ["--num-clips", "1", "--frames", "9", "--segment-frames", "5", "--height", "32", "--width", "32"]
    words += ["--tile", "16", "--overlap", "8", "-o", str(tmp_path / "seams")]
    assert run(["evaluate", "seams", "--model", "someone/vidvae", *words]) == 0
    assert "streaming" in json.loads((tmp_path / "seams/report.json").read_text())["ways"]

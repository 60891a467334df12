"""`evaluate seams`: streaming has none, divide and merge and tiles have."""

import json

import pytest
import torch

from videosyn.app.cli import run
from videosyn.core.model_folder import save_module
from videosyn.evaluation.options import SeamsConfig
from videosyn.evaluation.seams import MOST_DB, _Sums, _ways
from videosyn.vidvae import presets
from videosyn.vidvae.config import VidVAEConfig
from videosyn.vidvae.model import VidVAE


@pytest.fixture(scope="module")
def vae_folder(tmp_path_factory):
    torch.manual_seed(0)
    vae = VidVAE(presets.TINY)
    folder = tmp_path_factory.mktemp("vae")
    save_module(folder, vae, vae.config)
    return folder


def test_seams_are_where_pieces_meet_unless_they_are_streamed(vae_folder, tmp_path, capsys):
    out = tmp_path / "seams"
    words = ["--model", str(vae_folder), "--num-clips", "2", "--frames", "17", "--height", "32", "--width", "48"]
    words += ["--segment-frames", "9", "--tile", "24", "--overlap", "8", "--device", "cpu", "-o", str(out)]
    assert run(["evaluate", "seams", *words]) == 0
    ways = json.loads((out / "report.json").read_text())["ways"]
    assert len(ways) == 6
    assert "streaming" in capsys.readouterr().out
    assert min(ways["streaming"]["psnr_db_seams"], ways["streaming"]["psnr_db_inside"]) > 90
    assert ways["streaming"]["flicker_seams"] < 0.01
    divided = ways["divide and merge, mean"]
    assert divided["psnr_db_seams"] < 80
    assert divided["flicker_seams"] > 100 * ways["streaming"]["flicker_seams"]
    assert ways["tiles of 24 px"]["psnr_db_inside"] < 90  # a norm over channels sees no frame, but edges are padded


def test_psnr_and_flicker_are_told_apart_by_place():
    sums, whole = _Sums(), torch.zeros(1, 3, 4, 2, 2)
    seams = torch.tensor([False, False, True, False]).view(4, 1, 1)
    video = whole.clone()
    video[:, :, 2] = 0.2  # one frame is brighter by a tenth of the range
    sums.add(video, whole, seams)
    figures = sums.figures()
    assert figures["psnr_db_seams"] == pytest.approx(20.0)
    assert figures["psnr_db_inside"] == MOST_DB
    assert figures["flicker_seams"] == pytest.approx(0.2 * 127.5)
    assert figures["flicker_inside"] == 0


def test_clips_without_a_seam_are_refused(tmp_path):
    from videosyn.core.errors import UserError

    with pytest.raises(UserError, match="clips of 17 frames have no seams in segments of 17"):
        SeamsConfig(frames=17, output=tmp_path / "seams").check()


def test_segments_that_do_not_fit_the_vidvae_s_time_are_refused():
    from videosyn.core.errors import UserError

    four, once = (8,) * 4, (1,) * 4
    vae = VidVAE(VidVAEConfig(4, 1, four, once, four, once, time_halvings=3, norm_groups=4))
    with pytest.raises(UserError, match=r"frames must be 1 \+ 8k, got 5: use 1 or 9"):
        _ways(SeamsConfig(frames=17, segment_frames=5), vae)

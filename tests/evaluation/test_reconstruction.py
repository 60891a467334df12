"""`evaluate reconstruction`: known pairs give known figures, and a run lays them out."""

import json

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from videosyn.app import cli
from videosyn.core.errors import UserError
from videosyn.core.model_folder import save_module
from videosyn.core.video_file import write_video
from videosyn.evaluation import reconstruction
from videosyn.evaluation.footage import Shape, clips_of
from videosyn.evaluation.options import ReconstructionConfig
from videosyn.evaluation.reconstruction import run
from videosyn.evaluation.temporal import meeting_steps, motion_kept, psnr_by_place, temporal_error
from videosyn.vidvae.model import VidVAE
from videosyn.vidvae.presets import TINY


@pytest.fixture(scope="module")
def vae_folder(tmp_path_factory):
    torch.manual_seed(0)
    vae = VidVAE(TINY)
    folder = tmp_path_factory.mktemp("vae")
    save_module(folder, vae, vae.config)
    return str(folder)


def options(vae_folder, tmp_path, **changed):
    given = {"shapes": ("1x48x48", "5x48x48"), "num_clips": 3, "dtype": "fp32", "output": tmp_path / "out", **changed}
    return ReconstructionConfig((vae_folder,), **given)


class Keeps:
    """A VAE in all but loss: what comes in comes out, changed by `damage`."""

    time_factor = 1

    def __init__(self, damage=lambda video: video):
        self.damage, self.weight = damage, torch.zeros(1)

    def parameters(self):
        return iter([self.weight])

    def encode(self, video):
        return video

    def decode(self, latents):
        return self.damage(latents)


def measured(monkeypatch, tmp_path, damage, **changed):
    monkeypatch.setattr(reconstruction, "open_any_vae", lambda *_: Keeps(damage))
    config = ReconstructionConfig(("it",), shapes=("5x48x48",), num_clips=2, output=tmp_path / "out", **changed)
    figures = run(config)["it"]["5x48x48"]
    return {name: each["mean"] for name, each in figures.items() if isinstance(each, dict)}


def test_a_vae_is_measured_at_every_shape_and_written_down(vae_folder, tmp_path, capsys):
    figures = run(options(vae_folder, tmp_path))[vae_folder]
    assert list(figures) == ["1x48x48", "5x48x48"]
    assert 0 < figures["5x48x48"]["psnr_db"]["mean"] < 40  # untrained
    assert figures["5x48x48"]["latents"] == "2x6x6 of 4"
    assert "temporal_error" not in figures["1x48x48"]
    out = tmp_path / "out"
    report = json.loads((out / "report.json").read_text())
    assert report["models"][vae_folder]["5x48x48"]["ssim"]["count"] == 3
    rows = [json.loads(line) for line in (out / "clips.jsonl").read_text().splitlines()]
    assert len(rows) == 6
    of_shape = [row["psnr_db"] for row in rows if row["shape"] == "5x48x48"]
    assert np.mean(of_shape) == pytest.approx(figures["5x48x48"]["psnr_db"]["mean"])
    page = (out / "report.html").read_text()
    assert (page.count("<img"), page.count("<video")) == (6, 6)  # three clips a shape, before and after
    assert "PSNR, dB / SSIM / MSE" in capsys.readouterr().out


def test_an_identical_reconstruction_is_perfect(monkeypatch, tmp_path):
    figures = measured(monkeypatch, tmp_path, lambda video: video)
    assert figures["psnr_db"] == pytest.approx(100.0)
    assert figures["ssim"] == pytest.approx(1.0)
    assert (figures["mse"], figures["temporal_error"]) == (0.0, 0.0)
    assert figures["motion_kept"] == pytest.approx(1.0)


def test_known_noise_gives_the_psnr_and_ssim_of_scikit_image(monkeypatch, tmp_path):
    torch.manual_seed(0)
    noise = 0.1 * torch.randn(1, 3, 5, 48, 48)
    figures = measured(monkeypatch, tmp_path, lambda video: video + noise)
    psnrs, ssims, mses = [], [], []
    for clip in clips_of("world", Shape(5, 48, 48), 2):
        one = clip.frames.astype(np.float64) / 255
        other = (one + noise[0].permute(1, 2, 3, 0).numpy() / 2).clip(0, 1)
        psnrs.append(peak_signal_noise_ratio(one, other, data_range=1.0))
        ssims += [
            structural_similarity(
                a, b, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, channel_axis=-1
            )
            for a, b in zip(one, other, strict=True)
        ]
        mses.append(np.square(2 * (one - other)).mean())
    assert figures["psnr_db"] == pytest.approx(np.mean(psnrs), abs=1e-4)
    assert figures["ssim"] == pytest.approx(np.mean(ssims), abs=1e-4)
    assert figures["mse"] == pytest.approx(np.mean(mses), abs=1e-6)


def test_frozen_frames_keep_no_motion_and_shuffled_ones_too_much(monkeypatch, tmp_path):
    moving = {"clips": str(tmp_path / "moving.mp4")}
    ramp = np.arange(48, dtype=np.float64)[None, :] + np.zeros((48, 1))
    frames = np.stack([np.stack([ramp * 2 + 12 * frame] * 3, -1) for frame in range(5)]).astype(np.uint8)
    write_video(moving["clips"], frames, 8)
    frozen = measured(monkeypatch, tmp_path, lambda video: video[:, :, :1].expand_as(video), **moving)
    shuffled = measured(monkeypatch, tmp_path, lambda video: video[:, :, [0, 3, 1, 4, 2]], **moving)
    assert frozen["motion_kept"] == 0
    assert shuffled["motion_kept"] > 1.5
    assert frozen["temporal_error"] == pytest.approx(12, abs=0.5)  # levels a frame, all lost
    assert shuffled["temporal_error"] > frozen["temporal_error"]


def test_errors_that_stand_still_are_no_temporal_errors():
    video = torch.rand(1, 3, 9, 16, 16) * 2 - 1
    assert temporal_error(video + 0.3, video) == pytest.approx(0, abs=1e-4)
    jump = video.clone()
    jump[:, :, 5:] += 0.2  # brighter from the second latent frame's end on: frames 1 to 4 share one
    crosses = meeting_steps(9, 4)
    assert crosses.tolist() == [True, False, False, False, True, False, False, False]
    assert temporal_error(jump, video, crosses) == pytest.approx(0.2 * 127.5 / 2, rel=1e-4)
    assert temporal_error(jump, video, ~crosses) == pytest.approx(0, abs=1e-4)
    assert psnr_by_place(jump, video)[5] == pytest.approx(20.0, abs=1e-3)
    assert np.isnan(motion_kept(video[:, :, :1].expand_as(video), video[:, :, :1].expand_as(video)))


def test_clips_longer_than_a_segment_show_their_seams(vae_folder, tmp_path):
    figures = run(options(vae_folder, tmp_path, shapes=("33x32x32",), num_clips=1))[vae_folder]["33x32x32"]
    assert figures["divided_psnr_db_seams"]["mean"] > 0
    assert len(figures["psnr_db_by_frame"]) == 33


def test_any_videos_can_be_measured_and_short_ones_are_counted_out(vae_folder, tmp_path, capsys):
    folder = tmp_path / "videos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, frames in (("long.mp4", 6), ("short.mp4", 2)):
        write_video(folder / name, rng.integers(0, 256, (frames, 40, 80, 3), dtype=np.uint8), 8)
    figures = run(options(vae_folder, tmp_path, shapes=("5x32x32",), clips=str(folder)))[vae_folder]
    assert figures["5x32x32"]["psnr_db"]["count"] == 1
    assert "1 clips of 5x32x32" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(UserError, match="none of 2 videos"):
        run(options(vae_folder, tmp_path, shapes=("9x32x32",), clips=str(folder)))


def test_a_damaged_video_is_counted_and_the_others_are_measured(vae_folder, tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in "abc":
        write_video(folder / f"{name}.mp4", rng.integers(0, 256, (5, 32, 32, 3), dtype=np.uint8), 8)
    (folder / "b.mp4").write_bytes((folder / "b.mp4").read_bytes()[:400])
    given = {"shapes": ("1x32x32", "5x32x32"), "clips": str(folder)}
    figures = run(options(vae_folder, tmp_path, **given))[vae_folder]
    assert [each["psnr_db"]["count"] for each in figures.values()] == [2, 2]
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["unreadable"]["count"] == 1
    assert "b.mp4" in report["unreadable"]["first"]
    for path in folder.iterdir():
        path.write_bytes(b"")
    with pytest.raises(UserError, match=r"none of 3 videos in .* can be read: cannot read"):
        run(options(vae_folder, tmp_path, **given))


def test_a_shape_that_no_clip_is_long_enough_for_is_left_out_and_said(vae_folder, tmp_path, capsys):
    write_video(tmp_path / "it.mp4", np.zeros((5, 32, 32, 3), np.uint8), 8)
    given = {"shapes": ("5x32x32", "9x32x32", "1x32x32"), "clips": str(tmp_path / "it.mp4")}
    assert list(run(options(vae_folder, tmp_path, **given))[vae_folder]) == ["5x32x32", "1x32x32"]
    assert "9x32x32 is left out: none of 1 videos" in " ".join(capsys.readouterr().out.split())


def test_clips_are_looked_for_before_a_model_is_opened(tmp_path):
    write_video(tmp_path / "it.mp4", np.zeros((5, 32, 32, 3), np.uint8), 8)
    config = options("no-such-model", tmp_path, shapes=("17x32x32", "9x32x32"), clips=str(tmp_path / "it.mp4"))
    with pytest.raises(UserError, match="has 9 frames"):
        run(config)


def test_frames_are_scaled_to_cover_and_cut_in_the_middle(tmp_path):
    frames = np.zeros((1, 20, 80, 3), np.uint8)
    frames[:, :, 30:50] = 255
    write_video(tmp_path / "wide.gif", frames, 8)
    (clip,) = clips_of(str(tmp_path / "wide.gif"), Shape(1, 40, 40), 1)
    assert clip.frames.shape == (1, 40, 40, 3)
    assert clip.frames.mean() > 250


def test_mistakes_are_named_before_a_model_is_opened(vae_folder, tmp_path):
    for changed, rule in (
        ({"shapes": ("17x96",)}, "FRAMESxHEIGHTxWIDTH"),
        ({"shapes": ("16x96x96",)}, "1 \\+ 4k"),
        ({"shapes": ()}, "at least one"),
        ({"lpips_heads": "x.pth"}, "lpips-backbone"),
        ({"num_clips": 0}, "num-clips"),
    ):
        with pytest.raises(UserError, match=rule):
            options(vae_folder, tmp_path, **changed).check()
    with pytest.raises(UserError, match="no file or folder"):
        run(options(vae_folder, tmp_path, clips=str(tmp_path / "nowhere")))


def test_no_more_clips_are_held_than_are_measured_at_once(monkeypatch, tmp_path):
    import gc
    import weakref

    alive: list[weakref.ref] = []
    most = 0

    def watched(*given):
        nonlocal most
        for clip in clips_of(*given):
            alive.append(weakref.ref(clip))
            gc.collect()
            most = max(most, sum(each() is not None for each in alive))
            yield clip
            del clip

    monkeypatch.setattr(reconstruction, "clips_of", watched)
    monkeypatch.setattr(reconstruction, "open_any_vae", lambda *_: Keeps())
    run(ReconstructionConfig(("it",), shapes=("1x16x16",), num_clips=12, output=tmp_path / "out"))
    assert len(alive) == 12
    assert most <= 3


def test_the_command_measures_a_diffusers_vae(foreign_folders, tmp_path):
    out, model = tmp_path / "out", str(foreign_folders["wan"] / "vae")
    words = ["--model", model, "--shapes", "9x32x32", "--num-clips", "1", "--dtype", "fp32", "-o", str(out)]
    assert cli.run(["evaluate", "reconstruction", *words]) == 0
    figures = json.loads((out / "report.json").read_text())["models"][model]["9x32x32"]
    (line,) = (out / "clips.jsonl").read_text().splitlines()
    assert figures["psnr_db"]["mean"] == pytest.approx(json.loads(line)["psnr_db"])

import json

import numpy as np
import pytest
import torch
from PIL import Image

from videosyn.app import cli
from videosyn.core.errors import UserError
from videosyn.evaluation import adherence
from videosyn.evaluation.adherence import run
from videosyn.evaluation.options import AdherenceConfig, ReconstructionConfig
from videosyn.evaluation.report import Judged, Share, groups, shares
from videosyn.sampling.pipeline import VideoSynPipeline, to_frames
from videosyn.world.parsed import NamedThing, Parsed
from videosyn.world.prompts import held_out_prompts
from videosyn.world.render import render

SMALL = {"num_prompts": 3, "seed": 5, "batch_size": 2, "frames": 5, "height": 32, "width": 32}


def test_a_run_on_renders_writes_its_figures_and_its_sheet(tmp_path, capsys):
    folder = tmp_path / "out"
    judged = run(AdherenceConfig(source="render", num_prompts=4, seed=3, batch_size=3, output=folder))
    report = json.loads((folder / "report.json").read_text())
    assert len(judged) == len(report["clips"]) == 4
    assert report["settings"]["source"] == "render"
    assert report["attributes"]["all at once"]["count"] == 4
    assert report["attributes"]["scene"]["share"] == 1.0
    assert report["seconds"]["judge"] > 0
    assert Image.open(folder / "sheet.png").size[1] == 4 * 98
    assert "95 % interval" in capsys.readouterr().out
    page = (folder / "report.html").read_text()
    assert page.count("<video") == 4
    assert judged[0].prompt in page


def test_wrong_prompts_are_those_of_other_films(tmp_path):
    right, wrong = (
        run(AdherenceConfig(source="render", wrong_prompts=turn, num_prompts=3, output=tmp_path / str(turn)))
        for turn in (False, True)
    )
    assert [each.seen for each in right] == [each.seen for each in wrong]
    assert [each.prompt for each in wrong] == [right[1].prompt, right[2].prompt, right[0].prompt]
    assert sum(sum(each.verdict.values()) for each in wrong) < sum(sum(each.verdict.values()) for each in right)


@pytest.fixture
def films(monkeypatch):
    """The films that were judged, in turn."""
    seen = []
    judge = adherence.judge
    monkeypatch.setattr(adherence, "judge", lambda film: (seen.append(film), judge(film))[1])
    return seen


def check_report(folder, judged, source):
    """What the files say is what was judged: every prompt once, every attribute where a prompt names it."""
    assert {file.name for file in folder.iterdir()} == {"report.html", "report.json", "sheet.png"}
    report = json.loads((folder / "report.json").read_text())
    assert (report["settings"]["source"], report["settings"]["num_prompts"]) == (source, SMALL["num_prompts"])
    prompts = [prompt for prompt, _ in held_out_prompts(SMALL["num_prompts"], SMALL["seed"])]
    assert [clip["prompt"] for clip in report["clips"]] == [each.prompt for each in judged] == prompts
    for name, share in report["attributes"].items():
        verdicts = [each.right if name == "all at once" else each.verdict.get(name) for each in judged]
        told = [verdict for verdict in verdicts if verdict is not None]
        assert (share["count"], share["right"]) == (len(told), sum(told))
    assert report["attributes"]["all at once"]["count"] == SMALL["num_prompts"]
    by_things = [group for name, group in report["groups"].items() if name.endswith(("thing", "things"))]
    assert sum(group["all at once"]["count"] for group in by_things) == SMALL["num_prompts"]
    assert report["seconds"]["make"] > 0
    assert (folder / "report.html").read_text().count("<video") == SMALL["num_prompts"]


def test_films_of_a_model_are_made_from_the_prompts_and_judged(tiny_folder, films, tmp_path):
    how = {"model": str(tiny_folder), "steps": 2, "device": "cpu", "dtype": "fp32", "output": tmp_path / "out"}
    judged = run(AdherenceConfig(source="model", **SMALL, **how))
    check_report(tmp_path / "out", judged, "model")
    pipeline = VideoSynPipeline.from_pretrained(tiny_folder, "cpu", "fp32")
    size = {"num_frames": 5, "height": 32, "width": 32, "num_steps": 2}
    for number, (film, each) in enumerate(zip(films, judged, strict=True)):
        (alone,) = pipeline(each.prompt, seed=SMALL["seed"] + number, **size).frames
        assert np.abs(film.astype(int) - alone).mean() < 1
    assert not np.array_equal(films[0], films[1])


def test_reconstructions_are_the_worlds_renders_through_the_vae(tiny_folder, tiny_pipeline, films, tmp_path):
    how = {"model": str(tiny_folder), "device": "cpu", "dtype": "fp32", "output": tmp_path / "out"}
    judged = run(AdherenceConfig(source="reconstruct", **SMALL, **how))
    check_report(tmp_path / "out", judged, "reconstruct")
    for film, (_, scene) in zip(films, held_out_prompts(SMALL["num_prompts"], SMALL["seed"]), strict=True):
        clip = render([scene], 5, 32, 32)  # (1, T, H, W, 3)
        with torch.inference_mode():
            video = tiny_pipeline.vae.decode(tiny_pipeline.vae.encode(clip.permute(0, 4, 1, 2, 3) / 127.5 - 1))
        assert np.abs(film.astype(int) - to_frames(video)[0]).mean() < 1
        assert np.abs(film.astype(int) - clip[0].numpy()).mean() > 5  # this VidVAE has learned nothing


def test_an_interval_is_wilsons():
    low, high = Share(100, 98).interval
    assert (low, high) == pytest.approx((0.9300, 0.9945), abs=1e-4)
    assert Share(10, 10).interval[1] == 1.0


def test_shares_count_only_clips_that_name_the_attribute():
    ball = Parsed((NamedThing("ball"),), style="cartoon")
    judged = [Judged("a", ball, ball, {"class": True, "style": False}), Judged("b", ball, ball, {"class": True})]
    found = shares(judged)
    assert (found["class"].right, found["style"].count, found["all at once"].right) == (2, 1, 1)
    assert set(groups(judged)) == {"one thing", "cartoon"}


def test_mistakes_are_named_before_anything_is_made(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    for options, rule in (
        ({"num_prompts": 0}, "num-prompts"),
        ({"frames": 16}, "1 \\+ 4k"),
        ({"output": blocked}, "folder"),
        ({"best_of": 0}, "best-of must be at least 1, got 0"),
        ({"best_of": 4, "source": "render"}, "--source render has none"),
        ({"guidance": float("nan")}, "guidance must be a number of at least 0, got nan"),
        ({"wrong_prompts": True, "num_prompts": 1}, "--wrong-prompts needs another film's prompt"),
        ({"output": tmp_path / "none" / "out"}, "does not exist"),
    ):
        with pytest.raises(UserError, match=rule):
            AdherenceConfig(**{"output": tmp_path / "out", **options}).check()
    with pytest.raises(UserError, match="num-clips"):
        ReconstructionConfig(num_clips=0, output=tmp_path / "report").check()
    with pytest.raises(UserError, match="free prompts"):
        run(AdherenceConfig(source="render", phrasing="free", num_prompts=2, output=tmp_path / "free"))
    assert not (tmp_path / "free").exists()


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"source": "model", "height": 104}, "height must be a multiple of 16, got 104"),
        ({"source": "render", "height": 8_000_000, "width": 8_000_000}, "out of memory: 17 frames of 8000000x8000000"),
    ],
)
def test_a_run_that_fails_leaves_no_folder(tmp_path, tiny_folder, options, rule):
    with pytest.raises(UserError, match=rule):
        run(AdherenceConfig(model=str(tiny_folder), device="cpu", num_prompts=2, output=tmp_path / "out", **options))
    assert not (tmp_path / "out").exists()


def test_the_sheet_keeps_wide_films_wide(tmp_path):
    judged = run(AdherenceConfig(source="render", num_prompts=1, width=192, output=tmp_path / "wide"))
    sheet = np.asarray(Image.open(tmp_path / "wide" / "sheet.png"))
    assert sheet.shape[1] == 4 * (192 + 2) + 420
    assert judged[0].seen.place == judged[0].asked.place


def test_the_command_judges_films_of_a_diffusers_pipeline(foreign_folders, tmp_path):
    out = tmp_path / "out"
    words = ["--num-prompts", "1", "--steps", "1", "--frames", "9", "-o", str(out)]
    assert cli.run(["evaluate", "adherence", "--model", str(foreign_folders["wan"]), *words]) == 0
    report = json.loads((out / "report.json").read_text())
    assert report["settings"]["model"] == str(foreign_folders["wan"])
    assert report["attributes"]["all at once"]["count"] == len(report["clips"]) == 1
    assert Image.open(out / "sheet.png").size[1] == 98

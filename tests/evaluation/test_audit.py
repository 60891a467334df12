"""`evaluate dataset`: what is left in a dataset is found, what is not is not, and captions are held against scenes."""

import json
from dataclasses import replace

import numpy as np
import pytest

from videosyn.app.cli import run as command
from videosyn.core.errors import UserError
from videosyn.core.video_file import read_video, write_video
from videosyn.evaluation.audit.captions import check_caption
from videosyn.evaluation.audit.looks import motion_of, small_grey, track_of, whole_frames
from videosyn.evaluation.audit.options import AuditConfig
from videosyn.evaluation.audit.run import run
from videosyn.world.caption import caption
from videosyn.world.scene import sample_scene

SCENE = sample_scene(11, num_things=2, style="cartoon")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "world"
    assert (
        command(["world", "-o", str(folder), "--clips", "6", "--frames", "9", "--height", "64", "--width", "64"]) == 0
    )
    return folder


def audit(folder, out, **changed):
    return run(AuditConfig(folder, output=out, **{"read_text": False, **changed}))


def test_the_worlds_own_captions_are_true_and_its_clips_no_duplicates(world, tmp_path, capsys):
    found = audit(world, tmp_path / "out")
    assert found.shares["caption true throughout"].value == 1
    assert found.means["caption_accuracy"].value == 1
    assert found.means["caption_completeness"].value > 0.7  # plain style and still camera go unsaid
    assert found.shares["shows what another clip shows"].right == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["sample"] == report["clips"] == 6
    assert report["shares"]["nearly static"]["high"] > report["shares"]["nearly static"]["share"]
    assert "held against the scenes" in report["captions"]
    assert len((tmp_path / "out" / "clips.jsonl").read_text().splitlines()) == 6
    assert "95 % interval" in capsys.readouterr().out


def test_captions_of_other_clips_are_found_to_be_untrue(world, tmp_path):
    lines = [json.loads(line) for line in (world / "metadata.jsonl").read_text().splitlines()]
    turned = tmp_path / "turned"
    turned.mkdir()
    for path in world.glob("*.mp4"):
        (turned / path.name).write_bytes(path.read_bytes())
    with open(turned / "metadata.jsonl", "w") as file:
        for line, other in zip(lines, lines[1:] + lines[:1], strict=True):
            file.write(json.dumps({**line, "caption": other["caption"]}) + "\n")
    found = audit(turned, tmp_path / "out")
    assert found.shares["caption true throughout"].value == 0
    assert found.means["caption_accuracy"].value < 0.6
    assert "untrue captions" in found.shown


def test_a_wrong_word_and_a_silent_caption_cost_accuracy_and_completeness():
    true = caption(SCENE, __import__("random").Random(0), 17, "full")
    wrong = caption(
        replace(SCENE, place="sea" if SCENE.place != "sea" else "snow"), __import__("random").Random(0), 17, "full"
    )
    assert check_caption(true, SCENE, 17).accuracy == 1
    found = check_caption(wrong, SCENE, 17)
    assert not found.verdict["scene"]
    assert 0.5 < found.accuracy < 1
    short = check_caption(f"a {SCENE.things[0].kind}", SCENE, 17)
    assert short.completeness < 0.3 < check_caption(true, SCENE, 17).completeness
    assert np.isnan(check_caption("", SCENE, 17).accuracy)


def test_copies_static_clips_and_dull_ones_are_found(world, tmp_path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    names = sorted(path.name for path in world.glob("*.mp4"))
    for name in names:
        (folder / name).write_bytes((world / name).read_bytes())
    before = audit(world, tmp_path / "a")
    lines = [json.loads(line) for line in (tmp_path / "a" / "clips.jsonl").read_text().splitlines()]
    film, _ = read_video(world / max(lines, key=lambda line: line["motion"])["clip"])
    brighter = np.clip(film.astype(int) + 6, 0, 255).astype(np.uint8)
    write_video(folder / "copy.mp4", brighter, 8)
    write_video(folder / "still.mp4", np.repeat(film[3:4, ::-1], 9, 0), 8)
    write_video(folder / "grey.mp4", np.full((9, 64, 64, 3), 8, np.uint8), 8)
    found = audit(folder, tmp_path / "b")
    assert found.shares["shows what another clip shows"].right == 1
    extra = found.shares["nearly static"].right - before.shares["nearly static"].right
    assert extra == 2
    assert (
        found.shares["under the aesthetic threshold"].right == before.shares["under the aesthetic threshold"].right + 1
    )
    assert "caption_words" not in found.means
    assert json.loads((tmp_path / "b" / "report.json").read_text())["captions"] == "there are none"


def test_captions_nobody_can_check_are_said_to_be_so(world, tmp_path):
    folder = tmp_path / "curated"
    folder.mkdir()
    name = next(world.glob("*.mp4")).name
    (folder / name).write_bytes((world / name).read_bytes())
    (folder / "metadata.csv").write_text(f"file_name,text,captioner\n{name},a dog runs,some-model\ngone.mp4,x,y\n")
    audit(folder, tmp_path / "out")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert "unavailable" in report["captions"]
    assert "some-model" in report["captions"]
    assert report["means"]["caption_words"]["mean"] == 3
    assert "1 clips of the metadata are not there" in (tmp_path / "out" / "report.html").read_text()


def test_motion_of_shuffled_frames_is_higher_and_of_frozen_ones_nothing(world):
    path = next(iter(sorted(world.glob("*.mp4"))))
    film, _ = read_video(path)
    slide = [small_grey(np.roll(film[0], 2 * step, 1)) for step in range(8)]
    shuffled = [slide[n] for n in (0, 5, 2, 7, 1, 6, 3, 4)]
    assert motion_of([slide[0]] * 4) == 0
    assert motion_of(shuffled) > motion_of(slide) > 0
    assert np.isnan(motion_of(slide[:1]))
    assert len(track_of(slide, 8.0)) == 8
    assert len(whole_frames(path, len(film))) == 3


def test_overlaid_text_is_found(tmp_path):
    from PIL import Image, ImageDraw, ImageFont

    folder = tmp_path / "text"
    folder.mkdir()
    picture = Image.fromarray(np.tile(np.linspace(60, 120, 640, dtype=np.uint8)[None, :, None], (360, 1, 3)))
    plain = np.asarray(picture)
    ImageDraw.Draw(picture).text((90, 290), "SUBSCRIBE TO MY CHANNEL", "white", ImageFont.load_default(38))
    write_video(folder / "plain.mp4", np.stack([plain] * 3), 8)
    write_video(folder / "titled.mp4", np.stack([np.asarray(picture)] * 3), 8)
    found = audit(folder, tmp_path / "out", read_text=True)
    assert (found.counts["overlaid text"]) == [1, 2]
    assert "titled.mp4" in found.shown["most overlaid text"][0][1]


def test_a_sample_is_drawn_by_its_seed(world, tmp_path):
    def clips(out, seed):
        audit(world, tmp_path / out, num_clips=2, duplicates_among=2, seed=seed)
        return [json.loads(line)["clip"] for line in (tmp_path / out / "clips.jsonl").read_text().splitlines()]

    assert clips("a", 1) == clips("b", 1)
    assert len(clips("c", 1)) == 2


def test_folders_that_are_no_dataset_are_refused(tmp_path):
    with pytest.raises(UserError, match="no folder"):
        AuditConfig(tmp_path / "none", output=tmp_path / "o").check()
    (tmp_path / "metadata.jsonl").write_text('{"caption": "x"}\n')
    with pytest.raises(UserError, match="without file_name"):
        audit(tmp_path, tmp_path / "o")
    (tmp_path / "metadata.jsonl").write_text("{broken\n")
    with pytest.raises(UserError, match="cannot read"):
        audit(tmp_path, tmp_path / "o")

"""`evaluate dataset`: what is left in a dataset is found, what is not is not, and captions are held against scenes."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from videosyn.app.cli import run as command
from videosyn.core.errors import UserError
from videosyn.core.video_file import read_video, write_video
from videosyn.evaluation.audit.agreement import agreement, overlap
from videosyn.evaluation.audit.captions import check_caption
from videosyn.evaluation.audit.looks import motion_of, small_grey, track_of, whole_frames
from videosyn.evaluation.audit.options import AuditConfig
from videosyn.evaluation.audit.run import run
from videosyn.evaluation.judge.judge import judge
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


def test_captions_that_name_nothing_of_the_world_are_neither_true_nor_untrue(world, tmp_path):
    vague = tmp_path / "vague"
    shutil.copytree(world, vague)
    lines = [json.loads(line) for line in (vague / "metadata.jsonl").read_text().splitlines()]
    lines = [{**line, "caption": "a short video"} for line in lines[:-1]] + lines[-1:]
    (vague / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    share = audit(vague, tmp_path / "out").shares["caption true throughout"]
    assert (share.right, share.count) == (1, 1)


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


class Reader:
    """A captioner of the world: the judge's verdict, said in the world's words."""

    name, num_frames, look_px = "the judge", 17, 960

    def caption(self, clips, prompt=None, times=None):
        return [self._say(judge(frames)) for frames in clips]

    @staticmethod
    def _say(seen):
        things = " and ".join(f"a {thing.colour} {thing.kind}" for thing in seen.things)
        return f"{things} in the {seen.place} at {seen.light}, {seen.style} style"


def with_captions(world, folder, captions, keep_scene=False):
    """The world's clips with other captions."""
    folder.mkdir()
    lines = [json.loads(line) for line in (world / "metadata.jsonl").read_text().splitlines()]
    with open(folder / "metadata.jsonl", "w") as file:
        for line, text in zip(lines, captions, strict=True):
            (folder / line["file_name"]).write_bytes((world / line["file_name"]).read_bytes())
            kept = line if keep_scene else {"file_name": line["file_name"]}
            file.write(json.dumps({**kept, "caption": text}) + "\n")
    return folder


def test_a_captioner_agrees_with_true_captions_and_not_with_those_of_other_clips(world, tmp_path):
    lines = [json.loads(line) for line in (world / "metadata.jsonl").read_text().splitlines()]
    true = [line["caption"] for line in lines]
    turned = true[1:] + true[:1]

    def agreed(name, captions, **how):
        folder = with_captions(world, tmp_path / name, captions, **how)
        return run(AuditConfig(folder, read_text=False, output=tmp_path / f"{name}-out"), Reader())

    right, wrong = agreed("right", true, keep_scene=True), agreed("wrong", turned)
    assert right.shares["caption and captioner agree on scene"].value > 0.8
    assert wrong.shares["caption and captioner agree on scene"].value < 0.6
    means = right.means
    assert means["caption_agreement"].value > wrong.means["caption_agreement"].value + 0.1
    assert means["caption_agreement_above_chance"].value > 0.1 > wrong.means["caption_agreement_above_chance"].value
    assert means["caption_agreement_with_another_clip"].num_nan == 1  # the first has none before it
    assert means["captioner_accuracy"].value > 0.8
    assert "captioner_accuracy" not in wrong.means
    report = json.loads((tmp_path / "wrong-out" / "report.json").read_text())
    assert "the judge" in report["captions"]
    assert "agrees with itself" not in report["captions"]
    assert report["means"]["caption_agreement"]["low"] < report["means"]["caption_agreement"]["high"]
    said = [json.loads(line) for line in (tmp_path / "wrong-out" / "clips.jsonl").read_text().splitlines()]
    assert all(" at " in line["captioner_says"] for line in said)


def test_a_captioner_that_wrote_the_captions_is_said_to_agree_with_itself(world, tmp_path):
    own = tmp_path / "own"
    shutil.copytree(world, own)
    lines = [json.loads(line) for line in (own / "metadata.jsonl").read_text().splitlines()]
    lines = [{**line, "captioner": Reader.name if number else "another"} for number, line in enumerate(lines)]
    (own / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    run(AuditConfig(own, read_text=False, output=tmp_path / "out"), Reader())
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert "5 of 6 captions are that captioner's own: it agrees with itself" in report["captions"]
    assert report["shares"]["caption written by the captioner itself"]["right"] == 5
    assert "it agrees with itself" in (tmp_path / "out" / "report.html").read_text()


def test_agreement_is_of_attributes_in_the_worlds_words_and_of_words_in_any_others():
    red = "a red ball bounces on the grass at sunset"
    assert agreement(red, red).overlap == 1
    assert set(agreement(red, red).attributes) >= {"colour", "class", "scene", "light", "motion"}
    assert all(agreement(red, red).attributes.values())
    blue = agreement(red, "a blue ball bounces on the grass at sunset")
    assert not blue.attributes["colour"]
    assert blue.attributes["class"]
    assert 0.7 < blue.overlap < 1
    assert "light" not in agreement(red, "a red ball bounces on the grass").attributes  # unsaid is not denied
    assert "light" not in agreement("a red ball bounces on the grass", red).attributes
    street = agreement("A woman crosses a busy street in the rain.", "People cross a street while it rains")
    assert street.attributes == {}
    assert (
        street.overlap == overlap("people cross street rains", "woman crosses busy street rain") == pytest.approx(2 / 9)
    )
    assert np.isnan(overlap("of the and", "a dog"))


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


def test_a_damaged_clip_is_counted_and_the_others_are_measured(world, tmp_path, capsys):
    folder = tmp_path / "damaged"
    shutil.copytree(world, folder)
    damaged = sorted(folder.glob("*.mp4"))[2]
    damaged.write_bytes(damaged.read_bytes()[:400])
    found = audit(folder, tmp_path / "out")
    assert found.means["motion"].count == 5
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["sample"] == report["compared_for_duplicates"] == 5
    assert report["unreadable"]["count"] == 1
    assert damaged.name in report["unreadable"]["first"]
    assert "unreadable clips: 1, first: cannot read" in " ".join(capsys.readouterr().out.split())
    for path in folder.glob("*.mp4"):
        path.write_bytes(b"")
    with pytest.raises(UserError, match="none of the 6 clips of the sample can be read"):
        audit(folder, tmp_path / "none")
    assert not (tmp_path / "none" / "clips.jsonl").exists()


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

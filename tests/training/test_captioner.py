"""Training a captioner, end to end at tiny sizes."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import torch
from clips_folder import write_folder  # pyright: ignore[reportMissingImports]

from videosyn.captioner.config import CLIP_MEAN, CLIP_STD
from videosyn.captioner.storage import load_captioner
from videosyn.core.errors import UserError
from videosyn.dataset.batches import WHOLE, Share
from videosyn.dataset.buckets import parse_buckets
from videosyn.training import captioner_run
from videosyn.training.captioner_options import CaptionerStage, CaptionerTraining
from videosyn.training.captioner_run import make_captioner, train_captioner
from videosyn.training.captioner_source import WorldFrames, render_frames
from videosyn.training.captioner_step import worn
from videosyn.training.draws import Draws
from videosyn.training.parallel import Processes
from videosyn.training.run import run_captioner
from videosyn.world.caption import caption
from videosyn.world.footprint import frame_cells, named_cells
from videosyn.world.parser import mismatches, parse
from videosyn.world.scene import is_held_out, mirrored, sample_scene
from videosyn.world.vocabulary import COLOURS, KINDS

pytest.importorskip("transformers")

COMMON = {"dtype": "fp32", "workers": 0, "warmup_steps": 2, "log_seconds": 1e-9, "threads": 1}


def options_in(folder: Path, **how) -> CaptionerTraining:
    how = {
        "preset": "tiny",
        "max_steps": 3,
        "batch_size": 4,
        "validation_clips": 2,
        "num_clips": 12,
        "kept_frames": 5,
        **how,
    }
    return CaptionerTraining(
        out=str(folder / "run"),
        cache=str(folder / "clips"),
        buckets=how.pop("buckets", ("9x32x32:3", "1x32x32:1")),
        clips=("9x32x32:2", "17x32x32:1"),
        **COMMON,
        **how,
    )


def losses(out: Path) -> list[float]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def frames_in(folder: Path, **how) -> WorldFrames:
    options = options_in(folder, **how)
    return WorldFrames(options, render_frames(options), 3, "describe", 8)


def test_a_captioner_learns_in_stages_and_is_written(tmp_path: Path):
    stages = (
        CaptionerStage("images", buckets=("1x32x32",), max_steps=30, frozen=("language",), batch_size=16),
        CaptionerStage("videos", max_steps=4, naming_weight=0.0),
    )
    options = options_in(tmp_path, stages=stages, naming_weight=0.5, muon_lr=5e-3, adamw_lr=5e-3)
    assert run_captioner(options) == "finished"
    curve = losses(tmp_path / "run" / "images")
    assert sum(curve[-5:]) < 0.95 * sum(curve[:5])
    one, other = (load_captioner(tmp_path / "run" / stage / "model") for stage in ("images", "videos"))
    assert not torch.equal(one.language.lm_head.weight, other.language.lm_head.weight)
    line = (tmp_path / "run" / "images" / "metrics.jsonl").read_text().splitlines()[-1]
    assert {"val/loss", "val/exact"} <= set(json.loads(line))
    assert list((tmp_path / "run" / "videos" / "sheets").glob("*.png"))


def test_frozen_parts_stay_as_they_are(tmp_path: Path):
    first = options_in(tmp_path)
    assert run_captioner(first) == "finished"
    begun = f"{first.out}/model"
    then = replace(first, out=f"{tmp_path}/then", init=begun, frozen=("vision", "language"))
    assert run_captioner(then) == "finished"
    before, after = load_captioner(begun).state_dict(), load_captioner(f"{then.out}/model").state_dict()
    moved = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert moved >= {"resampler", "memory", "exit"}
    assert not moved & {"vision", "language"}


def test_a_run_that_was_stopped_goes_on_as_if_it_never_was(tmp_path: Path):
    whole = options_in(tmp_path / "whole", max_steps=4, naming_weight=0.5)
    run_captioner(whole)
    for steps in (2, 4):
        run_captioner(options_in(tmp_path / "parts", max_steps=steps, naming_weight=0.5, decay_fraction=0.0))
    run_captioner(options_in(tmp_path / "once", max_steps=4, naming_weight=0.5, decay_fraction=0.0))
    assert losses(tmp_path / "parts" / "run") == losses(tmp_path / "once" / "run")


def test_captions_are_true_of_the_frames_mirrored_or_not(tmp_path: Path):
    clips = frames_in(tmp_path, retelling_share=0.5)
    buckets = parse_buckets(("9x32x32",))
    seen = set()
    for step in range(6):
        batch = clips.batch(step, buckets, [8], WHOLE)
        for name, text, prompt in zip(batch.names, batch.captions, batch.prompts):
            scene = sample_scene(int(name), "train")
            true = [each for each in (scene, mirrored(scene)) if not mismatches(parse(text), each)]
            assert true, text
            assert any(not is_held_out(each) for each in true)
            seen.add((prompt, scene in true))
    assert seen == {(prompt, plain) for prompt in ("describe", clips.options.retelling) for plain in (True, False)}


def test_frames_and_their_cells_are_mirrored_together(tmp_path: Path):
    clips = frames_in(tmp_path, naming_weight=0.5)
    shards: dict[int, tuple] = {}
    for shard in clips._tensors:  # the clips of 9 frames come first; those of 17 show some of the same scenes
        for row, seed in enumerate(shard["seeds"].tolist()):
            shards.setdefault(seed, (shard, row))
    seen = set()
    for step in range(4):
        batch = clips.batch(step, parse_buckets(("9x32x32",)), [8], WHOLE)
        assert batch.cells is not None
        assert batch.frames.shape == (8, 3, 32, 32, 3)
        assert batch.cells.shape == (8, 2, 3, 4, 4)
        for name, frames, cells, times in zip(batch.names, batch.frames, batch.cells, batch.times):
            shard, row = shards[int(name)]
            numbers = (times * 4).round().long()
            assert (numbers.diff() > 0).all()
            whole = frame_cells(sample_scene(int(name), "train"), 5, 32, 32, clips.options.fps * 4 / 8, 8)[:2, numbers]
            turned = not torch.equal(frames, shard["video"][row, numbers])
            assert torch.equal(frames, shard["video"][row, numbers].flip(2) if turned else frames)
            assert torch.equal(cells, whole.flip(3) if turned else whole)
            seen.add(turned)
    assert seen == {True, False}


def test_a_batch_is_one_whoever_computes_it(tmp_path: Path):
    clips = frames_in(tmp_path)
    buckets = parse_buckets(("9x32x32", "1x32x32"))
    whole = clips.batch(5, buckets, [4, 6], WHOLE)
    parts = [clips.batch(5, buckets, [4, 6], Share(rank, 2)) for rank in range(2)]
    assert whole.captions == parts[0].captions + parts[1].captions
    assert torch.equal(whole.frames, torch.cat([part.frames for part in parts]))


def test_cells_of_frames_are_those_of_the_latents_frame_by_frame():
    scene = sample_scene(7)
    of_frames = frame_cells(scene, 9, 64, 64, 8, 8)
    assert torch.equal(of_frames[:, :1], named_cells(scene, 9, 64, 64, 8)[:, :1])
    assert of_frames.shape == (3, 9, 8, 8)
    kinds = {list(KINDS)[kind - 1] for kind in of_frames[0].unique().tolist() if kind}
    colours = {list(COLOURS)[colour - 1] for colour in of_frames[1].unique().tolist() if colour}
    assert kinds <= {thing.kind for thing in scene.things}
    assert colours <= {thing.colour for thing in scene.things}


def test_worn_pictures_are_some_of_them():
    pictures = torch.rand(64, 2, 3, 8, 8)
    out = worn(pictures, Draws(3, 64), 0.5, (0.25, 0.25, 0.25))
    changed = (out != pictures).flatten(1).any(1)
    assert 16 < changed.sum() < 48
    assert torch.equal(worn(pictures, Draws(3, 64), 0.0, (0.25,) * 3), pictures)


def test_clips_of_a_dataset_train_too(tmp_path: Path):
    data = write_folder(tmp_path / "data", [(12, 32, 32)] * 5)
    options = options_in(tmp_path, buckets=("9x32x32",), data=str(data))
    assert run_captioner(options) == "finished"
    assert load_captioner(f"{options.out}/model").config.prompt == "describe"


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"naming_weight": -1.0}, "naming_weight must not be negative"),
        ({"naming_weight": 1.0, "data": "x"}, "a lesson of the world"),
        ({"worn_share": 2.0}, "worn_share must lie in 0 to 1"),
        ({"compile": True}, "compile has not been made to work for captioners"),
        ({"gradient_checkpointing": True}, "gradient_checkpointing has not been made to work"),
        ({"kept_frames": 1}, "kept_frames must be at least 2"),
        ({"buckets": ("9x48x48",)}, "needs rendered clips of its shape"),
        ({"parallel": "fsdp"}, "parallel ddp"),
        ({"dry_run": True}, "dry_run is for"),
        ({"vision": "/none"}, "vision: "),
    ],
)
def test_what_cannot_be_trained_is_refused(tmp_path: Path, how, message):
    with pytest.raises(UserError, match=message):
        run_captioner(options_in(tmp_path, **how))


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Path:
    """A folder with a tiny CLIP, `clip`, and a tiny Phi-3 with its tokenizer, `phi`, as transformers writes them."""
    from transformers import CLIPVisionConfig, CLIPVisionModel, Phi3Config, Phi3ForCausalLM

    from videosyn.captioner.tokenizer import make_tokenizer

    folder = tmp_path_factory.mktemp("published")
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    CLIPVisionModel(CLIPVisionConfig(image_size=32, patch_size=8, **small)).save_pretrained(folder / "clip")
    tokenizer = make_tokenizer([caption(sample_scene(seed), Random(seed)) for seed in range(9)], 280)
    ends = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    language = Phi3ForCausalLM(Phi3Config(vocab_size=len(tokenizer), num_key_value_heads=2, **small, **ends))
    language.save_pretrained(folder / "phi")
    tokenizer.save_pretrained(folder / "phi")
    return folder


@pytest.mark.parametrize("frozen", [("vision", "language"), ("vision",), ()])
def test_weights_of_transformers_begin_a_captioner_and_are_trained_unless_frozen(tmp_path: Path, published, frozen):
    named = {"vision": str(published / "clip"), "language": str(published / "phi")}
    options = options_in(tmp_path, **named, frozen=frozen)
    begun = make_captioner(options).state_dict()
    assert run_captioner(options) == "finished"
    model = load_captioner(f"{options.out}/model")
    assert model.config.image_px == 32
    moved = {name.split(".")[0] for name, value in model.state_dict().items() if not torch.equal(value, begun[name])}
    assert moved & {"vision", "language"} == {"vision", "language"} - set(frozen)


def test_pictures_have_the_levels_that_a_named_encoder_learned_from(tmp_path: Path, published):
    from transformers import SiglipVisionConfig, SiglipVisionModel

    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    siglip, told = tmp_path / "siglip", tmp_path / "told"
    SiglipVisionModel(SiglipVisionConfig(image_size=32, patch_size=8, **small)).save_pretrained(siglip)
    shutil.copytree(published / "clip", told)
    (told / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.1] * 3, "image_std": [0.2] * 3}))
    found = []
    for folder in (published / "clip", siglip, told):
        config = make_captioner(options_in(tmp_path, preset="nano", vision=str(folder))).config
        found.append((config.image_mean, config.image_std))
    assert found == [(CLIP_MEAN, CLIP_STD), ((0.5,) * 3, (0.5,) * 3), ((0.1,) * 3, (0.2,) * 3)]


def test_a_run_that_goes_on_keeps_its_tokenizer(tmp_path: Path, monkeypatch):
    options = options_in(tmp_path, max_steps=1)
    run_captioner(options)
    words = load_captioner(f"{options.out}/model").tokenizer.get_vocab()
    monkeypatch.setattr(captioner_run, "_texts", lambda *_: ["other data, other texts"] * 9)
    assert make_captioner(replace(options, out=str(tmp_path / "new"))).tokenizer.get_vocab() != words
    run_captioner(replace(options, max_steps=2))
    assert load_captioner(f"{options.out}/model").tokenizer.get_vocab() == words


def test_rotary_frequencies_are_not_rounded(tmp_path: Path, monkeypatch):
    seen = []
    monkeypatch.setattr(captioner_run, "train", lambda options, step, **_: seen.append(step.model) or "finished")
    options = options_in(tmp_path)
    train_captioner(options, Processes(), torch.device("cpu"), torch.bfloat16)
    (model,) = seen
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    wanted = make_captioner(options).language.model.rotary_emb.inv_freq
    assert torch.equal(model.language.model.rotary_emb.inv_freq, wanted)

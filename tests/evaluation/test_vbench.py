"""`evaluate vbench`: layout and names, figures with known answers, weights by name, the package next door, Table 4."""

import dataclasses
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from videosyn.core.errors import UserError
from videosyn.core.video_file import write_video
from videosyn.evaluation.vbench import films as making
from videosyn.evaluation.vbench.classical_flow import dynamic_degree, motion_smoothness
from videosyn.evaluation.vbench.dimensions import DIMENSIONS, GROUPS, normalised
from videosyn.evaluation.vbench.flicker import flickering
from videosyn.evaluation.vbench.handed import hand_over, read_results
from videosyn.evaluation.vbench.options import VBenchConfig
from videosyn.evaluation.vbench.run import run
from videosyn.evaluation.vbench.suite import SuitePrompt, read_suite
from videosyn.evaluation.vbench.table4 import PAPER, Score, grouped, lacking

PROMPTS = [
    {"prompt_en": "a red ball", "dimension": ["temporal_flickering", "motion_smoothness"]},
    {
        "prompt_en": "a blue cube",
        "dimension": ["appearance_style", "human_action"],
        "auxiliary_info": {"appearance_style": "a blue cube"},
    },
]
RNG = np.random.default_rng(0)
TEXTURE = np.kron(RNG.integers(40, 216, (30, 40, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))  # (240, 320, 3)


def moving(pixels_a_frame, frames=16, size=96):
    """A window that slides over a texture."""
    return [
        np.ascontiguousarray(TEXTURE[40 : 40 + size, 10 + round(place * pixels_a_frame) :][:, :size])
        for place in range(frames)
    ]


@pytest.fixture
def suite(tmp_path):
    path = tmp_path / "info.json"
    path.write_text(json.dumps(PROMPTS))
    return str(path)


@pytest.fixture
def made(tmp_path):
    """A folder with two films of each prompt: one of the red ball's stands still, one jumps between black and white."""
    folder = tmp_path / "made"
    folder.mkdir()
    still = np.full((4, 32, 32, 3), 90, np.uint8)
    jumps = np.stack([np.full((32, 32, 3), 255 * (n % 2), np.uint8) for n in range(4)])
    for name, frames in (("a red ball-0", still), ("a red ball-1", jumps), ("a blue cube-0", still)):
        write_video(folder / f"{name}.mp4", frames, 8)
    write_video(folder / "a blue cube-1.mp4", np.stack(moving(2, 4, 32)), 8)
    return folder


def test_flickering_is_vbenchs_formula_on_random_films():
    for seed in range(10):
        film = np.random.default_rng(seed).integers(0, 256, (5, 9, 7, 3), dtype=np.uint8).astype(np.float64)
        wanted = (255 - np.mean([np.mean(np.abs(film[n] - film[n + 1])) for n in range(4)])) / 255
        assert flickering(film.astype(np.uint8)) == pytest.approx(wanted, abs=1e-6)


def test_flickering_knows_still_jumping_and_noisy_films():
    still = [TEXTURE] * 5
    noisy = [
        np.clip(TEXTURE.astype(int) + RNG.integers(-10, 11, TEXTURE.shape), 0, 255).astype(np.uint8) for _ in still
    ]
    jumping = [np.full_like(TEXTURE, 255 * (n % 2)) for n in range(5)]
    assert flickering(still) == 1
    assert flickering(jumping) == 0
    assert 0.9 < flickering(noisy) < 1
    assert np.isnan(flickering([TEXTURE]))


def test_dynamic_degree_counts_steps_that_move_enough():
    threshold = 6.0 / 256 * 96  # 2.25 pixels a step at 96 pixels
    assert dynamic_degree(moving(0), 8) == 0
    assert dynamic_degree(moving(threshold * 0.6), 8) == 0
    assert dynamic_degree(moving(threshold * 1.8), 8) == 1
    assert dynamic_degree(moving(threshold * 0.6, 32), 24) == 1  # at 24 frames a second every third counts
    once = [*[TEXTURE[:96, :96]] * 8, *[TEXTURE[96:192, 96:192]] * 8]
    assert dynamic_degree(once, 8) == 0


def test_motion_smoothness_is_high_for_even_motion_and_falls_for_shuffled_and_jerky_frames():
    even = moving(2)
    shuffled = [even[n] for n in np.random.default_rng(1).permutation(16)]
    jerky = [frame for frame in moving(8, 8) for _ in range(2)]
    assert motion_smoothness([even[0]] * 5) == pytest.approx(1)
    assert motion_smoothness(even) > 0.97
    assert motion_smoothness(shuffled) < motion_smoothness(even) - 0.03
    assert motion_smoothness(jerky) < motion_smoothness(even)
    assert np.isnan(motion_smoothness(even[:2]))


def test_the_world_suite_asks_for_flickering_only_where_nothing_moves():
    prompts = read_suite("world", 40)
    assert len(prompts) == 40
    flicker = [each for each in prompts if "temporal_flickering" in each.dimensions]
    assert 0 < len(flicker) < 12
    assert all("pans" not in each.text for each in flicker)
    assert prompts[0].film(4) == f"{prompts[0].text}-4.mp4"


def test_suites_are_read_in_vbenchs_form_and_as_lines(suite, tmp_path):
    prompts = read_suite(suite)
    assert prompts[1] == SuitePrompt("a blue cube", ("appearance_style", "human_action"), PROMPTS[1]["auxiliary_info"])
    lines = tmp_path / "prompts.txt"
    lines.write_text("one\n\ntwo\none\n")
    assert [each.text for each in read_suite(str(lines))] == ["one", "two"]
    for content, rule in (
        ("[{}]", "form of"),
        ('[{"prompt_en": "a", "dimension": ["x"]}]', "has not: x"),
        ('[{"prompt_en": "a", "dimension": ["appearance_style"]}]', "names no style"),
    ):
        (tmp_path / "bad.json").write_text(content)
        with pytest.raises(UserError, match=rule):
            read_suite(str(tmp_path / "bad.json"))
    lines.write_text("either/or\n")
    with pytest.raises(UserError, match="no file can be named"):
        read_suite(str(lines))


def test_films_are_made_once_and_a_broken_off_run_goes_on_with_the_same_films(
    tiny_folder, suite, tmp_path, monkeypatch
):
    def config(**changed):
        return VBenchConfig(str(tiny_folder), suite, samples=5, output=tmp_path, dtype="fp32", device="cpu", **changed)

    prompts, whole, parts = read_suite(suite), tmp_path / "whole", tmp_path / "parts"
    assert making.make_films(config(), prompts, whole) == 10
    assert sorted(path.name for path in whole.glob("*.mp4"))[0] == "a blue cube-0.mp4"
    assert making.make_films(config(), prompts, whole) == 0
    written = []

    def breaks_off(path, *rest):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path)
        write_video(path, *rest)

    monkeypatch.setattr(making, "write_video", breaks_off)
    with pytest.raises(KeyboardInterrupt):
        making.make_films(config(), prompts, parts)
    monkeypatch.setattr(making, "write_video", write_video)
    (parts / "a blue cube-2.mp4").touch()  # one that stands between those that lack
    assert making.make_films(config(), prompts, parts) == 7
    for path in whole.glob("*.mp4"):
        assert path.name == "a blue cube-2.mp4" or (parts / path.name).read_bytes() == path.read_bytes()
    with pytest.raises(UserError, match="steps None and not 1"):
        making.make_films(config(steps=1), prompts, whole)


def test_a_run_that_made_no_film_binds_no_other(tiny_folder, suite, tmp_path):
    mistaken = VBenchConfig(str(tmp_path / "typo"), suite, samples=1, output=tmp_path, dtype="fp32", device="cpu")
    prompts, folder = read_suite(suite), tmp_path / "films"
    with pytest.raises(UserError, match="typo"):
        making.make_films(mistaken, prompts, folder)
    right = dataclasses.replace(mistaken, model=str(tiny_folder))
    assert making.make_films(right, prompts, folder) == 2
    assert json.loads((tmp_path / "films.json").read_text())["model"] == str(tiny_folder)
    with pytest.raises(UserError, match="choose another output"):
        making.make_films(mistaken, prompts, folder)


def test_what_is_cut_of_a_prompt_is_said(tiny_folder, tmp_path, capsys):
    config = VBenchConfig(str(tiny_folder), samples=1, steps=1, output=tmp_path, dtype="fp32", device="cpu")
    making.make_films(config, [SuitePrompt("a " * 63 + "red cube", ("temporal_flickering",))], tmp_path / "films")
    assert "videosyn: prompt has 66 tokens, the model reads 64: 'red cube' is ignored\n" in capsys.readouterr().err


def test_a_run_on_given_films_says_every_figure_and_its_source(suite, made, tmp_path, capsys):
    scores = run(VBenchConfig(suite=suite, films=made, samples=2, output=tmp_path / "out"))
    flicker = scores["temporal_flickering"]
    assert flicker.value == pytest.approx(0.5, abs=0.01)  # 1 and 0
    assert (flicker.source, flicker.num_films) == ("here", 2)
    assert scores["motion_smoothness"].value is None
    assert "--vbench-python" in scores["motion_smoothness"].source
    assert "not VBench's figure" in scores["motion_smoothness_flow"].source
    assert "no prompts" in scores["scene"].source
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["dimensions"]["temporal_flickering"]["normalised"] == pytest.approx(
        normalised("temporal_flickering", flicker.value)
    )
    assert report["groups"]["Temporal"] is None
    assert {path.suffix for path in made.iterdir()} == {".mp4"}
    out = " ".join(capsys.readouterr().out.split())
    assert "Temporal lacks motion_smoothness, human_action" in out
    rows = [json.loads(line) for line in (tmp_path / "out" / "films.jsonl").read_text().splitlines()]
    assert {row["film"] for row in rows if row["figure"] == "temporal_flickering"} == {
        "a red ball-0.mp4",
        "a red ball-1.mp4",
    }


def test_missing_films_are_counted(suite, made, tmp_path, capsys):
    run(VBenchConfig(suite=suite, films=made, samples=5, dimensions=("temporal_flickering",), output=tmp_path / "out"))
    assert "3 of 5 films are missing" in " ".join(capsys.readouterr().out.split())
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match="none of the suite's films"):
        run(VBenchConfig(suite=suite, films=empty, output=tmp_path / "out"))


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A tiny random CLIP with a tokenizer of words."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision = CLIPVisionConfig(image_size=32, patch_size=8, projection_dim=24, **small)
    words = ["<s>", "</s>", "a", "red", "blue", "ball", "cube"]
    text = CLIPTextConfig(
        vocab_size=8, max_position_embeddings=8, projection_dim=24, bos_token_id=0, eos_token_id=1, **small
    )
    config = CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=24)
    CLIPModel(config).save_pretrained(folder)
    backend = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="a"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>", pad_token="</s>").save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def dino(tmp_path_factory):
    from transformers import ViTConfig, ViTModel

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("dino")
    config = ViTConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=8
    )
    ViTModel(config, add_pooling_layer=False).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    path = tmp_path_factory.mktemp("head") / "head.pth"
    torch.manual_seed(1)
    torch.save({"weight": torch.randn(1, 24), "bias": torch.tensor([5.0])}, path)
    return str(path)


def test_figures_by_weights_know_still_changing_and_mixed_films(clip, dino, head):
    from videosyn.evaluation.vbench.weighted import Clip, Dino, consistency

    torch.manual_seed(0)
    features = torch.randn(4, 6)
    unit = features / features.norm(dim=1, keepdim=True)
    cosines = [(max(0, float(unit[n] @ unit[n - 1])) + max(0, float(unit[n] @ unit[0]))) / 2 for n in range(1, 4)]
    assert consistency(features) == pytest.approx(np.mean(cosines), abs=1e-6)
    still, changing = [TEXTURE] * 4, [np.roll(TEXTURE, 60 * n, 1)[..., :: -1 if n % 2 else 1].copy() for n in range(4)]
    subject, background = Dino(dino, "cpu"), Clip(clip, "cpu", head).background_consistency
    for measure in (subject, background):
        assert measure(still) == pytest.approx(1, abs=1e-5)
        assert measure(changing) < measure(still)
        assert np.isnan(measure([TEXTURE]))


def test_clips_figures_are_what_transformers_own_code_gives(clip, head):
    """For a picture that is already of CLIP's size, nothing is resized or cut."""
    from transformers import AutoTokenizer, CLIPModel

    from videosyn.evaluation.vbench.weighted import _CLIP, Clip

    frame = TEXTURE[:32, :32]
    model, ours = CLIPModel.from_pretrained(clip), Clip(clip, "cpu", head)
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in _CLIP)
    pixels = ((torch.from_numpy(frame).permute(2, 0, 1) / 255 - mean) / std)[None]
    tokens = AutoTokenizer.from_pretrained(clip)(["a red ball"], return_tensors="pt")
    with torch.no_grad():
        out = model(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask, pixel_values=pixels)
        state = torch.load(head, weights_only=True)
        aesthetic = float(out.image_embeds @ state["weight"].T + state["bias"]) / 10
    assert ours.appearance_style([frame] * 2, "a red ball") == pytest.approx(
        float(out.logits_per_image) / 100, abs=1e-5
    )
    assert ours.aesthetic_quality([frame] * 2) == pytest.approx(aesthetic, abs=1e-5)


def test_pictures_are_cut_square_for_clip_and_left_whole_for_dino():
    from videosyn.evaluation.vbench.weighted import _CLIP, _IMAGENET, _pixels

    (cut,) = _pixels([TEXTURE], 32, "bicubic", _CLIP, True, torch.device("cpu"))
    (whole,) = _pixels([TEXTURE], 32, "bilinear", _IMAGENET, False, torch.device("cpu"))
    assert cut.shape == (1, 3, 32, 32)
    assert whole.shape == (1, 3, 32, 42)


def test_a_run_takes_named_weights(suite, made, clip, tmp_path):
    asked = ("appearance_style", "human_action")
    scores = run(
        VBenchConfig(suite=suite, films=made, samples=2, clip_b32=clip, dimensions=asked, output=tmp_path / "o")
    )
    assert clip in scores["appearance_style"].source
    assert scores["appearance_style"].num_films == 2
    assert set(scores) == set(asked)


@pytest.fixture
def package(tmp_path):
    """A Python whose vbench package has the published one's interface; human_action fails in it."""
    place = tmp_path / "other" / "vbench"
    place.mkdir(parents=True)
    (place / "__init__.py").write_text(
        """
import json, os
class VBench:
    def __init__(self, device, full_info_dir, output_path):
        self.suite, self.output = json.load(open(full_info_dir)), output_path
    def evaluate(self, videos_path, name, prompt_list=[], dimension_list=None, local=False, read_frame=False,
                 mode="vbench_standard", **kwargs):
        (dimension,) = dimension_list
        postfix = os.path.splitext(sorted(os.listdir(videos_path))[0])[1]  # as the published one does
        if dimension == "human_action":
            raise ModuleNotFoundError("No module named 'detectron2'")
        rows = []
        for each in self.suite:
            if dimension in each["dimension"]:
                for index in range(5):
                    path = os.path.join(videos_path, f"{each['prompt_en']}-{index}{postfix}")
                    if os.path.exists(path):
                        rows.append({"video_path": path, "video_results": 0.9 - 0.1 * index})
        score = sum(row["video_results"] for row in rows) / len(rows)
        json.dump({dimension: [score, rows]}, open(os.path.join(self.output, name + "_eval_results.json"), "w"))
"""
    )
    (tmp_path / "other" / "torch.py").write_text("device = str")
    python = tmp_path / "other" / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{place.parent}" exec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    return str(python)


def test_the_rest_is_handed_to_the_package_and_one_failure_costs_no_other(suite, made, package, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["/nowhere", *sys.path]))
    (made / ".first.json").write_text("{}")
    config = VBenchConfig(
        suite=suite, films=made, samples=2, vbench_python=package, vbench_device="cpu", output=tmp_path / "out"
    )
    scores = run(config)
    assert scores["motion_smoothness"] == Score(pytest.approx(0.85), "vbench package", 2)
    assert scores["human_action"].value is None
    assert "detectron2" in scores["human_action"].source
    assert scores["temporal_flickering"].source == "here"
    assert "motion_smoothness_flow" in scores


def test_results_of_the_package_from_elsewhere_are_merged_and_checked(suite, made, tmp_path):
    results = tmp_path / "x_eval_results.json"
    results.write_text(json.dumps({"human_action": [0.5, []], "temporal_flickering": [0.1, []]}))
    scores = run(VBenchConfig(suite=suite, films=made, samples=2, merge=(results,), output=tmp_path / "out"))
    assert scores["human_action"].value == 0.5
    assert str(results) in scores["human_action"].source
    assert scores["temporal_flickering"].source == "here"
    results.write_text("[1]")
    with pytest.raises(UserError, match="no result of the vbench package"):
        read_results(results)


def test_a_python_without_the_package_says_so(made, tmp_path):
    outcome = hand_over(sys.executable, "cpu", "color", Path("suite.json"), made, tmp_path / "out")
    assert outcome.score is None
    assert "vbench" in outcome.problem


def test_a_python_that_does_not_run_costs_its_dimension_alone(made, tmp_path):
    program = tmp_path / "python"
    program.write_bytes(b"\x7fELF of another machine")
    program.chmod(0o755)
    outcome = hand_over(str(program), "cpu", "color", Path("suite.json"), made, tmp_path / "out")
    assert outcome.score is None
    assert "does not run" in outcome.problem


def test_table_4_of_the_paper_follows_from_the_scores_that_vbench_publishes():
    modelscope = {
        "subject_consistency": 0.8987, "background_consistency": 0.9529, "overall_consistency": 0.2567,
        "temporal_flickering": 0.9828, "motion_smoothness": 0.9579, "human_action": 0.9240,
        "aesthetic_quality": 0.5206, "imaging_quality": 0.5857, "color": 0.8172, "spatial_relationship": 0.3368,
    }  # fmt: skip
    scores = {name: Score(value, "published") for name, value in modelscope.items()}
    assert tuple(grouped(scores).values()) == pytest.approx(PAPER["ModelScope (paper)"], abs=1e-3)
    assert grouped(scores, normalise=True)["Consistency"] > grouped(scores)["Consistency"] - 0.1
    assert not lacking(scores)


def test_figures_by_classical_flow_enter_no_group():
    scores = {name: Score(0.5, "x") for group in GROUPS.values() for name in group}
    with_flow = {**scores, "motion_smoothness_flow": Score(0.0, "x"), "dynamic_degree_flow": Score(0.0, "x")}
    assert grouped(with_flow) == grouped(scores)
    del with_flow["motion_smoothness"]
    found = grouped(with_flow)
    assert np.isnan(found["Temporal"])
    assert np.isnan(found["Avg"])
    assert lacking(with_flow) == {"Temporal": ["motion_smoothness"]}


def test_normalising_takes_vbenchs_ends_to_0_and_1():
    assert normalised("temporal_style", 0.364) == pytest.approx(1)
    assert normalised("subject_consistency", 0.1462) == pytest.approx(0)
    assert len(DIMENSIONS) == 16


def test_options_are_checked_before_anything_is_made(tmp_path):
    for changed, rule in (
        ({"dimensions": ("colour",)}, "no dimension"),
        ({"clip_l14": "x"}, "aesthetic-head"),
        ({"films": tmp_path / "none"}, "no folder"),
        ({"vbench_python": "nowhere/python"}, "no program"),
        ({"vbench_python": __file__}, "no program"),
        ({"samples": 0}, "samples"),
    ):
        with pytest.raises(UserError, match=rule):
            VBenchConfig(output=tmp_path / "out", **changed).check()

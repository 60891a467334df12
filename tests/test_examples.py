"""The scripts of `examples/` that make the folder which ships: small, whole, with its card, or nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from videosyn.core.model_folder import load_state
from videosyn.sampling.pipeline import VideoSynPipeline

EXAMPLES = Path(__file__).parents[1] / "examples"
WEIGHTS = "diffusion_pytorch_model.safetensors"


def script(name: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two trainings leave, as far as the card reads it."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("vae", "dit"):
        (folder / name).mkdir()
        rows = [{"step": 4, "elapsed_s": 120, "loss": 1.0}, {"step": 5, "elapsed_s": 180, "val/psnr": 21.5}]
        (folder / name / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)))
        options = {"batch_size": 2, "num_clips": 7, "num_images": 3, "buckets": ["17x96x96:1"]}
        (folder / name / "options.json").write_text(json.dumps(options))
    return folder


def card(runs: Path, *words: str | Path) -> str:
    flags = ("--vae", runs / "vae", "--dit", runs / "dit", "--figures", runs / "dit/figures", "-o", runs / "card.md")
    done = script("model_card", *flags, *words)
    assert done.returncode == 0, done.stderr
    return (runs / "card.md").read_text()


def test_a_card_tells_of_training_and_only_of_what_was_measured(runs):
    text = card(runs)
    assert "| VidVAE | 3 | 5 | 2 | psnr 21.500 |" in text
    assert "What the pixels show" not in text
    report = {"attributes": {"colour": {"share": 0.5, "count": 8}}}
    (runs / "dit/figures/judge").mkdir(parents=True)
    (runs / "dit/figures/judge/report.json").write_text(json.dumps(report))
    assert "| colour | 50.0 (n 8) |" in card(runs)


def test_the_packed_folder_is_whole_small_and_has_its_card(tiny_folder, tmp_path):
    (tmp_path / "card.md").write_text("# a card\n")
    out = tmp_path / "runs" / "nano"
    for _ in range(2):  # the second replaces the first
        done = script("pack_nano", tiny_folder, out, "--card", tmp_path / "card.md")
        assert done.returncode == 0, done.stderr
        assert [each.name for each in out.parent.iterdir()] == ["nano"]
    assert VideoSynPipeline.from_pretrained(out, "cpu", "fp32")("a red ball", num_steps=1).frames.shape[1] == 5
    assert (out / "README.md").read_text() == "# a card\n"
    packed, trained = load_state(out / "vae"), load_state(tiny_folder / "vae")
    assert all(torch.equal(packed[key], value.bfloat16()) for key, value in trained.items())
    sizes = [(folder / "transformer" / WEIGHTS).stat().st_size for folder in (out, tiny_folder)]
    assert sizes[0] < sizes[1] / 2


def test_a_folder_too_large_to_ship_is_an_error_and_leaves_the_older_one(tiny_folder, tmp_path):
    out = tmp_path / "nano"
    out.mkdir()
    (out / "model_index.json").touch()
    done = script("pack_nano", tiny_folder, out, "--most-bytes", "10000")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "at most 0.01 MB ship" in done.stderr
    assert [str(each.relative_to(tmp_path)) for each in tmp_path.rglob("*")] == ["nano", "nano/model_index.json"]


def test_what_is_no_model_is_not_replaced(tiny_folder, tmp_path):
    runs = tmp_path / "runs"
    shutil.copytree(tiny_folder, runs / "dit")
    done = script("pack_nano", tiny_folder, runs)
    assert done.returncode == 1
    assert "runs holds something else than a model" in done.stderr
    done = script("pack_nano", runs / "dit", runs / "dit")
    assert done.returncode == 1
    assert "which it would replace" in done.stderr
    assert (runs / "dit" / "model_index.json").is_file()


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.sh")), ids=lambda path: path.name)
def test_every_shell_script_parses(path):
    done = subprocess.run(["bash", "-n", str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


FAKE_PYTHON = """#!/bin/sh
echo "$@" >> commands.txt
case "$*" in *"train dit"*) exit "${DIT_CODE:-0}" ;; esac
"""


@pytest.fixture
def train_nano(tmp_path):
    """examples/train_nano.sh with a Python that does nothing -> (exit code, the commands that it was given)."""
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    python = tmp_path / "python"
    python.write_text(FAKE_PYTHON)
    python.chmod(0o755)

    def call(**variables: str) -> tuple[int, list[str]]:
        kept = {name: value for name, value in os.environ.items() if name not in ("OUT", "KIND", "SMOKE")}
        environment = {**kept, "PYTHON": str(python), **variables}
        (tmp_path / "commands.txt").unlink(missing_ok=True)
        done = subprocess.run([tmp_path / "examples/train_nano.sh"], env=environment, capture_output=True)
        return done.returncode, (tmp_path / "commands.txt").read_text().splitlines()

    return call


def test_training_nano_writes_a_card_and_a_folder_outside_the_package(train_nano):
    code, commands = train_nano()
    assert code == 0
    assert [line.split(" --")[0] for line in commands] == [
        "-m videosyn train vae configs/nano_vae.yaml",
        "-m videosyn train dit configs/nano_dit.yaml",
        "examples/model_card.py",
        "examples/pack_nano.py runs/nano_dit/model runs/nano",
        "-m videosyn generate a red ball bounces on the grass at sunset",
    ]
    assert not any("src/" in line for line in commands)
    assert commands[3].endswith(" --most-bytes 24000000")
    _, commands = train_nano(OUT="src/videosyn/weights/nano")
    assert commands[3].startswith("examples/pack_nano.py runs/nano_dit/model src/videosyn/weights/nano --card ")


def test_training_a_captioner_leaves_the_shipped_one_and_measures_the_new_one(tmp_path):
    (tmp_path / "examples").mkdir()
    shutil.copy(EXAMPLES / "train_nano_captioner.sh", tmp_path / "examples")
    python = tmp_path / "python"
    python.write_text(FAKE_PYTHON)
    python.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if name != "OUT"}
    environment = {**kept, "PYTHON": str(python), "RUN": "runs/it"}
    subprocess.run([tmp_path / "examples/train_nano_captioner.sh"], env=environment, check=True, capture_output=True)
    assert (tmp_path / "commands.txt").read_text().splitlines() == [
        "-m videosyn.training.run captioner configs/nano_captioner.yaml --out runs/it",
        "- runs/it/videos/model runs/nano_captioner",
        "-m videosyn evaluate loop --captioner runs/nano_captioner --source render -o runs/loop_renders",
        "-m videosyn evaluate loop --captioner runs/nano_captioner -o runs/loop_films",
    ]


def test_a_rehearsal_touches_no_run(train_nano):
    code, commands = train_nano(SMOKE="1")
    assert code == 0
    assert not any("runs/" in line.replace("runs/rehearsal/", "") for line in commands)


def test_a_training_that_was_stopped_packs_nothing(train_nano):
    code, commands = train_nano(DIT_CODE="3")
    assert (code, len(commands)) == (3, 2)

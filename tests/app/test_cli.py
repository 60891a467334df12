import json
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from videosyn import __version__
from videosyn.app.cli import run
from videosyn.app.commands import COMMANDS
from videosyn.core.video_file import read_metadata, read_video

PROMPT = "a red ball bounces on the grass"


@pytest.fixture
def command(tiny_folder, tmp_path, monkeypatch):
    """`videosyn generate` with the tiny model in an empty folder; returns the exit code."""
    monkeypatch.chdir(tmp_path)

    def generate(*words):
        return run(["generate", *words, "--model", str(tiny_folder), "--device", "cpu", "--dtype", "fp32"])

    return generate


def files(folder):
    return sorted(path.name for path in folder.rglob("*"))


@pytest.mark.parametrize("suffix", ["mp4", "gif", "webp", "png"])
def test_a_prompt_becomes_a_film_that_knows_how_it_was_made(command, tmp_path, capsys, suffix):
    assert command(PROMPT, "-o", f"ball.{suffix}", "--seed", "5", "--fps", "12", "--steps", "1") == 0
    assert capsys.readouterr().out.strip() == f"ball.{suffix}"
    assert files(tmp_path) == [f"ball.{suffix}"]
    metadata = read_metadata(tmp_path / f"ball.{suffix}")
    assert (metadata["prompt"], metadata["seed"], metadata["videosyn"]) == (PROMPT, "5", __version__)
    settings = json.loads(metadata["settings"])
    assert (settings["num_frames"], settings["height"], settings["num_steps"], settings["fps"]) == (5, 32, 1, 12)
    if suffix != "png":
        frames, fps = read_video(tmp_path / f"ball.{suffix}")
        assert frames.shape == (5, 32, 32, 3)
        assert fps == 12


def test_several_films_are_numbered_and_each_can_be_made_again_alone(command, tmp_path):
    assert command(PROMPT, "a blue cube", "-o", "film.webp", "--num-videos", "2", "--seed", "3") == 0
    assert files(tmp_path) == [f"film-{number}.webp" for number in (1, 2, 3, 4)]
    third = read_metadata(tmp_path / "film-3.webp")
    assert (third["prompt"], third["seed"]) == ("a blue cube", "5")
    assert command("a blue cube", "-o", "again.webp", "--seed", "5") == 0
    again, batch = (read_video(tmp_path / name)[0].astype(int) for name in ("again.webp", "film-3.webp"))
    assert np.abs(again - batch).mean() < 1


def test_cheaper_ways_change_the_film_and_are_kept_in_the_file(command, tmp_path):
    words = ["--steps", "6", "--frames", "9", PROMPT]
    assert command(*words, "-o", "plain.webp") == 0
    plain = read_video(tmp_path / "plain.webp")[0]
    for flag, name, values in (
        ("--guidance-interval", "guidance_interval", [0.5, 1.0]),
        ("--shift", "shift", [3.0]),
        ("--cache-threshold", "cache_threshold", [0.9]),
        ("--sampler", "sampler", ["ab2"]),
    ):
        assert command(*words, "-o", "film.webp", flag, *map(str, values)) == 0
        settings = json.loads(read_metadata(tmp_path / "film.webp")["settings"])
        assert settings[name] == (values if len(values) > 1 else values[0])
        assert not np.array_equal(read_video(tmp_path / "film.webp")[0], plain)


def test_an_adapter_changes_the_film_by_its_scale_and_is_named_in_the_file(command, tiny_folder, tmp_path, capsys):
    layer = "transformer.blocks.0.mlp.fc1.lora"
    weight = load_file(next((tiny_folder / "transformer").glob("*.safetensors")))["blocks.0.mlp.fc1.weight"]
    halves = {f"{layer}_A.weight": torch.randn(2, weight.shape[1]), f"{layer}_B.weight": torch.randn(len(weight), 2)}
    save_file(halves, tmp_path / "pytorch_lora_weights.safetensors")
    films = {}
    for name, words in {"plain": (), "none": ("--lora-scale", "0"), "full": ()}.items():
        lora = () if name == "plain" else ("--lora", str(tmp_path))
        assert command(PROMPT, "-o", f"{name}.png", *lora, *words) == 0
        films[name] = np.asarray(Image.open(tmp_path / f"{name}.png").convert("RGB"))
    assert (films["plain"] == films["none"]).all()
    assert (films["plain"] != films["full"]).any()
    assert json.loads(read_metadata(tmp_path / "full.png")["settings"])["lora"] == str(tmp_path)
    capsys.readouterr()
    save_file({f"{layer}_A.weight": torch.randn(2, 3)}, tmp_path / "other.safetensors")
    assert command(PROMPT, "-o", "no.png", "--lora", str(tmp_path / "other.safetensors")) == 2
    assert "is no adapter for this model: 1 keys missing" in capsys.readouterr().err
    assert not (tmp_path / "no.png").exists()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_prompts_come_from_a_file_one_a_line(command, tmp_path, encoding):
    (tmp_path / "prompts.txt").write_text("a red ball\n\n  a blue cube  \n", encoding=encoding)
    assert command("a ball spins", "--prompts", "prompts.txt", "-o", "film.png", "--steps", "1") == 0
    prompts = [read_metadata(tmp_path / f"film-{number}.png")["prompt"] for number in (1, 2, 3)]
    assert prompts == ["a ball spins", "a red ball", "a blue cube"]


def test_the_same_command_writes_the_same_frames(command, tmp_path):
    for name in ("one.mp4", "two.mp4"):
        assert command(PROMPT, "-o", name) == 0
    assert np.array_equal(read_video(tmp_path / "one.mp4")[0], read_video(tmp_path / "two.mp4")[0])


def test_a_film_begins_and_ends_with_pictures_and_goes_on_from_a_clip(command, tmp_path, capsys):
    Image.fromarray(np.full((20, 40, 3), 200, np.uint8)).save(tmp_path / "wide.png")
    assert command(PROMPT, "-o", "a.webp", "--image", "wide.png", "--last-image", "wide.png", "--frames", "9") == 0
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("videosyn:")]
    assert notes == ["videosyn: wide.png is 20x40, another shape than 32x32: its middle is taken"] * 2
    settings = json.loads(read_metadata(tmp_path / "a.webp")["settings"])
    assert (settings["image"], settings["last_image"]) == ("wide.png", "wide.png")
    assert command(PROMPT, "-o", "b.webp", "--extend", "a.webp", "--frames", "9") == 0
    longer, shorter = (read_video(tmp_path / name)[0] for name in ("b.webp", "a.webp"))
    assert longer.shape == (9 + 4, 32, 32, 3)
    assert np.abs(longer[:9].astype(int) - shorter).mean() < 3  # WebP loses a little a second time


@pytest.mark.slow
def test_two_processes_make_the_film_that_one_makes(command, tiny_folder, tmp_path):
    words = [PROMPT, "--model", str(tiny_folder), "--frames", "9", "--device", "cpu", "--dtype", "fp32"]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    made = subprocess.run(
        [*launcher, "-m", "videosyn", "generate", *words, "-o", "two.webp"], capture_output=True, text=True, check=True
    )
    assert made.stdout.split() == ["two.webp"]  # one of them speaks
    assert command(PROMPT, "--frames", "9", "-o", "one.webp") == 0
    one, two = (read_video(tmp_path / name)[0].astype(int) for name in ("one.webp", "two.webp"))
    assert np.abs(one - two).max() <= 3


def test_words_never_learned_are_named_in_one_line_and_the_film_is_made(command, tmp_path, capsys):
    assert command("a red zebra on the moon", "-o", "film.png") == 0
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("videosyn:")]
    assert notes == ["videosyn: words this model never learned: zebra, moon"]
    assert files(tmp_path) == ["film.png"]


def test_words_and_lengths_of_the_negative_prompt_are_told_of_too(command, tmp_path, capsys, recwarn):
    assert command("ball " * 70, "-o", "film.png", "--negative", "a moon. " + "cube " * 63) == 0
    notes = [line for line in capsys.readouterr().err.splitlines() if line]
    assert notes[0] == "videosyn: words this model never learned: moon"
    assert [note.rpartition(": ")[2] for note in notes[1:]] == [
        "'ball ball ball ball ball ball ball' is ignored",
        "'cube cube cube cube cube cube' is ignored",
    ]
    assert not [warning for warning in recwarn if "ignored" in str(warning.message)]


def test_a_negative_prompt_without_guidance_is_told_of(command, capsys):
    for words, count in ((["--guidance", "1"], 1), ([], 0)):
        assert command(PROMPT, "-o", "film.png", "--negative", "a cube", *words) == 0
        assert capsys.readouterr().err.count("--negative does nothing with guidance 1") == count


def test_what_a_file_keeps_makes_its_film_again(command, tmp_path):
    assert command(PROMPT, "-o", "film.webp", "--seed", "4", "--guidance", "2") == 0
    settings = json.loads(read_metadata(tmp_path / "film.webp")["settings"])
    assert (settings["dtype"], settings["device"], settings["compile"]) == ("fp32", "cpu", False)


def test_films_that_were_made_stay_when_the_command_is_stopped(command, tmp_path, monkeypatch, capsys):
    from videosyn.sampling import fitting
    from videosyn.sampling.pipeline import VideoSynPipeline

    assert command(PROMPT, "-o", "whole.webp", "--num-videos", "5", "--seed", "2") == 0
    monkeypatch.setattr(fitting, "MOST_AT_ONCE", 2)
    frames, calls = VideoSynPipeline._frames, []

    def stopped(*given):
        calls.append(files(tmp_path))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return frames(*given)

    monkeypatch.setattr(VideoSynPipeline, "_frames", stopped)
    capsys.readouterr()
    assert command(PROMPT, "-o", "film.webp", "--num-videos", "5", "--seed", "2") == 130
    assert [len(found) - 5 for found in calls] == [0, 2, 4]  # each group is on disk before the next is made
    assert capsys.readouterr().out.split() == [f"film-{number}.webp" for number in (1, 2, 3, 4)]
    for number in (1, 4):
        whole, part = (read_video(tmp_path / f"{name}-{number}.webp")[0].astype(int) for name in ("whole", "film"))
        assert np.abs(whole - part).mean() < 1


def test_a_long_film_is_told_of_before_it_begins(command, monkeypatch, capsys):
    monkeypatch.setattr("videosyn.sampling.duration.LONG_S", 1e-9)
    assert command(PROMPT, "-o", "film.png", "--steps", "2") == 0
    assert re.search(
        r"^videosyn: the film takes about .* s: 2 predictions of .* s, decoding", capsys.readouterr().err, re.M
    )


def test_a_request_far_outside_training_is_noted_and_the_film_is_made(command, tmp_path, capsys):
    assert command(PROMPT, "-o", "film.png", "--frames", "33", "--steps", "1") == 0
    assert "far outside what this model was trained on: 33 frames (trained on up to 17)" in capsys.readouterr().err
    assert files(tmp_path) == ["film.png"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([""], "a prompt must not be empty"),
        (["  ", "-o", "x.gif"], "a prompt must not be empty"),
        ([], "a prompt is needed"),
        (["--prompts", "absent.txt"], "cannot read prompts from absent.txt"),
        ([PROMPT, "--frames", "16"], "frames must be 1 + 4k, got 16: use 13 or 17"),
        ([PROMPT, "--frames", "0"], "frames must be at least 1, got 0: use 1 or more"),
        ([PROMPT, "--height", "0"], "height must be a multiple of 8, got 0: use 8"),
        ([PROMPT, "--height", "97"], "height must be a multiple of 8, got 97: use 96 or 104"),
        ([PROMPT, "--width", "24"], "width must be a multiple of 16, got 24: use 16 or 32"),
        ([PROMPT, "-o", "film.avi"], "suffix must be one of .mp4, .gif, .webp, .png, got '.avi'"),
        ([PROMPT, "-o", "film"], "suffix must be one of"),
        ([PROMPT, "-o", "absent/film.mp4"], "the folder absent does not exist"),
        ([PROMPT, "--steps", "0"], "steps must be at least 1"),
        ([PROMPT, "--num-videos", "0"], "num-videos must be at least 1"),
        ([PROMPT, "--fps", "0"], "fps must lie above 0"),
        ([PROMPT, "-o", "x.gif", "--fps", "60"], "gif shows at most 50 frames a second, got 60: use 50, or .mp4 or"),
        (
            [PROMPT, "-o", "x.gif", "--fps", "0.001"],
            "gif needs at least 0.0077 fps for 5 frames, got 0.001: use 0.0077",
        ),
        ([PROMPT, "--fps", "0.0004"], "mp4 needs at least 0.001 fps"),
        (["b\udce4ll"], "a prompt must be valid UTF-8, got 'b\\udce4ll'"),
        ([PROMPT, "--negative", "b\udce4ll"], "a prompt must be valid UTF-8"),
        ([PROMPT, "-o", "x" * 260 + ".mp4"], "a file name has at most 245 bytes, got 264"),
        ([PROMPT, "-o", "x" * 240 + ".mp4", "--num-videos", "10"], "a file name has at most 245 bytes, got 246"),
        ([PROMPT, "--image", "x" * 260], "a file's name is too long"),
        ([PROMPT, "--guidance", "-1"], "guidance must be a number of at least 0, got -1"),
        ([PROMPT, "--guidance", "nan"], "guidance must be a number of at least 0, got nan"),
        ([PROMPT, "--lora-scale", "inf"], "lora-scale must be a number, got inf"),
        (
            [PROMPT, "--guidance-interval", "0.9", "0.1"],
            "guidance-interval must be ordered within 0 and 1, got 0.9",
        ),
        ([PROMPT, "--guidance-interval", "0.1", "900"], "got 0.1 900: use 0 0.9"),
        ([PROMPT, "--lora-scale", "0.5"], "--lora-scale 0.5 scales nothing without --lora: give a LoRA file"),
        ([PROMPT, "--captioner", "my/one"], "--captioner my/one chooses nothing without --best-of: use --best-of 4"),
        (
            [PROMPT, "--guidance-interval", "0", "0.9", "--guidance", "1"],
            "--guidance-interval says when to guide, and --guidance 1 never does: leave one out",
        ),
        ([PROMPT, "--shift", "0"], "shift must lie above 0 and up to 100, got 0: use 1 for none"),
        ([PROMPT, "--cache-threshold", "2"], "cache-threshold must lie within 0 and 1, got 2: use 0.1"),
        ([PROMPT, "--compile", "--memory", "int8"], "--compile needs whole weights on the device, not --memory int8"),
        ([PROMPT, "--seed", "-1"], "seed must lie between"),
        ([PROMPT, "--frames", "many"], "Error parsing --frames"),
        ([PROMPT, "--frmaes", "17"], "--frmaes"),
        ([PROMPT, "--image", "absent.png"], "there is no file absent.png"),
        ([PROMPT, "--image", __file__, "--extend", __file__], "--image and --extend both say how a film begins"),
        ([PROMPT, "--last-image", __file__], "is no picture that can be read"),
        ([PROMPT, "--extend", __file__], "cannot read"),
        ([PROMPT, "--sampler", "ddim"], "a flow model's sampler must be"),
    ],
)
def test_a_mistake_is_one_line_code_2_and_nothing_written(command, tmp_path, capsys, words, message):
    assert command(*words) == 2
    output = capsys.readouterr()
    assert output.out == ""
    lines = output.err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("videosyn: ")
    assert message in lines[0]
    assert files(tmp_path) == []


@pytest.mark.slow
def test_compiling_without_a_compiler_is_one_line_code_2_and_nothing_written(command, tmp_path, capsys, monkeypatch):
    from torch._inductor import config

    torch.compiler.reset()
    monkeypatch.setattr(config.cpp, "cxx", ("no-such-compiler",))
    monkeypatch.setattr(config, "force_disable_caches", True)  # what was compiled before would need no compiler
    assert command(PROMPT, "-o", "film.png", "--steps", "1", "--compile") == 2
    error = capsys.readouterr().err
    assert error == "videosyn: --compile needs a C++ compiler (g++): install one, or leave it out\n"
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda folder: shutil.rmtree(folder), "no model"),
        (lambda folder: (folder / "vae" / "config.json").unlink(), "cannot read"),
        (lambda folder: (folder / "model_index.json").write_text("{}"), "not a VideoSynPipeline"),
        (lambda folder: (folder / "vae/diffusion_pytorch_model.safetensors").write_bytes(b"x" * 99), "is damaged"),
    ],
    ids=["absent", "incomplete", "foreign", "damaged"],
)
def test_a_bad_model_folder_is_one_line_code_2_and_nothing_written(tiny_folder, tmp_path, capsys, prepare, message):
    folder = shutil.copytree(tiny_folder, tmp_path / "model")
    prepare(folder)
    out = tmp_path / "out"
    out.mkdir()
    assert run(["generate", PROMPT, "-o", str(out / "film.mp4"), "--model", str(folder), "--device", "cpu"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("videosyn: ")
    assert error.count("\n") == 1
    assert message in error
    assert files(out) == []


def test_a_home_of_nobody_is_no_model(tmp_path, capsys):
    assert run(["generate", PROMPT, "-o", str(tmp_path / "film.mp4"), "--model", "~nobody-of-that-name/x"]) == 2
    assert capsys.readouterr().err.startswith("videosyn: no model '~nobody-of-that-name/x': give nano, a folder")


def test_no_memory_is_one_line_that_says_what_would_fit(command, tmp_path, capsys, monkeypatch):
    from videosyn.sampling import fitting

    monkeypatch.setattr(fitting, "available_bytes", lambda device: 80_000_000)
    assert command(PROMPT, "--frames", "129", "--height", "512", "--width", "512", "-o", "film.mp4") == 2
    assert "would fit" in capsys.readouterr().err.splitlines()[-1]
    assert files(tmp_path) == []


def test_an_interrupt_while_writing_leaves_no_half_film(command, tmp_path, monkeypatch):
    from videosyn.core import video_file

    def half(path, *_):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(video_file, "_write_mp4", half)
    assert command(PROMPT, "-o", "film.mp4") == 130
    assert files(tmp_path) == []


def test_an_unknown_command_names_the_nearest(capsys):
    assert run(["genrate", PROMPT]) == 2
    assert "did you mean 'videosyn generate'?" in capsys.readouterr().err


def test_train_reads_a_yaml_file_and_flags_override_it(tmp_path, monkeypatch):
    from videosyn.training import run as training

    seen = []
    monkeypatch.setattr(training, "run_vae", seen.append)
    (tmp_path / "vae.yaml").write_text("max_minutes: 3\nbatch_size: 2\n")
    assert run(["train", "vae", str(tmp_path / "vae.yaml"), "--batch-size", "7"]) == 0
    assert (seen[0].max_minutes, seen[0].batch_size) == (3.0, 7)
    monkeypatch.setattr(training, "run_vae", lambda options: "stopped")
    assert run(["train", "vae", str(tmp_path / "vae.yaml")]) == 3  # what follows must not take it for trained
    monkeypatch.setattr(training, "run_dit", seen.append)
    (tmp_path / "dit.yaml").write_text("max_steps: 3\nstages: [{name: a, batch_size: 8}, {name: b}]\n")
    assert run(["train", "dit", str(tmp_path / "dit.yaml"), "--max-steps", "5", "--batch-size", "32"]) == 0
    assert [(stage.max_steps, stage.batch_size) for stage in seen[1].staged()] == [(5, 8), (5, 32)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "needs a configuration"),
        (["absent.yaml"], "cannot read absent.yaml"),
        (["bad.yaml"], "unknown key 'max_minuets'"),
        (["good.yaml", "--batch-size", "-1"], "batch_size must be above 0"),
        (["staged.yaml", "--batch-size", "4"], "--batch-size does not reach stage late, which sets batch_size itself"),
    ],
)
def test_a_mistake_in_training_options_is_one_line_and_code_2(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.yaml").write_text("max_minuets: 3\n")
    (tmp_path / "good.yaml").write_text("max_minutes: 3\n")
    (tmp_path / "staged.yaml").write_text("max_steps: 3\nstages: [{name: early}, {name: late, batch_size: 8}]\n")
    assert run(["train", "dit", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_help_names_every_command(capsys):
    assert run(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(" ".join(command.words) in text and command.help in text for command in COMMANDS)
    assert run([]) == 0
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.endswith(f"videosyn {__version__}\n")


def test_help_and_mistakes_import_no_torch(tmp_path):
    code = """
import sys
from videosyn.app.cli import run
assert run(["--help"]) == 0
try:
    run(["generate", "--help"])
except SystemExit as stop:
    assert stop.code == 0
assert run(["generate", "", "-o", "film.mp4"]) == 2
assert run(["generate", "a ball", "--frames", "16"]) == 2
assert run(["generate", "a ball", "--model", "no such model"]) == 2
print([name for name in ("torch", "av", "numpy", "diffusers", "transformers") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_generation_imports_only_what_it_needs(tiny_folder, tmp_path):
    code = f"""
import sys
from videosyn.app.cli import run
assert run(["generate", "a ball", "-o", "film.mp4", "--model", {str(tiny_folder)!r}, "--device", "cpu"]) == 0
heavy = ("torch._dynamo", "sympy", "diffusers", "transformers", "PIL", "huggingface_hub", "scipy", "matplotlib")
print([name for name in heavy if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["film.mp4", "[]"]


def test_ctrl_c_stops_with_130_and_leaves_nothing(tiny_folder, tmp_path):
    words = [
        "generate",
        "a red zebra",
        "-o",
        str(tmp_path / "film.mp4"),
        "--model",
        str(tiny_folder),
        "--steps",
        "1000000",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "videosyn", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        while "zebra" not in (line := process.stderr.readline()):  # the last word before sampling begins
            assert line, "ended before it began"
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, error
    assert "Traceback" not in error
    assert files(tmp_path) == []

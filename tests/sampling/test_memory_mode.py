"""`--memory`: what each way does to the film, to the weights and to the text encoder."""

import gc
import json
import re
import shutil
import weakref

import numpy as np
import pytest
import torch

from videosyn.app.cli import run
from videosyn.core.errors import UserError
from videosyn.core.video_file import read_metadata, read_video
from videosyn.sampling.eight_bits import EightBitLinear
from videosyn.sampling.memory_mode import MemoryMode
from videosyn.sampling.pipeline import VideoSynPipeline
from videosyn.sampling.text_on_demand import TextOnDemand, encode_prompts
from videosyn.text.features import TextFeatures
from videosyn.text.t5 import T5TextEncoder

PROMPT = "a red ball bounces"


@pytest.fixture(scope="module")
def t5_pipeline_folder(tiny_pipeline, save_t5, tmp_path_factory):
    """The tiny pipeline with a T5 for its text encoder, saved."""
    pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("t5_pipeline")
    text = T5TextEncoder(save_t5(folder / "t5"), dtype=torch.float32)
    parts = (tiny_pipeline.vae, tiny_pipeline.vdit, text, tiny_pipeline.objective, tiny_pipeline.defaults)
    VideoSynPipeline(*parts).save_pretrained(folder / "model")
    return folder / "model"


def load(folder, memory: str) -> VideoSynPipeline:
    return VideoSynPipeline.from_pretrained(folder, device="cpu", dtype="fp32", memory=memory)


def test_names_say_what_is_done():
    assert MemoryMode.named("full") == MemoryMode()
    assert MemoryMode.named("free-text") == MemoryMode(text_on_demand=True)
    assert MemoryMode.named("fp8") == MemoryMode(True, "fp8")
    assert MemoryMode.named("int8-offload") == MemoryMode(True, "int8", True)
    with pytest.raises(UserError, match=re.escape("memory must be one of full, free-text, int8, fp8, offload")):
        MemoryMode.named("low")


@pytest.mark.parametrize("memory", ["free-text", "offload"])
def test_ways_that_only_move_weights_give_the_same_film(t5_pipeline_folder, memory):
    expected = load(t5_pipeline_folder, "full")([PROMPT, "a blue ball"], negative_prompt="red").frames
    pipeline = load(t5_pipeline_folder, memory)
    assert np.array_equal(pipeline([PROMPT, "a blue ball"], negative_prompt="red").frames, expected)


@pytest.mark.parametrize("memory", ["int8", "fp8", "int8-offload", "fp8-offload"])
def test_weights_in_8_bits_give_nearly_the_same_film(t5_pipeline_folder, memory):
    expected = load(t5_pipeline_folder, "full")(PROMPT).frames.astype(int)
    pipeline = load(t5_pipeline_folder, memory)
    assert isinstance(pipeline.vdit.blocks[0].mlp.fc1, EightBitLinear)
    assert 0 < np.abs(pipeline(PROMPT).frames - expected).mean() < (2 if "int8" in memory else 8)


def test_a_text_encoder_is_loaded_once_a_call_and_gone_before_denoising(t5_pipeline_folder, monkeypatch):
    pipeline = load(t5_pipeline_folder, "free-text")
    text = pipeline.text_encoder
    assert isinstance(text, TextOnDemand)
    made = []

    def watched(load=text.load):
        encoder = load()
        made.append(weakref.ref(encoder.model))
        return encoder

    text.load = watched
    alive = []
    forward = pipeline.vdit.forward
    monkeypatch.setattr(pipeline.vdit, "forward", lambda *given: (alive.append(made[-1]()), forward(*given))[1])
    monkeypatch.setattr("videosyn.sampling.fitting.MOST_AT_ONCE", 1)  # three runs of denoising
    pipeline([PROMPT, "a blue ball", PROMPT], negative_prompt="red")
    assert len(made) == 1
    assert alive == [None] * 6
    pipeline(PROMPT)
    gc.collect()
    assert [each() for each in made] == [None, None]


@pytest.mark.parametrize("memory", ["full", "free-text", "int8-offload"])
def test_a_text_encoder_of_another_width_is_refused_before_it_is_used(t5_pipeline_folder, save_t5, tmp_path, memory):
    folder = shutil.copytree(t5_pipeline_folder, tmp_path / "model")
    save_t5(folder / "text_encoder", width=32)
    with pytest.raises(UserError, match="the text encoder is 32 wide, the VDiT reads 16"):
        load(folder, memory)


@pytest.mark.parametrize("use", [lambda text: encode_prompts(text, ["a"]), lambda text: text.encode(["a"])])
def test_a_text_encoder_that_points_at_itself_goes_with_its_use(use):
    made = []

    def load():
        made.append(weakref.ref(encoder := PointsAtItself()))
        return encoder

    gc.disable()
    try:
        use(TextOnDemand(load))
        assert made[0]() is None
    finally:
        gc.enable()


class PointsAtItself:
    """As an encoder does whose blocks are offloaded."""

    def __init__(self):
        self.itself = self

    def encode(self, prompts, max_tokens=None):
        return TextFeatures(torch.zeros(1, 1, 2), torch.ones(1, 1, dtype=torch.bool))


def test_the_small_text_encoder_stays(tiny_folder):
    assert not isinstance(load(tiny_folder, "int8-offload").text_encoder, TextOnDemand)


def test_a_pipeline_that_takes_less_memory_is_not_saved(tiny_folder, tmp_path):
    with pytest.raises(UserError, match="load it with memory='full' to save it"):
        load(tiny_folder, "int8").save_pretrained(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


def test_the_flag_makes_films_and_a_wrong_one_is_refused(tiny_folder, tmp_path, capsys):
    words = ["generate", "a red ball", "--model", str(tiny_folder), "--device", "cpu", "--dtype", "fp32"]
    for memory in ("full", "int8-offload"):
        assert run([*words, "--memory", memory, "-o", str(tmp_path / f"{memory}.webp")]) == 0
    full, small = (tmp_path / f"{memory}.webp" for memory in ("full", "int8-offload"))
    assert not np.array_equal(read_video(full)[0], read_video(small)[0])
    assert json.loads(read_metadata(small)["settings"])["memory"] == "int8-offload"
    assert run([*words, "--memory", "low", "-o", str(tmp_path / "low.webp")]) == 2
    assert "invalid choice" in capsys.readouterr().err
    assert not (tmp_path / "low.webp").exists()


def test_a_cache_and_offloading_go_together(tiny_folder):
    options = {"num_steps": 6, "cache_threshold": 0.3}
    expected = load(tiny_folder, "full")("a red ball", **options).frames
    assert np.array_equal(load(tiny_folder, "offload")("a red ball", **options).frames, expected)


@pytest.mark.parametrize("memory", ["full", "free-text"])
def test_a_missing_text_encoder_is_a_user_error_at_once(t5_pipeline_folder, tmp_path, memory):
    folder = shutil.copytree(t5_pipeline_folder, tmp_path / "model")
    shutil.rmtree(folder / "text_encoder")
    with pytest.raises(UserError, match="is incomplete: it has no text_encoder"):
        load(folder, memory)

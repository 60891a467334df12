"""The whole captioner: what the loss counts, what it says, how it is stored."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from videosyn.captioner import presets
from videosyn.captioner.clip_captioner import MemoryCaptioner, open_captioner
from videosyn.captioner.config import CaptionerConfig
from videosyn.captioner.frames import evenly_spaced, picture_size
from videosyn.captioner.model import Captioner
from videosyn.captioner.storage import is_captioner, load_captioner, save_captioner
from videosyn.core.errors import UserError


def clip(seed: int, num_frames: int = 3, height: int = 32, width: int = 32) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (num_frames, height, width, 3), dtype=np.uint8)


def watched(model: Captioner, *clips: np.ndarray) -> torch.Tensor:
    frames = torch.from_numpy(np.stack(clips))
    return model.watch(model.pictures(frames), torch.linspace(0, 1, frames.shape[1]).expand(len(clips), -1))


def test_prompts_and_padding_do_not_count_in_the_loss(tiny):
    memory = watched(tiny, clip(1), clip(2))
    texts = ["a red ball", "a blue cube spins on the sea at night"]
    both = tiny.likelihood(memory, ["describe"] * 2, texts)
    for row in range(2):
        alone = tiny.likelihood(memory[row : row + 1], ["describe"], texts[row : row + 1])
        torch.testing.assert_close(both[row : row + 1], alone)
    ids = tiny.tokenizer("describe", add_special_tokens=False).input_ids
    words = tiny.tokenizer(texts[0], add_special_tokens=False).input_ids
    given = torch.cat([tiny.exit(memory[:1]), tiny.language.get_input_embeddings()(torch.tensor([ids + words]))], dim=1)
    logits = tiny.language(inputs_embeds=given).logits[0, -len(words) - 1 :].log_softmax(-1)
    wanted = torch.tensor([*words, tiny.tokenizer.eos_token_id])
    torch.testing.assert_close(-logits.gather(1, wanted[:, None]).mean(), both[0])


def test_a_prompt_changes_what_is_likely(tiny):
    memory = watched(tiny, clip(1))
    one, other = (tiny.likelihood(memory, [prompt], ["a red ball"]) for prompt in ("describe", "a blue cube"))
    assert not torch.allclose(one, other, atol=1e-4)


def test_captions_are_learned_and_then_said(tiny):
    clips = clip(1) // 2 + 120, clip(2) // 4
    texts = ["a red ball bounces in a meadow", "a blue cube spins on the sea"]
    optimizer = torch.optim.AdamW(tiny.parameters(), lr=1e-2)
    for _ in range(100):
        loss = tiny.likelihood(watched(tiny, *clips), ["describe"] * 2, texts).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1
    assert tiny.say(watched(tiny, *clips)) == texts
    assert tiny.say(watched(tiny, clips[1])) == texts[1:]


def test_a_clip_watched_in_pieces_gives_the_memory_of_the_whole(tiny):
    frames = torch.from_numpy(clip(3, 7)[None])
    times = torch.linspace(0, 1, 7)[None]
    whole = tiny.watch(tiny.pictures(frames), times)
    memory = tiny.watch(tiny.pictures(frames[:, :3]), times[:, :3])
    torch.testing.assert_close(tiny.watch(tiny.pictures(frames[:, 3:]), times[:, 3:], memory), whole)


@pytest.mark.parametrize(
    ("num_frames", "wanted", "numbers"),
    [(1, 4, [0]), (3, 4, [0, 1, 2]), (17, 3, [0, 8, 16]), (10, 1, [5]), (100, 4, [0, 33, 66, 99])],
)
def test_frames_are_spread_from_the_first_to_the_last(num_frames, wanted, numbers):
    assert evenly_spaced(num_frames, wanted) == numbers


def test_pictures_keep_their_shape_and_about_the_same_number_of_pixels():
    assert picture_size(presets.NANO, 480, 832, 16) == (80, 128)
    assert picture_size(presets.NANO, 96, 96, 16) == (96, 96)
    assert picture_size(presets.PAPER, 480, 832, 14) == (378, 378)


@pytest.mark.parametrize("int8", [False, True])
def test_a_stored_captioner_says_the_same(tiny, tmp_path: Path, int8):
    save_captioner(tmp_path / "model", tiny, int8=int8)
    assert is_captioner(tmp_path / "model")
    again = load_captioner(tmp_path / "model")
    assert again.language.lm_head.weight is again.language.get_input_embeddings().weight
    difference = (watched(again, clip(1)) - watched(tiny, clip(1))).abs().max()
    assert difference < (0.05 if int8 else 1e-6)
    if not int8:
        assert again.say(watched(again, clip(1))) == tiny.say(watched(tiny, clip(1)))


def test_a_save_that_is_stopped_leaves_the_older_captioner_or_none(tiny, tmp_path: Path, monkeypatch):
    folder = tmp_path / "model"
    save_captioner(folder, tiny)
    older = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}

    def stops(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(type(tiny.tokenizer), "save_pretrained", stops)
    with torch.no_grad():
        tiny.memory.keep.add_(1)
    with pytest.raises(KeyboardInterrupt):
        save_captioner(folder, tiny)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == older
    monkeypatch.undo()
    moved, replace = [], os.replace

    def stops_in_the_middle(source, target):
        if Path(target).is_relative_to(folder):
            moved.append(target)
            if len(moved) == 3:
                raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", stops_in_the_middle)
    with pytest.raises(KeyboardInterrupt):
        save_captioner(folder, tiny)
    with pytest.raises(UserError):
        load_captioner(folder)


def test_weights_that_do_not_fit_are_refused(tiny, tmp_path: Path):
    save_captioner(tmp_path / "model", tiny)
    file = next((tmp_path / "model").glob("*.safetensors"))
    state = load_file(file)
    for name, changed in (
        ("missing", {key: value for key, value in state.items() if key != "memory.keep"}),
        ("foreign", {**state, "memory.other": torch.zeros(1)}),
    ):
        save_file(changed, file)
        with pytest.raises(UserError, match=name):
            load_captioner(tmp_path / "model")


def test_clips_of_several_shapes_keep_their_order_and_an_empty_one_gets_nothing(tiny, tmp_path: Path):
    save_captioner(tmp_path / "model", tiny)
    captioner = open_captioner(str(tmp_path / "model"), "cpu", "fp32")
    clips = [clip(1), clip(2, 1, 48, 24), clip(3)[:0], clip(4)]
    texts = captioner.caption(clips)
    assert texts[2] == ""
    assert [captioner.caption([each])[0] for each in clips] == texts
    assert captioner.name == "model"


def test_a_clip_watched_whole_is_as_its_frames_together(tiny, tmp_path: Path):
    save_captioner(tmp_path / "model", tiny)
    captioner = MemoryCaptioner(tmp_path / "model", device="cpu", dtype="fp32")
    long = clip(5, 70)
    said = captioner.caption_whole(iter(long), len(long))
    assert said == captioner.model.say(captioner.watch(long[None]))[0]
    assert captioner.caption_whole(iter(()), 0) == ""


def test_rotary_frequencies_keep_their_precision_in_bf16(tiny, tmp_path: Path):
    save_captioner(tmp_path / "model", tiny)
    model = MemoryCaptioner(tmp_path / "model", device="cpu", dtype="bf16").model
    assert {each.dtype for each in model.parameters()} == {torch.bfloat16}
    assert model.language.lm_head.weight is model.language.get_input_embeddings().weight
    assert torch.equal(model.language.model.rotary_emb.inv_freq, tiny.language.model.rotary_emb.inv_freq)


def test_a_long_clip_is_seen_in_pieces_of_one_size(tiny, tmp_path: Path):
    save_captioner(tmp_path / "model", tiny)
    captioner = MemoryCaptioner(tmp_path / "model", device="cpu", dtype="fp32")
    seen = []
    captioner.model.vision.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    long = clip(5, 70)
    memory = captioner.watch(long[None])
    assert seen == [32, 32, 6]
    torch.testing.assert_close(memory, watched(tiny, long), atol=1e-5, rtol=1e-4)


def test_what_fits_better_is_likelier(tiny, tmp_path: Path):
    save_captioner(tmp_path / "model", tiny)
    captioner = MemoryCaptioner(tmp_path / "model", device="cpu", dtype="fp32")
    clips, texts = np.stack([clip(1), clip(2)]), ["a red ball", "a blue cube spins"]
    scores = captioner.log_likelihood(clips, texts)
    memory = watched(tiny, *clips)
    np.testing.assert_allclose(-scores, tiny.likelihood(memory, ["describe"] * 2, texts).detach().numpy(), atol=1e-5)


def test_a_folder_that_holds_no_captioner_is_a_users_error(tmp_path: Path):
    with pytest.raises(UserError, match="a captioner must be nano, a folder of train captioner, or"):
        open_captioner(str(tmp_path))


def test_without_transformers_a_user_is_told_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'videosyn\[caption\]'"):
        open_captioner("nano")


def test_the_papers_size_has_the_papers_shapes_and_parameters():
    config = presets.PAPER
    with torch.device("meta"):
        model = Captioner(config, tokenizer=None)
        pictures = torch.zeros(1, 4, 3, 378, 378)
        assert model.vision(pictures[0]).shape == (4, 729, 1280)
        assert model.tokens(pictures, torch.zeros(1, 4)).shape == (1, 4, 128, 1024)
        assert model.watch(pictures, torch.zeros(1, 4)).shape == (1, 128, 1024)
    counts = {name: sum(each.numel() for each in part.parameters()) for name, part in model.named_children()}
    assert counts["language"] == 3_821_079_552  # Phi-3-mini
    assert counts["vision"] == 631_590_400 or 625e6 < counts["vision"] < 640e6  # ViT-H/14


def test_a_config_that_makes_no_sense_is_refused():
    with pytest.raises(UserError, match="width must be a multiple of num_heads"):
        replace(presets.TINY, num_heads=3)
    with pytest.raises(UserError, match="vision needs a model_type"):
        CaptionerConfig(vision={}, language={"model_type": "phi3"})

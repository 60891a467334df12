import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from videosyn.core.errors import UserError
from videosyn.core.memory import FIXED_BYTES
from videosyn.diffusion.epsilon import EpsilonDDPM
from videosyn.diffusion.flow import FlowMatching
from videosyn.sampling import fitting
from videosyn.sampling.footprint import Footprint
from videosyn.sampling.pipeline import VideoSynPipeline, draw_noise, null_caption, to_frames
from videosyn.sampling.solvers import solve
from videosyn.vdit.model import VDiT
from videosyn.vdit.presets import TINY

PROMPT = "a red ball bounces on the grass"


def test_a_prompt_gives_one_film_of_the_models_own_length_size_and_rate(tiny_pipeline):
    output = tiny_pipeline(PROMPT)
    assert output.frames.shape == (1, 5, 32, 32, 3)
    assert output.frames.dtype == np.uint8
    assert (output.fps, output.prompts, output.seeds) == (8.0, [PROMPT], [0])
    assert output.frames.std() > 1


def test_what_is_asked_for_replaces_the_defaults(tiny_pipeline):
    output = tiny_pipeline(PROMPT, num_frames=1, height=16, width=48, fps=12)
    assert output.frames.shape == (1, 1, 16, 48, 3)
    assert output.fps == 12


def test_the_same_seed_gives_the_same_frames_and_another_seed_others(tiny_pipeline):
    first, again, other = (tiny_pipeline(PROMPT, seed=seed).frames for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_film_of_a_batch_is_the_film_made_alone_with_its_seed(tiny_pipeline):
    prompts = [PROMPT, "a blue cube spins in the desert"]
    batch = tiny_pipeline(prompts, seed=7, num_videos=2)
    assert batch.prompts == [prompts[0], prompts[0], prompts[1], prompts[1]]
    assert batch.seeds == [7, 8, 9, 10]
    for frames, prompt, seed in zip(batch.frames, batch.prompts, batch.seeds):
        alone = tiny_pipeline(prompt, seed=seed).frames[0]
        assert np.abs(frames.astype(int) - alone).max() <= 1  # sums are ordered by the batch's size


def test_noise_depends_on_its_own_seed_alone():
    shape = (4, 2, 4, 4)
    assert torch.equal(draw_noise(shape, [5, 6, 7])[1], draw_noise(shape, [6])[0])
    assert not torch.equal(*draw_noise(shape, [5, 6]))


def test_prompt_guidance_and_negative_prompt_each_change_the_film(tiny_pipeline):
    base = tiny_pipeline(PROMPT).frames
    assert not np.array_equal(base, tiny_pipeline("a blue cube").frames)
    assert not np.array_equal(base, tiny_pipeline(PROMPT, guidance=1.0).frames)
    assert not np.array_equal(base, tiny_pipeline(PROMPT, negative_prompt="a blue cube").frames)
    assert not np.array_equal(base, tiny_pipeline(PROMPT, guidance_interval=(0.0, 0.5)).frames)


def test_batches_split_for_memory_give_the_same_films(tiny_pipeline, monkeypatch):
    whole = tiny_pipeline([PROMPT] * 3, seed=1)
    monkeypatch.setattr(fitting, "MOST_AT_ONCE", 2)
    done = []
    pieces = tiny_pipeline([PROMPT] * 3, seed=1, progress=lambda step, total: done.append((step, total)))
    assert np.abs(whole.frames.astype(int) - pieces.frames).max() <= 1
    assert done == [(step, 6) for step in range(1, 7)]  # two batches of two steps and a decoding each


def test_frames_outside_the_range_are_clipped():
    video = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0]).view(1, 1, 5, 1, 1).expand(1, 3, 5, 1, 1)
    assert to_frames(video)[0, :, 0, 0, 0].tolist() == [0, 0, 128, 255, 255]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompt": ""}, "a prompt must not be empty"),
        ({"prompt": []}, "a prompt must not be empty"),
        ({"prompt": ["a", " "]}, "a prompt must not be empty"),
        ({"num_frames": 6}, "frames must be 1 + 4k, got 6: use 5 or 9"),
        ({"height": 40}, "height must be a multiple of 16, got 40: use 32 or 48"),
        ({"num_steps": 0}, "num_steps must be at least 1"),
        ({"num_videos": 0}, "num_videos must be at least 1"),
        ({"guidance": -1.0}, "guidance must"),
        ({"sampler": "ddim"}, "a flow model's sampler must be euler, heun, ab2, dpm++, unipc, got 'ddim'"),
        ({"sampler": "rk4"}, "sampler must be"),
    ],
)
def test_what_cannot_be_made_is_a_user_error(tiny_pipeline, arguments, message):
    with pytest.raises(UserError, match=re.escape(message)):
        tiny_pipeline(**{"prompt": PROMPT, **arguments})


def test_too_little_memory_says_what_would_fit(tiny_pipeline, monkeypatch):
    monkeypatch.setattr(fitting, "available_bytes", lambda device: 80_000_000)
    with pytest.raises(UserError, match=r"out of memory: 129 frames of 512x512 .* would fit"):
        tiny_pipeline(PROMPT, num_frames=129, height=512, width=512)


def test_a_block_cache_counts_where_memory_is_little(tiny_pipeline, monkeypatch):
    size = {"num_frames": 17, "height": 96, "width": 96}
    needed = [fitting.footprint(tiny_pipeline, cached).denoising_bytes(1, *size.values()) for cached in (False, True)]
    monkeypatch.setattr(Footprint, "decoding_bytes", lambda *_: 0)
    monkeypatch.setattr(fitting, "available_bytes", lambda device: FIXED_BYTES + sum(needed) // 2)
    tiny_pipeline(PROMPT, **size)
    with pytest.raises(UserError, match="out of memory: 17 frames of 96x96 need"):
        tiny_pipeline(PROMPT, **size, cache_threshold=0.1)


def test_frames_that_do_not_fit_whole_are_decoded_in_tiles_and_it_says_so(tiny_pipeline, monkeypatch):
    whole = tiny_pipeline(PROMPT, num_frames=1, height=64, width=96)
    assert whole.notes == ()
    needed = fitting.footprint(tiny_pipeline).predicted_bytes(1, 1, 64, 96)
    monkeypatch.setattr(fitting, "available_bytes", lambda device: needed - 1)
    monkeypatch.setattr(fitting, "TILES_PX", (64, 32))
    tiled = tiny_pipeline(PROMPT, num_frames=1, height=64, width=96)
    assert re.fullmatch(
        r"frames of 64x96 do not fit into memory whole: decoded in tiles of (64|32) px that overlap by 8",
        *tiled.notes,
    )
    assert tiled.frames.shape == whole.frames.shape
    assert not np.array_equal(tiled.frames, whole.frames)
    assert np.abs(tiled.frames.astype(int) - whole.frames).mean() < 20


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError("Unable to allocate 1 GiB for an array"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried 1 bytes"),
    ],
)
def test_the_frameworks_own_out_of_memory_becomes_a_user_error(tiny_pipeline, monkeypatch, error):
    def fail(latents):
        raise error

    monkeypatch.setattr(tiny_pipeline.vae, "decode_pieces", fail)
    with pytest.raises(UserError, match="out of memory: 5 frames of 32x32"):
        tiny_pipeline(PROMPT)


def test_other_failures_are_not_called_out_of_memory(tiny_pipeline, monkeypatch):
    def fail(latents):
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(tiny_pipeline.vae, "decode_pieces", fail)
    with pytest.raises(RuntimeError, match="a mistake of ours"):
        tiny_pipeline(PROMPT)


def test_what_is_cut_of_a_prompt_is_a_note_and_no_warning(tiny_pipeline, recwarn):
    output = tiny_pipeline(PROMPT, negative_prompt="ball " * 63 + "red cube")
    assert output.notes == ("prompt has 66 tokens, the model reads 64: 'red cube' is ignored",)
    assert not recwarn
    assert tiny_pipeline(PROMPT, negative_prompt="ball " * 63).notes == ()


def test_notes_are_told_before_the_first_step(tiny_pipeline):
    seen = []
    prompt = " ".join(["ball"] * 70)
    tiny_pipeline(prompt, num_steps=2, on_note=seen.append, progress=lambda done, total: seen.append(done))
    assert "is ignored" in seen[0]
    assert seen[1:] == [1, 2, 3]


def test_films_come_in_order_as_many_at_a_time_as_are_made_together(tiny_pipeline, monkeypatch):
    monkeypatch.setattr(fitting, "MOST_AT_ONCE", 2)
    prompts, done = [PROMPT, "a blue cube spins"], []
    whole = tiny_pipeline(prompts, seed=7, num_videos=2)
    single = tiny_pipeline.batches([PROMPT] * 3, seed=1, progress=lambda step, total: done.append((step, total)))
    assert len(next(single).frames) == 2
    assert done[-1] == (3, 6)  # the third film is not begun
    parts = list(tiny_pipeline.batches(prompts, seed=7, num_videos=2))
    assert [(part.prompts, part.seeds) for part in parts] == [
        ([prompts[0]] * 2, [7, 8]),
        ([prompts[1]] * 2, [9, 10]),
    ]
    assert np.array_equal(np.concatenate([part.frames for part in parts]), whole.frames)
    assert torch.is_inference_mode_enabled() is False


def test_unknown_words_are_named_once_in_order(tiny_pipeline):
    assert tiny_pipeline.unknown_words(["a zebra on the grass", "red zebra moon"]) == ["zebra", "moon"]


@pytest.mark.parametrize("sampler", ["dpm++", "unipc"])
@pytest.mark.parametrize("num_tokens", [64, 256, 2048])
def test_diffusers_flow_samplers_visit_the_times_that_training_shifted(sampler, num_tokens):
    pytest.importorskip("diffusers")
    visited = []

    def velocity(latents, timestep):
        visited.append(float(timestep[0]))
        return torch.zeros_like(latents)

    solve(FlowMatching(), sampler, velocity, torch.randn(1, 4, 1, 2, 2), 8, num_tokens, lambda step: None)
    assert visited == pytest.approx((1000 * FlowMatching().sampling_times(8, num_tokens)[:-1]).tolist(), abs=6)


@pytest.mark.parametrize("sampler", ["euler", "dpm++", "unipc"])
def test_flow_samplers_end_at_the_video_of_a_straight_flow(sampler):
    if sampler != "euler":
        pytest.importorskip("diffusers")
    clean, noise = torch.randn(2, 1, 4, 1, 2, 2)
    found = solve(FlowMatching(), sampler, lambda *_: noise - clean, noise, 8, 256, lambda step: None)
    assert torch.allclose(found, clean, atol=1e-2)  # diffusers' flow schedules stop just above 0


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpm++", "unipc"])
def test_the_papers_objective_samples_with_diffusers_schedulers(tiny_pipeline, sampler):
    pytest.importorskip("diffusers")
    parts = (tiny_pipeline.vae, tiny_pipeline.vdit, tiny_pipeline.text_encoder)
    paper = VideoSynPipeline(*parts, EpsilonDDPM(), replace(tiny_pipeline.defaults, sampler=sampler))
    assert paper(PROMPT, num_steps=3).frames.shape == (1, 5, 32, 32, 3)
    with pytest.raises(UserError, match="sampler must be one of"):
        paper(PROMPT, sampler="euler")


def test_a_sampler_that_draws_noise_on_its_way_draws_each_films_own(tiny_pipeline):
    pipeline = VideoSynPipeline(
        tiny_pipeline.vae, tiny_pipeline.vdit, tiny_pipeline.text_encoder, EpsilonDDPM(), tiny_pipeline.defaults
    )
    first, again = (pipeline(PROMPT, sampler="ddpm", seed=3, num_videos=2).frames for _ in range(2))
    assert np.array_equal(first, again)
    alone = pipeline(PROMPT, sampler="ddpm", seed=4).frames[0]
    assert np.abs(first[1].astype(int) - alone).max() <= 1
    assert not np.array_equal(first[0], first[1])


@pytest.mark.parametrize("num_tokens", [2, 6])
def test_a_vdits_own_null_caption_is_looked_at_as_far_as_the_prompt_is_long(tiny_pipeline, num_tokens):
    vdit = VDiT(replace(TINY, null_text_tokens=num_tokens))
    text = tiny_pipeline.text_encoder.encode(["a red ball", "a ball"])
    null = null_caption(vdit, text)
    length = min(num_tokens, text.mask.shape[1])
    assert torch.equal(null.features[1], vdit.null_text[:length])
    assert torch.equal(null.mask, text.mask[:, :length])
    assert null_caption(tiny_pipeline.vdit, text) is None


def test_a_vdit_is_led_away_from_its_own_null_caption_unless_a_negative_prompt_is_given(tiny_pipeline):
    torch.manual_seed(0)
    films = {}
    vdit = VDiT(replace(TINY, null_text_tokens=6))
    for parameter in vdit.parameters():
        if parameter.ndim > 1 and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    pipeline = VideoSynPipeline(
        tiny_pipeline.vae, vdit, tiny_pipeline.text_encoder, FlowMatching(), tiny_pipeline.defaults
    )
    for times in (1, 2):
        vdit.null_text.mul_(times)
        films[times] = [pipeline(PROMPT, negative_prompt=each).frames for each in (None, "")]
    assert not np.array_equal(films[1][0], films[2][0])
    assert np.array_equal(films[1][1], films[2][1])


def test_learned_variances_change_the_films_of_ddpm_alone(tiny_pipeline):
    pytest.importorskip("diffusers")
    torch.manual_seed(0)
    vdit = VDiT(replace(TINY, out_channels=2 * TINY.latent_channels))
    for parameter in vdit.parameters():
        if parameter.ndim > 1 and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    fixed, learned = (
        VideoSynPipeline(tiny_pipeline.vae, vdit, tiny_pipeline.text_encoder, EpsilonDDPM(learned_variance=each))
        for each in (False, True)
    )
    size = {"num_frames": 5, "height": 32, "width": 32, "num_steps": 4}
    for sampler, same in (("ddim", True), ("ddpm", False)):
        films = [each(PROMPT, sampler=sampler, **size).frames for each in (fixed, learned)]
        assert np.array_equal(*films) == same


def test_seeds_may_be_given_one_a_film(tiny_pipeline):
    films = tiny_pipeline([PROMPT, PROMPT], seed=[9, 4])
    assert films.seeds == [9, 4]
    for frames, seed in zip(films.frames, films.seeds):
        assert np.abs(frames.astype(int) - tiny_pipeline(PROMPT, seed=seed).frames[0]).max() <= 1
    with pytest.raises(UserError, match="seeds must be one a film, got 2 for 1 films: give 1"):
        tiny_pipeline(PROMPT, seed=[1, 2])


def test_numpys_whole_numbers_are_seeds(tiny_pipeline):
    film = tiny_pipeline(PROMPT, seed=np.int64(3))
    assert film.seeds == [3]
    assert np.array_equal(film.frames, tiny_pipeline(PROMPT, seed=3).frames)


def test_previews_end_at_the_film_itself_and_name_the_films_under_way(tiny_pipeline, monkeypatch):
    monkeypatch.setattr(fitting, "MOST_AT_ONCE", 2)
    seen = []
    films = tiny_pipeline([PROMPT] * 3, num_frames=1, preview=lambda films, pictures: seen.append((films, pictures())))
    assert [list(films) for films, _ in seen] == [[0, 1], [0, 1], [2], [2]]
    assert not np.array_equal(seen[0][1], seen[1][1])
    for films_now, pictures in (seen[1], seen[3]):
        assert np.array_equal(pictures, films.frames[list(films_now), 0])


def test_previews_of_a_film_that_is_decoded_in_tiles_are_too(tiny_pipeline, monkeypatch):
    size = {"num_frames": 1, "height": 64, "width": 96}
    needed = fitting.footprint(tiny_pipeline).predicted_bytes(1, *size.values())
    monkeypatch.setattr(fitting, "available_bytes", lambda device: needed - 1)
    monkeypatch.setattr(fitting, "TILES_PX", (64, 32))
    seen = []
    film = tiny_pipeline(PROMPT, **size, preview=lambda _, show: seen.append(show()))
    assert film.notes
    assert np.array_equal(seen[-1], film.frames[:, 0])


def test_given_frames_are_as_they_are_in_previews(tiny_pipeline):
    picture = np.full((32, 32, 3), 200, np.uint8)
    seen = []
    tiny_pipeline(PROMPT, extend=picture[None].repeat(5, 0), num_frames=9, preview=lambda _, show: seen.append(show()))
    first, last = seen[0][0].astype(int), seen[-1][0].astype(int)  # frame 5 of 9 is given
    assert np.array_equal(first, last)


def test_previews_of_the_papers_objective_end_near_its_film(tiny_pipeline):
    pipeline = VideoSynPipeline(tiny_pipeline.vae, tiny_pipeline.vdit, tiny_pipeline.text_encoder, EpsilonDDPM())
    seen = []
    settings = {"num_frames": 1, "height": 32, "width": 32, "num_steps": 8, "sampler": "ddim"}
    film = pipeline(PROMPT, **settings, preview=lambda _, show: seen.append(show()[0].astype(int)))
    ends = film.frames[0, 0].astype(int)
    assert np.abs(seen[-1] - ends).mean() < 12
    assert np.abs(seen[0] - ends).mean() > np.abs(seen[-1] - ends).mean()


def test_a_callback_that_raises_stops_the_call(tiny_pipeline):
    class Enough(BaseException):
        pass

    def stop(done, total):
        raise Enough

    with pytest.raises(Enough):
        tiny_pipeline(PROMPT, progress=stop)


@pytest.mark.slow
def test_a_compiled_pipeline_makes_the_same_film(tiny_folder):
    """Traced only: the eager backend translates nothing."""
    pipeline = VideoSynPipeline.from_pretrained(tiny_folder, device="cpu", dtype="fp32")
    plain = pipeline(PROMPT, num_steps=2)
    torch.compiler.reset()
    pipeline.compile(backend="eager")
    assert np.abs(pipeline(PROMPT, num_steps=2).frames.astype(int) - plain.frames).max() <= 1


@pytest.mark.slow
def test_a_compiled_pipeline_makes_films_of_more_shapes_than_torchs_own_limit(tiny_folder):
    pipeline = VideoSynPipeline.from_pretrained(tiny_folder, device="cpu", dtype="fp32")
    torch.compiler.reset()
    with torch._dynamo.config.patch(recompile_limit=1):
        pipeline.compile(backend="eager")
        for width in (16, 32, 48):
            pipeline(PROMPT, num_frames=1, height=16, width=width, num_steps=1)


def test_blocks_to_be_compiled_see_texts_of_few_lengths_and_make_the_same_films(tiny_folder):
    pipeline = VideoSynPipeline.from_pretrained(tiny_folder, device="cpu", dtype="fp32")
    prompts = [PROMPT, "a ball"]
    plain = [pipeline(prompt).frames.astype(int) for prompt in prompts]
    lengths = set()
    pipeline.vdit.register_forward_pre_hook(lambda _, inputs: lengths.add(inputs[2].shape[1]))
    pipeline.compiled = True
    films = [pipeline(prompt).frames for prompt in prompts]
    assert lengths == {32}
    assert np.abs(np.concatenate(films) - np.concatenate(plain)).max() <= 1


def test_weights_that_are_not_whole_are_not_compiled(tiny_folder):
    pipeline = VideoSynPipeline.from_pretrained(tiny_folder, device="cpu", memory="int8")
    with pytest.raises(UserError, match="only whole weights on the device are compiled"):
        pipeline.compile()

from dataclasses import replace

import pytest
import torch

from videosyn.core.errors import UserError
from videosyn.vdit.model import VDiT
from videosyn.vdit.presets import TINY

CLOSE = {"rtol": 1e-4, "atol": 1e-4}


@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 4, 6), (5, 6, 4), (9, 8, 8)])
def test_one_model_takes_every_length_and_shape(model, shape):
    latents = torch.randn(2, TINY.latent_channels, *shape)
    text, mask = torch.randn(2, 3, TINY.text_width), torch.ones(2, 3, dtype=torch.bool)
    out = model(latents, torch.tensor([0.0, 1000.0]), text, mask)
    assert out.shape == latents.shape
    assert out.isfinite().all()


def test_learned_variance_doubles_the_channels(inputs):
    assert VDiT(replace(TINY, out_channels=8))(**inputs).shape == (2, 8, 3, 4, 6)


def test_a_new_model_predicts_zero_and_its_blocks_are_the_identity(inputs):
    model = VDiT(TINY)
    assert (model(**inputs) == 0).all()
    seen = []
    model.blocks[-1].register_forward_hook(lambda module, args, out: seen.append((args[0], out)))
    model(**inputs)
    assert torch.equal(*seen[0])


@torch.no_grad()
def test_padding_of_the_text_takes_no_part(model, inputs):
    out = model(**inputs)
    noisy = inputs["text"].masked_fill(~inputs["text_mask"][..., None], 1e3)
    torch.testing.assert_close(model(**inputs | {"text": noisy}), out, **CLOSE)
    short = {key: value[1:] for key, value in inputs.items()}
    short |= {"text": short["text"][:, :3], "text_mask": short["text_mask"][:, :3]}
    torch.testing.assert_close(model(**short), out[1:], **CLOSE)


@torch.no_grad()
def test_a_clip_does_not_depend_on_its_batch(model, inputs):
    alone = model(**{key: value[:1] for key, value in inputs.items()})
    torch.testing.assert_close(model(**inputs)[:1], alone, **CLOSE)


@torch.no_grad()
def test_every_input_matters(model, inputs):
    out = model(**inputs)
    for key in ("latents", "timestep", "text"):
        changed = inputs[key].clone()
        changed[0].mul_(0.5)
        difference = (model(**inputs | {key: changed}) - out).abs().amax(dim=(1, 2, 3, 4))
        assert difference[0] > 1e-2, key
        assert difference[1] < 1e-4, key


@torch.no_grad()
def test_equal_timesteps_of_frames_are_one_timestep(model, inputs):
    per_frame = inputs["timestep"][:, None].expand(-1, 3)
    torch.testing.assert_close(model(**inputs | {"timestep": per_frame}), model(**inputs), **CLOSE)


@torch.no_grad()
def test_a_frames_own_timestep_matters_to_it(model, inputs):
    times = inputs["timestep"][:, None].repeat(1, 3)
    times[:, 0] = 0
    difference = (model(**inputs | {"timestep": times}) - model(**inputs)).abs().amax(dim=(1, 3, 4))
    assert (difference[:, 0] > 1e-2).all()


@torch.no_grad()
def test_without_temporal_attention_frames_are_independent(make_model, inputs):
    model = make_model(replace(TINY, frame_count_conditioning=False))
    mixed = model(**inputs)
    for block in model.blocks:
        block.temporal_attention.proj.weight.zero_()
        block.temporal_attention.proj.bias.zero_()
    whole = model(**inputs)
    frames = [model(**inputs | {"latents": inputs["latents"][:, :, [i]]}) for i in range(3)]
    torch.testing.assert_close(whole, torch.cat(frames, dim=2), **CLOSE)
    assert (mixed - whole).abs().max() > 1e-2


@torch.no_grad()
def test_the_order_of_frames_matters(model, inputs):
    backwards = model(**inputs | {"latents": inputs["latents"].flip(2)}).flip(2)
    assert (backwards - model(**inputs)).abs().max() > 1e-2


@torch.no_grad()
def test_the_fused_kernel_and_plain_products_agree(model, inputs, monkeypatch):
    out = model(**inputs)
    monkeypatch.setattr("videosyn.vdit.cost.SHORT", 0)
    torch.testing.assert_close(model(**inputs), out, **CLOSE)


def test_after_one_step_gradients_reach_every_weight(inputs):
    config = replace(TINY, fps_conditioning=True, size_conditioning=True)
    model = VDiT(config)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    torch.manual_seed(2)
    target = torch.randn_like(inputs["latents"])
    for _ in range(3):  # one layer from the end wakes up at each step
        optimizer.zero_grad()
        (model(**inputs, fps=torch.tensor([8.0, 24.0])) - target).square().mean().backward()
        optimizer.step()
    silent = [name for name, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert silent == []


def test_bfloat16_stays_near_float32(model, inputs):
    with torch.no_grad():
        out = model(**inputs)
        half = model.bfloat16()(**inputs)
    assert half.dtype == torch.bfloat16
    assert (half.float() - out).pow(2).mean().sqrt() < 0.05 * out.std()


@torch.no_grad()
def test_conditions_of_clock_and_size_matter(make_model, inputs):
    model = make_model(replace(TINY, fps_conditioning=True, size_conditioning=True))
    fps = torch.tensor([8.0, 8.0])
    out = model(**inputs, fps=fps)
    assert (model(**inputs, fps=3 * fps) - out).abs().max() > 1e-3
    own_size = torch.tensor([[32.0, 48.0]] * 2)
    torch.testing.assert_close(model(**inputs, fps=fps, height_width=own_size), out, **CLOSE)
    other_size = model(**inputs, fps=fps, height_width=4 * own_size)
    assert (other_size - out).abs().max() > 1e-3
    mixed = model(**inputs, fps=fps, height_width=torch.cat([own_size[:1], 4 * own_size[1:]]))
    torch.testing.assert_close(mixed, torch.cat([out[:1], other_size[1:]]), **CLOSE)


def test_the_stored_null_caption_fits_the_model(inputs):
    model = VDiT(replace(TINY, null_text_tokens=7))
    text, mask = model.null_features(2)
    assert text.shape == (2, 7, TINY.text_width)
    model(**inputs | {"text": text, "text_mask": mask})
    with pytest.raises(UserError, match="null_text_tokens"):
        VDiT(TINY).null_features(2)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("latents", torch.zeros(2, 3, 3, 4, 6), "channels"),
        ("latents", torch.zeros(2, 4, 3, 5, 6), "multiples of 2"),
        ("timestep", torch.zeros(3), "timestep must be"),
        ("text", torch.zeros(2, 5, 8), "text must be"),
        ("text_mask", torch.ones(2, 4, dtype=torch.bool), "text must be"),
    ],
)
def test_a_wrong_input_is_named(model, inputs, key, value, message):
    with pytest.raises(UserError, match=message):
        model(**inputs | {key: value})


@pytest.mark.parametrize(
    "change", [{"width": 50}, {"depth": 0}, {"legacy_stdit2": True}, {"width": 40, "size_conditioning": True}]
)
def test_a_wrong_config_is_refused(change):
    with pytest.raises(UserError):
        replace(TINY, **change)


def test_frames_that_hold_the_same_are_told_apart_by_frame_positions_alone(make_model, inputs):
    inputs["latents"] = inputs["latents"][:, :, :1].expand(-1, -1, 3, -1, -1)
    with torch.inference_mode():
        without = make_model(TINY)(**inputs)
        told = make_model(replace(TINY, frame_positions=True))(**inputs)
    torch.testing.assert_close(without[:, :, 1:], without[:, :, :1].expand(-1, -1, 2, -1, -1), rtol=1e-4, atol=1e-5)
    assert (told[:, :, 2] - told[:, :, 0]).abs().max() > 0.01


@pytest.mark.parametrize("per_frame", [False, True])
def test_a_few_frames_or_places_at_a_time_give_what_all_give(model, inputs, monkeypatch, per_frame):
    """On CPUs, without gradients; 3 frames of 2 x 3 places in parts of one frame, and of two places."""
    if per_frame:
        inputs["timestep"] = torch.linspace(0, 900, 6).view(2, 3)
    whole = model(**inputs)  # with gradients: nothing is divided
    monkeypatch.setattr("videosyn.vdit.cost.TOKENS_AT_ONCE", {"cpu": 12})
    with torch.no_grad():
        torch.testing.assert_close(model(**inputs), whole, atol=1e-5, rtol=1e-5)


def test_the_fused_activation_is_nearer_to_the_exact_one(model):
    feed_forward = model.blocks[0].mlp
    x = torch.randn(4, 7, feed_forward.fc1.in_features)
    exact = feed_forward(x)
    feed_forward.bfloat16()
    with torch.no_grad():
        error = (feed_forward(x.bfloat16()) - exact).square().mean()
    usual = (feed_forward(x.bfloat16()) - exact).square().mean()
    assert 0 < error <= 1.1 * usual


@torch.no_grad()
@pytest.mark.parametrize("kind", ["none", "rms", "layer"])
def test_writing_over_what_is_made_on_the_way_changes_nothing(make_model, inputs, kind):
    model = make_model(replace(TINY, qk_norm=kind))
    before = {key: value.clone() for key, value in inputs.items()}
    with torch.enable_grad():
        out = model(**inputs)
    torch.testing.assert_close(model(**inputs), out, atol=1e-5, rtol=1e-5)
    assert all(torch.equal(inputs[key], value) for key, value in before.items())


@torch.no_grad()
def test_a_block_leaves_its_tokens_as_they_are(model, inputs):
    seen = []
    model.blocks[0].register_forward_pre_hook(lambda module, args: seen.append((args[0], args[0].clone())))
    model(**inputs)
    assert torch.equal(*seen[0])


@torch.no_grad()
def test_tokens_routed_around_the_middle_neither_see_it_nor_are_seen_by_it(make_model, inputs):
    model = make_model(replace(TINY, depth=4))
    assert [*model.middle] == [1, 2]
    places = torch.arange(2 * 3)  # tokens of a frame
    torch.testing.assert_close(model(**inputs, routed=places.expand(2, -1)), model(**inputs), **CLOSE)

    seen = {}
    for index, block in enumerate(model.blocks):
        block.register_forward_hook(
            lambda module, args, out, at=index: seen.update({at: (args[0].clone(), out.clone())})
        )
    routed = torch.tensor([[0, 2], [1, 5]])
    out = model(**inputs, routed=routed)
    assert out.shape == inputs["latents"].shape
    (entered, _), (_, left) = seen[1], seen[2]  # (B, t, 2, C)
    below, above = seen[0][1], seen[3][0]  # (B, t, S, C)
    for clip in range(2):
        around = [place for place in range(6) if place not in routed[clip]]
        assert torch.equal(entered[clip], below[clip][:, routed[clip]])
        assert torch.equal(above[clip][:, routed[clip]], left[clip])
        assert torch.equal(above[clip][:, around], below[clip][:, around])
    assert not torch.equal(entered, left)


@torch.no_grad()
def test_a_model_without_a_middle_routes_nothing(model, inputs):
    assert not model.middle  # two blocks
    torch.testing.assert_close(model(**inputs, routed=torch.tensor([[0], [1]])), model(**inputs), **CLOSE)

"""Previews and batches of small random diffusers pipelines."""

import numpy as np
import pytest
import torch

from videosyn.core.errors import UserError
from videosyn.sampling.foreign import open_pipeline
from videosyn.sampling.foreign_preview import ForeignPreview, level_after

SIZE = {"num_frames": 9, "height": 32, "width": 32}
NAMES = ("wan", "ltx", "cogvideox")


def previews_of(pipeline, prompts="a red ball", **asked):
    """(films, pictures) of every preview of a call, and what it made."""
    seen = []
    output = pipeline(prompts, preview=lambda films, pictures: seen.append((films, pictures())), **asked)
    return seen, output.frames


@pytest.mark.parametrize("name", NAMES)
def test_the_last_preview_of_a_film_of_one_frame_is_that_frame(foreign_folders, name):
    pipeline = open_pipeline(str(foreign_folders[name]), "cpu", "fp32")
    seen, frames = previews_of(pipeline, num_frames=1, height=32, width=64, num_steps=3)
    assert [films for films, _ in seen] == [range(1)] * 2  # from the second step on
    assert np.abs(seen[-1][1].astype(int) - frames[:, 0]).max() <= 1


@pytest.mark.parametrize("name", NAMES)
def test_films_on_their_way_are_shown_as_one_frame_each(foreign_folders, name):
    pipeline = open_pipeline(str(foreign_folders[name]), "cpu", "fp32")
    seen, _ = previews_of(pipeline, ["a red ball", "a ball"], num_steps=3, batch=2, **SIZE)
    assert [(films, pictures.shape) for films, pictures in seen] == [(range(2), (2, 32, 32, 3))] * 2


def flow():
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(shift=3.0)


def ddim():
    from diffusers import DDIMScheduler

    return DDIMScheduler()


def unipc():
    from diffusers import UniPCMultistepScheduler

    return UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)


@pytest.mark.parametrize(("make", "predict"), [(flow, "flow"), (ddim, "noise"), (unipc, "flow")])
def test_a_model_that_always_points_to_one_film_is_shown_as_that_film_from_the_second_step_on(make, predict):
    scheduler = make()
    scheduler.set_timesteps(6)
    clean, noise = torch.randn(2, 1, 4, 3, 2, 2, generator=torch.Generator().manual_seed(0)).unbind(0)

    class Pipeline:
        vae = torch.nn.Linear(1, 1)

    Pipeline.scheduler = scheduler
    shown = []
    preview = ForeignPreview(Pipeline(), lambda latents: shown.append(latents) or latents[:, :3], SIZE.values())
    latents = noise
    for step, time in enumerate(scheduler.timesteps):
        model_says = noise - clean if predict == "flow" else noise
        latents = scheduler.step(model_says, time, latents, return_dict=False)[0]
        if predict == "noise" and step == 0:
            signal, rest = level_after(scheduler, 0)
            torch.testing.assert_close(latents, signal * (latents - rest * noise) / signal + rest * noise)
            clean = (latents - rest * noise) / signal
        preview.see(step, latents)
        assert preview.ready == (step > 0)
        if preview.ready:
            preview.pictures()
            torch.testing.assert_close(shown[-1], clean[:, :, 1:2], rtol=1e-3, atol=1e-3)
    assert len(shown) == 5


def test_latents_of_an_unknown_kind_are_said_to_have_no_preview():
    class SomePipeline:
        vae = torch.nn.Linear(1, 1)
        scheduler = flow()

    SomePipeline.scheduler.set_timesteps(3)
    preview = ForeignPreview(SomePipeline(), lambda latents: latents, SIZE.values())
    for step in range(2):
        preview.see(step, torch.zeros(1, 4, 2, 2))
    with pytest.raises(UserError, match="films of a SomePipeline cannot be shown on their way: latents of 4 axes"):
        preview.pictures()


@pytest.mark.parametrize("name", NAMES)
def test_a_film_made_with_others_is_the_film_made_alone(foreign_folders, name):
    pipeline = open_pipeline(str(foreign_folders[name]), "cpu", "fp32")
    asked = {"num_steps": 2, "negative_prompt": "a ball", **SIZE}
    steps = []
    both = pipeline(
        ["a red ball", "a ball"], seed=[5, 9], batch=2, progress=lambda *step: steps.append(step), **asked
    ).frames
    assert steps == [(2, 4), (4, 4)]
    for index, (prompt, seed) in enumerate((("a red ball", 5), ("a ball", 9))):
        alone = pipeline(prompt, seed=seed, **asked).frames[0]
        assert np.abs(both[index].astype(int) - alone).max() <= 1
    assert not np.array_equal(both[0], both[1])


def test_films_that_do_not_fit_together_are_made_fewer_at_a_time(foreign_folders, monkeypatch):
    pipeline = open_pipeline(str(foreign_folders["wan"]), "cpu", "fp32")
    whole, sizes = type(pipeline.pipeline).__call__, []

    def tight(self, prompt, **arguments):
        sizes.append(len(prompt) if isinstance(prompt, list) else 1)
        if sizes[-1] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return whole(self, prompt=prompt, **arguments)

    monkeypatch.setattr(type(pipeline.pipeline), "__call__", tight)
    output = pipeline(["a", "red", "ball", "a", "ball"], seed=[1, 2, 3, 4, 5], batch=4, num_steps=1, **SIZE)
    assert sizes == [4, 2, 2, 1]
    assert output.frames.shape == (5, 9, 32, 32, 3)
    assert "fewer at a time" in output.notes[0]

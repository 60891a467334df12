"""What the Generate page's handlers do, without a browser or a worker: its jobs wait in the queue."""

import asyncio
from types import SimpleNamespace

import pytest

pytest.importorskip("gradio")

import gradio as gr

from videosyn.app.serve.documents import VideoRequest
from videosyn.app.serve.options import ServeOptions
from videosyn.app.serve.service import Service
from videosyn.app.serve.studio.generate import Running, generate_page
from videosyn.app.serve.uploads import Uploads

PROMPT = "a red ball bounces on the grass"
NUMBERS = (5, 32, 32, 8, 2, 3)
NOTHING_GIVEN = (None, None, None, "")
FILM = {"num_frames": 5, "height": 32, "width": 32, "fps": 8.0}


@pytest.fixture
def service(tiny_folder, slow_folder, tmp_path):
    return Service(ServeOptions(models=(f"tiny={tiny_folder}", f"slow={slow_folder}"), data=tmp_path / "data"))


@pytest.fixture
def handlers(service):
    """Name -> handler of the page."""
    with gr.Blocks() as blocks:
        generate_page(service, Uploads(service), blocks)
    return {each.fn.__name__: each.fn for each in blocks.fns.values()}


async def made(service, **asked):
    """A finished job."""
    job, _ = await service.submit(VideoRequest(prompt=PROMPT, **asked))
    service.store.claim("lease", 1)
    assert service.store.succeed("lease", job.id, FILM, 100, 1.0)
    service.folders.poster(job.id).touch()
    return job.id


def named(update):
    """elem_id, or label, of each component -> what a handler gave it."""
    return {each.elem_id or getattr(each, "label", None): value for each, value in update.items()}


def test_cancel_ends_the_film_under_way_whichever_is_looked_at(service, handlers):
    async def visit():
        running, old = Running(), await made(service)
        under_way = handlers["generate"](running, PROMPT, 0, False, "tiny", "", *NUMBERS, *NOTHING_GIVEN)
        begun = named(await anext(under_way))
        new = running.id
        await handlers["open_film"]([old], SimpleNamespace(index=0))
        await handlers["stop"](running)
        ended = [named(each) async for each in under_way]
        await handlers["stop"](running)  # and again, when nothing is under way
        return old, new, begun, ended

    old, new, begun, ended = asyncio.run(visit())
    assert begun["cancel"].interactive
    assert service.job(old).state == "succeeded"
    assert service.job(new).state == "cancelled"
    assert not next(each["cancel"] for each in ended if "cancel" in each).interactive


def test_the_buttons_belong_to_the_film_that_was_asked_for_last(service, handlers):
    async def visit():
        running, begun = Running(), []
        for seed in (1, 2):
            begun.append(handlers["generate"](running, PROMPT, seed, False, "tiny", "", *NUMBERS, *NOTHING_GIVEN))
            await anext(begun[-1])
            if seed == 1:
                first = running.id
        service.store.cancel(first)
        said = [named(each) async for each in begun[0]]
        last = running.id
        await handlers["stop"](running)
        return said, first, last

    said, first, last = asyncio.run(visit())
    assert [set(each) & {"film", "cancel"} for each in said] == [set()]
    assert first != last
    assert service.job(last).state == "cancelled"


def test_a_film_of_another_model_gives_its_model_its_ranges_and_its_settings_back(service, handlers):
    async def visit():
        return named(
            await handlers["open_film"]([await made(service, model="slow", num_steps=3)], SimpleNamespace(index=0))
        )

    opened = asyncio.run(visit())
    assert opened["model"] == "slow"
    steps = next(value for label, value in opened.items() if label and label.startswith("Steps"))
    assert (steps.value, steps.maximum) == (3, service.limits.steps)
    assert opened["going-on"] == ""


def test_a_film_goes_on_from_the_one_that_is_shown_and_asks_for_it_when_it_is_opened_again(service, handlers):
    async def visit():
        running, old = Running(), await made(service)
        source, _ = await handlers["extend"](old)
        await anext(handlers["generate"](running, PROMPT, 0, False, "tiny", "", *NUMBERS, None, None, None, source))
        assert service.job(running.id).request["extend"] == old
        return named(await handlers["open_film"]([running.id], SimpleNamespace(index=0)))

    assert asyncio.run(visit())["going-on"] == "<p>It went on from a clip or film: choose that again.</p>"

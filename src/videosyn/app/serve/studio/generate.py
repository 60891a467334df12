"""The page *Generate*: a prompt, its settings, the film as it comes to be, and those of before."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from pydantic import ValidationError

from videosyn.app.serve.documents import MAX_SEED, VideoRequest
from videosyn.app.serve.problems import ApiProblem
from videosyn.app.serve.service import Service
from videosyn.app.serve.studio.films import EMPTY, began_html, film_html, problem_html, watch
from videosyn.app.serve.studio.settings import FilmSettings
from videosyn.app.serve.uploads import Uploads

EXAMPLES = (
    "a red ball bounces on the grass at sunset",
    "a blue cube spins in the desert",
    "a yellow house in the snow at night",
    "a person in green walks along the sea",
    "pixel art of a white rocket on the meadow",
    "a purple torus left of an orange cone, oil painting",
)
HISTORY = 24
PICTURES = [".png", ".jpg", ".jpeg", ".webp"]
CLIPS = [".mp4", ".webm", ".mov", ".mkv", ".gif", ".webp"]


@dataclass
class Running:
    """Which job a visitor's Cancel is about. One a session: its handlers share it while they run."""

    id: str = ""


def generate_page(service: Service, uploads: Uploads, blocks: gr.Blocks) -> None:
    """Adds the page to the blocks that are open."""
    models, first = service.models, next(iter(service.models.values()))
    shown_id, going_on, history_ids = gr.State(""), gr.State(""), gr.State([])
    running_state = gr.State(Running())
    with gr.Row():
        with gr.Column(scale=1, min_width=320):
            prompt = gr.Textbox(
                label="Prompt",
                placeholder="What the film shows",
                lines=2,
                max_length=service.limits.prompt_chars,
                autofocus=True,
                elem_id="prompt",
            )
            examples = gr.Dataset(
                components=[prompt], samples=[[each] for each in EXAMPLES], type="index", label="Try one of these"
            )  # gr.Examples fills the prompt in past the queue, by a route that is closed here
            with gr.Row():
                start = gr.Button("Generate", variant="primary", elem_id="generate")
                cancel = gr.Button("Cancel", elem_id="cancel", interactive=False)
            with gr.Row():
                seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=MAX_SEED, elem_id="seed")
                draw = gr.Checkbox(True, label="A new seed each time", elem_id="draw")
        with gr.Column(scale=1, min_width=320):
            film = gr.HTML(EMPTY, elem_id="film")
            with gr.Row():
                go_on = gr.Button("Go on from this film", interactive=False, elem_id="extend")
                reuse = gr.Button("Keep its seed", interactive=False, elem_id="keep-seed")
            going = gr.HTML("", elem_id="going-on")
    with gr.Accordion("Settings", open=False):
        model = gr.Dropdown(list(models), value=first.name, label="Model", visible=len(models) > 1, elem_id="model")
        with gr.Row():
            settings = FilmSettings(service, first)
        negative = gr.Textbox(
            label="What it should not show", max_length=service.limits.prompt_chars, elem_id="negative"
        )
    with gr.Accordion("Begin with a picture, or go on from a clip", open=False), gr.Row():
        picture = gr.File(label="First picture", file_types=PICTURES, type="filepath", height=140)
        clip = gr.File(label="Clip to go on from", file_types=CLIPS, type="filepath", height=140)
        last = gr.File(label="Last picture", file_types=PICTURES, type="filepath", height=140)
    with gr.Accordion("History", open=True, elem_id="history"):
        gallery = gr.Gallery(
            columns=6,
            height="auto",
            object_fit="cover",
            allow_preview=False,
            buttons=[],
            show_label=False,
            interactive=False,
            elem_id="gallery",
        )

    def request(words: Any, number: Any, is_drawn: bool, name: str, unwanted: str, numbers: Any) -> dict[str, Any]:
        return {
            "prompt": words or "",
            "model": name,
            "negative_prompt": unwanted or None,
            "seed": None if is_drawn or number is None else int(number),
            **settings.values(numbers),
        }

    async def given(path: str | None) -> str | None:
        """The id of what was put into a file component."""
        if not path:
            return None
        inside = Path(path).resolve()
        if not inside.is_relative_to((service.folders.root / "studio").resolve()):
            raise ApiProblem(422, "invalid", "that is no upload")
        return (await uploads.take(inside)).id

    async def generate(
        running: Running, words: str, number: float | None, is_drawn: bool, name: str, unwanted: str, *rest: Any
    ) -> AsyncIterator[dict[Any, Any]]:
        numbers, (picture_path, clip_path, last_path, source) = rest[:-4], rest[-4:]
        try:
            asked = request(words, number, is_drawn, name, unwanted, numbers)
            asked |= {"image": await given(picture_path), "last_image": await given(last_path)}
            asked["extend"] = await given(clip_path) or source or None
            job, _ = await service.submit(VideoRequest.model_validate(asked))
        except ApiProblem as problem:
            yield {film: problem_html(problem.detail)}
            return
        except ValidationError as error:
            yield {film: problem_html("; ".join(f"{each['loc'][0]}: {each['msg']}" for each in error.errors()))}
            return
        running.id = job.id
        busy = {cancel: gr.Button(interactive=True), go_on: gr.Button(interactive=False)}
        done = False
        async for video in watch(service, job.id):
            if running.id == job.id:  # else a later one has the place
                yield {film: film_html(service, video), seed: video.seed, shown_id: job.id, **busy}
            busy = {}
            done = video.state == "succeeded"
        if running.id == job.id:
            running.id = ""
            yield {
                cancel: gr.Button(interactive=False),
                go_on: gr.Button(interactive=done),
                reuse: gr.Button(interactive=True),
                going_on: "",
                going: "",
            }
        yield await history()

    async def history() -> dict[Any, Any]:
        jobs = service.store.latest(HISTORY, states=("succeeded",))
        kept = [job for job in jobs if service.folders.poster(job.id).exists()]
        pictures = [(str(service.folders.poster(job.id)), job.request["prompt"]) for job in kept]
        return {gallery: pictures, history_ids: [job.id for job in kept]}

    async def stop(running: Running) -> None:
        if running.id:
            await service.write(lambda store, job_id=running.id: store.cancel(job_id))

    async def open_film(ids: list[str], event: gr.SelectData) -> dict[Any, Any]:
        job = service.store.get(ids[event.index]) if event.index < len(ids) else None
        if job is None:
            return {film: problem_html("that film is not here any more")}
        video = service.video(job)
        name = video.model if video.model in models else gr.skip()
        sliders = settings.of_film(video, models.get(video.model))
        return {
            film: film_html(service, video),
            prompt: video.prompt,
            seed: video.seed,
            draw: False,
            negative: video.negative_prompt or "",
            model: name,
            going_on: "",
            going: began_html(video),
            shown_id: video.id,
            go_on: gr.Button(interactive=True),
            reuse: gr.Button(interactive=True),
            **dict(zip(settings.components, sliders)),
        }

    async def extend(video_id: str) -> tuple[str, str]:
        job = service.store.get(video_id)
        if job is None or job.state != "succeeded":
            return "", ""
        return video_id, "<p>The next film goes on from this one. Say what happens, and generate.</p>"

    inputs = [running_state, prompt, seed, draw, model, negative, *settings.components, picture, clip, last, going_on]
    outputs = [film, seed, cancel, go_on, reuse, shown_id, going_on, going, gallery, history_ids]
    for trigger in (start.click, prompt.submit):
        trigger(
            generate,
            inputs,
            outputs,
            show_progress="hidden",
            concurrency_limit=None,
            trigger_mode="multiple",
            api_visibility="private",
        )
    examples.click(
        lambda place: EXAMPLES[place], [examples], [prompt], show_progress="hidden", api_visibility="private"
    )
    cancel.click(stop, [running_state], show_progress="hidden", api_visibility="private")
    go_on.click(extend, [shown_id], [going_on, going], show_progress="hidden", api_visibility="private")
    reuse.click(lambda: False, outputs=[draw], show_progress="hidden", api_visibility="private")
    gallery.select(
        open_film,
        [history_ids],
        [film, prompt, seed, draw, negative, model, going_on, going, shown_id, go_on, reuse, *settings.components],
        show_progress="hidden",
        api_visibility="private",
    )
    model.input(  # not .change: a film of the history sets the model and its own settings
        lambda name: settings.for_model(models[name]),
        [model],
        settings.components,
        show_progress="hidden",
        api_visibility="private",
    )
    blocks.load(history, outputs=[gallery, history_ids], show_progress="hidden", api_visibility="private")

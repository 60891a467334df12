"""The page *Compare*: one prompt and one seed, two settings, side by side."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any

import gradio as gr
from pydantic import ValidationError

from videosyn.app.serve.documents import MAX_SEED, VideoRequest
from videosyn.app.serve.problems import ApiProblem
from videosyn.app.serve.service import MAX_DRAWN_SEED, Service
from videosyn.app.serve.studio.films import EMPTY, LOOK_EVERY_S, film_html, problem_html
from videosyn.app.serve.studio.generate import EXAMPLES
from videosyn.app.serve.studio.settings import FilmSettings

DIFFER = ("num_steps", "guidance")


def compare_page(service: Service) -> None:
    """Adds the page to the blocks that are open."""
    models, first = service.models, next(iter(service.models.values()))
    prompt = gr.Textbox(
        EXAMPLES[0], label="Prompt", max_length=service.limits.prompt_chars, elem_id="compare-prompt", lines=2
    )
    with gr.Row():
        seed = gr.Number(0, label="Seed of both", precision=0, minimum=0, maximum=MAX_SEED, elem_id="compare-seed")
        draw = gr.Checkbox(False, label="A new seed each time")
        start = gr.Button("Compare", variant="primary", elem_id="compare")
    inputs, films = [prompt, seed, draw], []
    with gr.Row():
        for name, steps in (("A", max(1, first.defaults.num_steps // 2)), ("B", first.defaults.num_steps)):
            with gr.Column(min_width=320):
                films.append(gr.HTML(EMPTY, elem_id=f"film-{name.lower()}"))
                model = gr.Dropdown(list(models), value=first.name, label="Model", visible=len(models) > 1)
                settings = FilmSettings(service, first, DIFFER)
                settings.components[0].value = steps
                negative = gr.Textbox(label="What it should not show", max_length=service.limits.prompt_chars)
                inputs += [model, *settings.components, negative]

    def asked(words: str, number: int, one: tuple[Any, ...]) -> VideoRequest:
        name, steps, guidance, unwanted = one
        return VideoRequest.model_validate(
            {
                "prompt": words or "",
                "model": name,
                "seed": number,
                "num_steps": round(steps),
                "guidance": float(guidance),
                "negative_prompt": unwanted or None,
            }
        )

    async def compare(words: str, number: float | None, is_drawn: bool, *both: Any) -> AsyncIterator[list[Any]]:
        drawn = secrets.randbelow(MAX_DRAWN_SEED) if is_drawn or number is None else int(number)
        ids: list[str] = []
        try:
            for one in (both[: len(both) // 2], both[len(both) // 2 :]):
                ids.append((await service.submit(asked(words, drawn, one)))[0].id)
        except (ApiProblem, ValidationError) as problem:
            for video_id in ids:
                await service.delete(video_id)
            said = problem.detail if isinstance(problem, ApiProblem) else str(problem.errors()[0]["msg"])
            yield [problem_html(said), problem_html(said), drawn]
            return
        last: list[str] = []
        while True:
            jobs = [service.store.get(video_id) for video_id in ids]
            videos = [service.video(job) for job in jobs if job is not None]
            shown = [film_html(service, video) for video in videos]
            if shown != last and len(shown) == 2:
                yield [*(html if html != old else gr.skip() for html, old in zip(shown, last or ("", ""))), drawn]
                last = shown
            if not any(video.state in ("queued", "running") for video in videos):
                return
            await asyncio.sleep(LOOK_EVERY_S)

    start.click(
        compare,
        inputs,
        [*films, seed],
        show_progress="hidden",
        concurrency_limit=None,
        api_visibility="private",
    )

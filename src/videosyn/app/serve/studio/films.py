"""A film on the page, from the first step to the finished loop: HTML that points at the API's own addresses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from html import escape

from videosyn.app.serve.documents import Video
from videosyn.app.serve.service import Service

LOOK_EVERY_S = 0.25
EMPTY = '<div class="film"><div class="blank">The film appears here.</div></div>'


async def watch(service: Service, video_id: str) -> AsyncIterator[Video]:
    """The job whenever something changed, until it is finished."""
    last = None
    while True:
        job = service.store.get(video_id)
        if job is None:
            return
        video = service.video(job)
        now = (video.state, video.progress, video.position)
        if now != last:
            last = now
            yield video
        if video.state not in ("queued", "running"):
            return
        await asyncio.sleep(LOOK_EVERY_S)


def film_html(service: Service, video: Video) -> str:
    """What there is to see of it now."""
    shape = f"--shape: {video.width} / {video.height}"
    return f'<div class="film" data-state="{video.state}" style="{shape}">{_inside(service, video)}</div>'


def began_html(video: Video) -> str:
    """What a film was given that its settings do not give back; empty where that was nothing."""
    said = []
    for what, source in (("began with a picture", video.image), ("ended with a picture", video.last_image)):
        said += [f"It {what}: choose it again."] if source else []
    said += ["It went on from a clip or film: choose that again."] if video.extend else []
    return f"<p>{' '.join(said)}</p>" if said else ""


def problem_html(said: str) -> str:
    return f'<div class="film" data-state="refused"><p class="problem">{escape(said)}</p></div>'


def _inside(service: Service, video: Video) -> str:
    if video.state == "succeeded" and video.film is not None:
        source = video.film.content
        name = f"videosyn-{video.seed}.mp4"
        notes = "".join(f"<p>{escape(note)}</p>" for note in video.notes)
        facts = (
            f"seed {video.seed} · {video.film.num_frames} frames of {video.film.height}x{video.film.width} · "
            f"{video.film.fps:g} frames a second · {video.num_steps} steps · guidance {video.guidance:g} · "
            f"{video.model}"
        )
        return (
            f'<video src="{source}" autoplay loop muted playsinline controls></video>'
            f"<p>{escape(video.prompt)}</p><p>{escape(facts)}</p>{notes}"
            f'<div class="links"><a href="{source}" download="{name}">Download</a></div>'
        )
    if video.state == "failed":
        return f'<p class="problem">{escape(video.error or "it failed")}</p>'
    if video.state == "cancelled":
        return '<div class="blank">Cancelled.</div>'
    if video.state == "expired":
        return '<div class="blank">The film was removed for its age. Its seed makes it again.</div>'
    picture = '<div class="blank">…</div>'
    if service.folders.preview(video.id).exists():
        step = round(video.progress * 1000)
        picture = f'<img alt="The film as it looks now" src="/v1/videos/{video.id}/preview?at={step}">'
    return f'{picture}<progress value="{video.progress:.3f}" max="1"></progress><p>{escape(_status(video))}</p>'


def _status(video: Video) -> str:
    rest = "" if video.eta_s is None else f", about {video.eta_s:.0f} s left"
    if video.state == "queued":
        return f"waits for {video.position} others{rest}" if video.position else f"is next{rest}"
    return f"{100 * video.progress:.0f} %{rest}"

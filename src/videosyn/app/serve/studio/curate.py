"""The page *Curate*: what a dataset folder holds, by score, and why the rest was left out."""

from __future__ import annotations

import asyncio
from html import escape
from typing import Any
from urllib.parse import quote

import gradio as gr

from videosyn.app.serve.studio.datasets import DURATION, ClipRow, Dataset, Datasets
from videosyn.core.errors import UserError
from videosyn.curation.charts import bars, histogram

A_PAGE = 24
ANY = "any stage"
_UNITS = {DURATION: "s", "aesthetic": "of 10"}
NONE = '<div class="dataset"><p class="none">{}</p></div>'


def curate_page(datasets: Datasets) -> None:
    """Adds the page to the blocks that are open."""
    if not datasets.names:
        gr.HTML(
            NONE.format(
                "No dataset folder is open to this service. Name some when it starts: "
                "<code>videosyn serve --datasets FOLDER</code>"
            )
        )
        return
    with gr.Row():
        dataset = gr.Dropdown(datasets.names, value=None, label="Dataset", elem_id="dataset")
        which = gr.Radio(["kept", "rejected", "all"], value="kept", label="Clips", elem_id="which")
        stage = gr.Dropdown([ANY], value=ANY, label="Rejected by", elem_id="stage")
    with gr.Row():
        score = gr.Dropdown([DURATION], value=DURATION, label="By", elem_id="score")
        least = gr.Textbox("", label="From", placeholder="any", elem_id="least")
        most = gr.Textbox("", label="To", placeholder="any", elem_id="most")
        words = gr.Textbox("", label="Words in the caption", elem_id="words")
        page = gr.Number(1, label="Page", precision=0, minimum=1, elem_id="page")
    clips = gr.HTML(NONE.format("Open a dataset."), elem_id="clips")
    with gr.Accordion("Histograms", open=True):
        charts = gr.HTML("", elem_id="charts")
    with gr.Accordion("Why clips were rejected", open=True):
        reasons = gr.HTML("", elem_id="reasons")

    async def shown(number: int | None, *choice: Any) -> str:
        found = await _open(datasets, number)
        if isinstance(found, str):
            return found
        which_, stage_, score_, least_, most_, words_, page_ = choice
        try:
            low, high = (float(bound) if bound and bound.strip() else None for bound in (least_, most_))
        except ValueError:
            return NONE.format("From and To must be numbers, or empty for no bound.")
        stage_ = "" if stage_ == ANY else stage_
        rows = await asyncio.to_thread(found.chosen, which_, score_, low, high, stage_, words_ or "")
        begin = A_PAGE * (max(1, int(page_ or 1)) - 1)
        some = rows[begin : begin + A_PAGE]
        await datasets.make_thumbnails(found, some)
        cards = "".join(_card(datasets, number or 0, found, row) for row in some)
        last = begin + len(some)
        said = f"{len(rows):,} of {len(found.rows):,} clips" + (f", {begin + 1} to {last} shown" if some else "")
        more = f" · page {begin // A_PAGE + 1} of {-(-len(rows) // A_PAGE)}" if len(rows) > A_PAGE else ""
        return f'<div class="dataset"><p class="key">{said}{more}</p><div class="thumbs">{cards}</div></div>'

    async def first_page(*choice: Any) -> tuple[str, int]:
        return await shown(*choice, 1), 1

    async def of_stage(number: int | None, which_: str, stage_: str, *rest: Any) -> tuple[str, int, str]:
        """A stage rejects, so nothing of it is among the kept."""
        which_ = "rejected" if which_ == "kept" and stage_ != ANY else which_
        return await shown(number, which_, stage_, *rest, 1), 1, which_

    async def opened(number: int | None) -> list[Any]:
        found = await _open(datasets, number)
        if isinstance(found, str):
            return [gr.skip(), gr.skip(), found, "", "", 1, "kept", "", "", ""]
        html = await shown(number, "kept", ANY, DURATION, "", "", "", 1)
        scores = gr.Dropdown(found.scores, value=DURATION)
        drawn, why = await asyncio.to_thread(lambda: (_charts(found), _reasons(found)))
        stages = gr.Dropdown([ANY, *found.reasons], value=ANY)
        return [scores, stages, html, drawn, why, 1, "kept", "", "", ""]

    choice = [dataset, which, stage, score, least, most, words, page]
    changed = [score, stage, clips, charts, reasons, page, which, least, most, words]
    dataset.input(opened, [dataset], changed, api_visibility="private")
    for event in (which.input, score.input, words.change, least.change, most.change):
        event(
            first_page,
            choice[:-1],
            [clips, page],
            show_progress="minimal",
            trigger_mode="always_last",
            api_visibility="private",
        )
    stage.input(of_stage, choice[:-1], [clips, page, which], show_progress="minimal", api_visibility="private")
    page.input(shown, choice, [clips], show_progress="minimal", api_visibility="private")


async def _open(datasets: Datasets, number: int | None) -> Dataset | str:
    """The dataset, or HTML that says why it is not there."""
    try:
        found = await datasets.get(number) if number is not None else None
    except UserError as error:
        return NONE.format(escape(str(error)))
    return found if found is not None else NONE.format("Open a dataset.")


def _card(datasets: Datasets, number: int, dataset: Dataset, row: ClipRow) -> str:
    """A thumbnail that opens to the clip, its caption, and every score."""
    address = f"/studio/datasets/{number}/{quote(str(row.id), safe='')}"
    picture = '<span class="blank">no picture</span>'
    if datasets.thumbnail(dataset, row).exists():
        picture = f'<img alt="" loading="lazy" src="{address}.jpg">'
    video = ""
    if dataset.clip_file(row) is not None:
        video = (
            f'<video src="{address}.mp4" poster="{address}.jpg" preload="none" controls loop muted playsinline></video>'
        )
    duration = row.number(DURATION)
    head = f"<b>{duration:.1f} s</b> " if duration is not None else ""
    why = f'<div class="why">{escape(row.stage)}: {escape(row.reason)}</div>' if not row.kept else ""
    caption = escape(str(row.values.get("text") or ""))
    figures = ", ".join(
        f"{escape(name)} {value:.3g}" for name in dataset.scores[1:] if (value := row.number(name)) is not None
    )
    origin = escape(str(row.values.get("source_path") or "").rpartition("/")[2])
    licence = escape(str(row.values.get("licence") or "unknown"))
    return (
        f'<details data-clip="{escape(row.id)}"><summary>{picture}<div>{head}{caption[:80]}</div>{why}</summary>{video}'
        f"<div>{caption}</div><div>{figures}</div><div>{origin}, licence {licence}</div></details>"
    )


def _charts(dataset: Dataset) -> str:
    cards, alike = [], []
    for name in dataset.scores:
        values = {
            kept: [x for row in dataset.rows if row.kept == kept and (x := row.number(name)) is not None]
            for kept in (True, False)
        }
        if len(distinct := {*values[True], *values[False]}) == 1:
            alike.append(f"{escape(name)} {distinct.pop():.3g}")
        elif distinct:
            drawn = histogram(values[True], values[False], _UNITS.get(name, ""))
            cards.append(f"<figure><figcaption>{escape(name)}</figcaption>{drawn}</figure>")
    key = '<p class="key"><i class="kept"></i>kept <i class="gone"></i>rejected</p>'
    same = f'<p class="key">The same for all clips: {", ".join(alike)}</p>' if alike else ""
    return f'<div class="dataset">{key}<div class="cards">{"".join(cards)}</div>{same}</div>'


def _reasons(dataset: Dataset) -> str:
    if not dataset.reasons:
        return NONE.format("No clip was rejected.")
    most = max(reasons.total() for reasons in dataset.reasons.values())
    lines = {}  # of all stages together, so that their bars begin below each other
    for stage, reasons in sorted(dataset.reasons.items(), key=lambda pair: -pair[1].total()):
        lines[stage] = (reasons.total() / most, f"{reasons.total():,}")
        for reason, number in reasons.most_common(6):
            said = f"· {reason[:70]}"
            lines[said if said not in lines else f"{said} ({stage})"] = (number / most, f"{number:,}")
    return f'<div class="dataset">{bars(lines)}</div>'

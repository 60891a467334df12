"""report.html: what a curation found, kept and dropped, in one page that needs nothing else and no network.

The figures are those that the paper shows of its data (section 4, appendix A and Table 5); the paper's own stand beside
them. `page.py` holds the frame of the page.
"""

from __future__ import annotations

import base64
import io
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from itertools import islice
from pathlib import Path

from videosyn.core.files import atomic_file
from videosyn.curation.charts import bars, histogram, word_cloud
from videosyn.curation.page import page, section, table, tiles
from videosyn.curation.pipeline import PIPELINE
from videosyn.curation.records import Clip
from videosyn.curation.results import Result
from videosyn.curation.stage_times import funnel, stage_times
from videosyn.curation.tables import in_order
from videosyn.curation.wording import frequent_words, topic_shares, words_of
from videosyn.curation.work import Work

KEPT_THUMBNAILS = 24
THUMBNAILS_PER_REASON = 8
THUMBNAIL_PX = 208
"""Longer side."""
MOST_ROWS = 500
"""Of sources set aside; rejected.parquet has all."""


def write_report(result: Result, dataset: Path, work: Work) -> None:
    """Writes DATASET/report.html, whole or not at all."""
    parts = [
        tiles(_overview(result)),
        section("Funnel", _funnel(result)),
        section("The clips", _histograms(result)),
        section("The captions", _captions(result)),
        section("Time", stage_times(result)),
        section("Kept", _thumbnails(_spread([clip for _, clip in in_order(result, result.kept)]), work)),
        section("Rejected", _rejected(result, work)),
        section("Set aside", _set_aside(result)),
        section("Settings", _settings(result)),
    ]
    with atomic_file(dataset / "report.html") as hidden:
        hidden.write_text(page(f"Curation of {dataset.resolve().name}", parts), encoding="utf-8")


def _overview(result: Result) -> dict[str, str]:
    kept = result.kept
    seconds = sum(clip.duration_s for clip in kept)
    footage = sum(source.duration_s for source in result.sources)
    lengths = [len(words_of(clip.caption)) for clip in kept if clip.caption]
    facts = {
        "clips kept": f"{len(kept):,}",
        "of clips found": f"{len(result.clips):,}",
        "of footage kept": _duration(seconds),
        f"in {len(result.sources):,} sources": _duration(footage),
        "mean clip (paper: 6.9 s)": f"{seconds / len(kept):.1f} s" if kept else "-",
    }
    if lengths:
        share = sum(50 <= length <= 120 for length in lengths) / len(lengths)
        facts["words a caption (paper: 84.4)"] = f"{statistics.fmean(lengths):.1f}"
        facts["captions of 50 to 120 words (paper: 87 %)"] = f"{100 * share:.0f} %"
    return facts


def _funnel(result: Result) -> str:
    steps = funnel(result)
    most = max(1, len(result.clips))
    shares = {"found": (len(result.clips) / most, f"{len(result.clips):,}")}
    for step in steps:
        if step.entered:
            passed = step.entered - step.rejected
            rate = f"{100 * passed / step.entered:.1f} %"
            shares[step.title] = (passed / most, f"{passed:,} · {rate}{step.paper_rate}")
    return bars(shares) + (
        "<p>Clips left after each stage, and the share that it let pass. What is found is every span between two cuts; "
        f"those under {result.config.shots.min_seconds:g} s go first.</p>"
    )


def _histograms(result: Result) -> str:
    config = result.config
    scored = [
        ("Duration", "s", None, lambda clip: clip.duration_s),
        ("Motion: mean share of moving pixels", "", config.motion.min_score, lambda clip: clip.scores.get("motion")),
    ]
    models = sorted({clip.labels["aesthetic_model"] for clip in result.clips if "aesthetic_model" in clip.labels})
    least = config.aesthetics.min_score if config.aesthetics.head else config.aesthetics.min_photometric
    title = f"Aesthetic score ({', '.join(models)})" if models else "Aesthetic score"
    scored.append((title, "of 10", least, lambda clip: clip.scores.get("aesthetic")))
    scored.append(("Caption length", "words", None, lambda clip: len(words_of(clip.caption)) if clip.caption else None))
    cards = []
    for title, unit, mark, value in scored:
        kept, gone = ([x for clip in some if (x := value(clip)) is not None] for some in (result.kept, result.rejected))
        cards.append(f"<figure><figcaption>{escape(title)}</figcaption>{histogram(kept, gone, unit, mark)}</figure>")
    key = '<p class="key"><i class="kept"></i> kept <i class="gone"></i> rejected <i class="line"></i> threshold</p>'
    return key + f'<div class="cards">{"".join(cards)}</div>'


def _captions(result: Result) -> str:
    captions = [clip.caption for _, clip in in_order(result, result.kept) if clip.caption]
    if not captions:
        return (
            f'<p class="none">No clip has a caption (captioner: {escape(result.config.captions.captioner)}). '
            "Give captions.captioner a model, or lay texts beside the sources.</p>"
        )
    shares = {name: (share, f"{100 * share:.0f} %") for name, share in topic_shares(captions).items()}
    return (
        '<div class="cards"><figure><figcaption>Topics</figcaption>'
        f"{bars(shares)}<p>Share of the captions that use a word of the topic's list (a dozen fixed lists of English "
        "words, <code>curation/wording.py</code>; a caption may count for several). A rough measure: it sees words, "
        "not meaning.</p></figure><figure><figcaption>Words</figcaption>"
        f"{word_cloud(frequent_words(captions))}<p>Size: how many captions use the word.</p></figure></div>"
    )


def _rejected(result: Result, work: Work) -> str:
    if not result.rejected:
        return '<p class="none">No clip was rejected.</p>'
    parts = []
    for stage, number in _by_stage(result.rejected).items():
        clips = [clip for _, clip in in_order(result, result.rejected) if clip.rejected_by == stage]
        shown = _thumbnails(_spread(clips, THUMBNAILS_PER_REASON), work)
        parts.append(f"<h3>{escape(stage)} <small>{number:,}</small></h3>{shown}")
    return "".join(parts)


def _by_stage(clips: Iterable[Clip]) -> dict[str, int]:
    """In the pipeline's order; stages that it no longer has come last."""
    counts = Counter(clip.rejected_by for clip in clips)
    order = [step.name for step in PIPELINE]
    place = {name: order.index(name) if name in order else len(order) for name in counts}
    return {name: counts[name] for name in sorted(counts, key=lambda name: (place[name], name))}


def _spread(clips: Sequence[Clip], most: int = KEPT_THUMBNAILS) -> list[Clip]:
    """At most so many of them, evenly from all."""
    count = min(most, len(clips))
    return [clips[number * len(clips) // count] for number in range(count)]


def _thumbnails(clips: Sequence[Clip], work: Work) -> str:
    cells = []
    for clip in clips:
        frame = clip.frames[len(clip.frames) // 2] if clip.frames else None
        picture = _thumbnail(work, frame.file) if frame else ""
        span = f"{clip.start_s:.1f} to {clip.end_s:.1f} s of {clip.source}"
        scores = ", ".join(f"{name} {value:.3g}" for name, value in sorted(clip.scores.items()) if name in _SHOWN)
        said = clip.reason or clip.caption
        image = f'<img alt="" src="{picture}">' if picture else '<span class="blank">no frame</span>'
        cells.append(
            f'<figure title="{escape(span)}">{image}<figcaption><b>{clip.duration_s:.1f} s</b> '
            f"{escape(scores)}<br>{escape(said[:160])}{'…' if len(said) > 160 else ''}</figcaption></figure>"
        )
    return f'<div class="thumbs">{"".join(cells)}</div>' if cells else '<p class="none">None.</p>'


_SHOWN = ("aesthetic", "motion", "text_area")


def _thumbnail(work: Work, name: str) -> str:
    """A small JPEG as a data URL; empty where the frame cannot be read."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(work.read(name))) as image:
            small = image.convert("RGB")
    except (OSError, UnidentifiedImageError):
        return ""
    small.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=72, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _set_aside(result: Result) -> str:
    if not result.set_aside:
        return '<p class="none">No source was set aside.</p>' + _damaged(result)
    rows = [[unit.path, unit.stage, unit.reason, f"{unit.attempts}"] for unit in result.set_aside[:MOST_ROWS]]
    more = len(result.set_aside) - len(rows)
    note = f"<p>And {more:,} more: rejected.parquet lists all.</p>" if more else ""
    return table(("source", "stage", "reason", "attempts"), rows) + note + _damaged(result)


def _damaged(result: Result) -> str:
    """Sources of which only a part decodes; the clips of that part are used."""
    said = {
        source.path: clip.labels["source_warning"] for source, clip in in_order(result, result.clips) if _warns(clip)
    }
    if not said:
        return ""
    more = len(said) - MOST_ROWS
    note = f"<p>And {more:,} more.</p>" if more > 0 else ""
    return (
        "<h3>Damaged, and used as far as they decode</h3>"
        f"{table(('source', 'what is wrong'), list(islice(said.items(), MOST_ROWS)))}{note}"
    )


def _warns(clip: Clip) -> bool:
    return bool(clip.labels.get("source_warning"))


def _settings(result: Result) -> str:
    from videosyn.core.config import to_dict

    rows = []
    for name, value in to_dict(result.config).items():
        pairs = value.items() if isinstance(value, dict) else [("", value)]
        rows += [[f"{name}.{key}" if key else name, f"{each}"] for key, each in pairs]
    versions = ", ".join(f"{stage} {version}" for stage, version in result.versions.items())
    return f"<details><summary>Every threshold</summary>{table(('field', 'value'), rows)}</details>" + (
        f"<p>Versions of the stages: {escape(versions)}.</p>"
    )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:,.1f} h"
